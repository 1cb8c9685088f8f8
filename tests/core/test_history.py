"""The history: rows by epoch, columns by name."""

import pytest

from rnncallbacks.config.configuration import load_plugins
from rnncallbacks.core.history import History
from rnncallbacks.core.run import Run
from rnncallbacks.errors import DataError


@pytest.fixture
def history():
    history = History()
    history.append({"epoch": 1, "train_loss": 2.0})
    history.append({"epoch": 2, "val_loss": 3.0, "train_loss": 1.0})
    return history


def test_a_column_has_a_value_for_each_epoch(history):
    assert history["train_loss"] == [2.0, 1.0]
    assert history["val_loss"] == [None, 3.0]
    assert history.columns == ["epoch", "train_loss", "val_loss"]


def test_rows_come_in_order(history):
    assert len(history) == 2
    assert [row["epoch"] for row in history] == [1, 2]


def test_its_repr_shows_how_the_losses_went(history):
    assert repr(history) == "History(2 epochs, train_loss 2 -> 1, val_loss 3)"
    assert repr(History()) == "History(0 epochs)"
    history.append({"epoch": 3, "val_loss": 1e300, "train_loss": float("nan"), "note_loss": "spiked"})
    assert repr(history) == "History(3 epochs, train_loss 2 -> nan, val_loss 3 -> 1e+300, note_loss)"


def test_a_row_is_read_by_its_position(history):
    assert history[0] == {"epoch": 1, "train_loss": 2.0}
    assert history[-1] == {"epoch": 2, "val_loss": 3.0, "train_loss": 1.0}
    assert history[-1] is history.rows[1]


@pytest.mark.parametrize("position", [2, -3])
def test_a_row_that_is_not_there_is_an_index_error(history, position):
    with pytest.raises(IndexError, match=f"the history has 2 rows, and no row {position}"):
        history[position]


def test_restoring_replaces_all_rows(history):
    history.restore([{"epoch": 7}])
    assert history.rows == [{"epoch": 7}]


def test_in_asks_for_a_column(history):
    assert "val_loss" in history
    assert "test_loss" not in history


def test_a_row_is_copied():
    history, row = History(), {"epoch": 1}
    history.append(row)
    row["epoch"] = 7
    assert history["epoch"] == [1]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("trian_loss", r"has no column 'trian_loss'; it has epoch, train_loss, val_loss\n.*did you mean 'train_loss'"),
        ("seconds", "has no column 'seconds'"),
    ],
)
def test_an_unknown_column_is_an_error_that_names_the_known(history, column, message):
    with pytest.raises(DataError, match=message):
        history[column]


def test_a_missing_loss_says_what_computes_it():
    with pytest.raises(DataError, match=r"none, as no epoch has ended\n.*loss_averaging"):
        History()["train_loss"]


def test_histories_are_equal_apart_from_the_time():
    one, other = History(), History()
    one.append({"epoch": 1, "seconds": 2.0, "train_loss": 0.5})
    other.append({"epoch": 1, "seconds": 3.0, "train_loss": 0.5})
    assert one == other
    assert one.untimed() == [{"epoch": 1, "train_loss": 0.5}]
    other.append({"epoch": 2, "seconds": 3.0})
    assert one != other
    assert one != one.rows


def test_a_loss_before_the_end_of_the_first_epoch_has_a_name():
    with pytest.raises(DataError, match=r"no epoch has ended\n.*run.mean_loss\('val'\) is the mean so far"):
        History()["val_loss"]


def test_the_open_epoch_has_the_means_of_the_batches_that_have_ended():
    seen = []
    with Run(plugins=load_plugins({"plugins": {"loss_averaging": {}}})) as run:
        assert run.history.current == {}
        for _ in run.epochs(2):
            for loss in run.batches([4.0, 2.0, 9.0]):
                run.record(loss + run.epoch)
                run.log(last=loss)
                seen.append(run.history.current)
    assert seen[0] == {"epoch": 1, "last": 4.0}
    assert seen[2] == {"epoch": 1, "train_loss": 4.0, "last": 9.0}
    assert seen[5] == {"epoch": 2, "train_loss": 5.0, "last": 9.0}
    assert run.history.current == {}
    assert run.history["train_loss"] == [6.0, 7.0]
