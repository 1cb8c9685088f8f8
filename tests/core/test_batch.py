import pytest

from rnncallbacks.core.batch import EpochSummary, Observed
from rnncallbacks.errors import DataError


def summary(**logged: float | str) -> EpochSummary:
    made = EpochSummary(epoch=3, learning_rate=0.5)
    made.losses |= {"train": 1.5, "val": 2.0}
    made.logged |= logged
    return made


def test_the_row_holds_epoch_rate_averages_and_what_was_logged() -> None:
    assert summary(gradient_norm=0.25).row == {
        "epoch": 3,
        "learning_rate": 0.5,
        "train_loss": 1.5,
        "val_loss": 2.0,
        "gradient_norm": 0.25,
    }


def test_a_script_s_own_loss_does_not_take_the_place_of_the_average() -> None:
    row = summary(train_loss=0.01).row
    assert row["train_loss"] == 1.5
    assert row["logged_train_loss"] == 0.01


def test_a_run_without_a_learning_rate_has_no_such_column() -> None:
    assert "learning_rate" not in EpochSummary(epoch=1, learning_rate=None).row


def test_a_value_is_read_by_its_column() -> None:
    assert summary(clipped=1).value("clipped") == 1.0
    assert summary().value("val_loss") == 2.0


@pytest.mark.parametrize(
    ("column", "says", "hint"),
    [
        ("val_los", "epoch 3 has no column 'val_los'; it has epoch, learning_rate, train_loss, val_loss", "'val_loss'"),
        ("accuracy", "no column 'accuracy'", ""),
    ],
)
def test_a_column_that_is_not_there_is_named_with_the_nearest(column: str, says: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        summary().value(column)
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_average_points_to_the_plugin_that_computes_it() -> None:
    with pytest.raises(DataError, match="loss_averaging"):
        EpochSummary(epoch=1, learning_rate=None).value("train_loss")


def test_a_word_is_no_number() -> None:
    with pytest.raises(DataError, match="column 'note' holds the string 'fine', expected a number"):
        summary(note="fine").value("note")


def test_seconds_pass() -> None:
    made = summary()
    earlier = made.elapsed
    assert 0 <= earlier <= made.elapsed


def test_a_dict_of_time_steps_is_read_in_their_order() -> None:
    observed = Observed(hidden_states={0: "first", 1: "second", -1: "entering"}, logits={"a": 1})
    assert observed["hidden_states"] == ["entering", "first", "second"]
    assert observed["logits"] == {"a": 1}
