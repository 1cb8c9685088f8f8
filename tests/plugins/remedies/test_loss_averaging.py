"""Loss averaging: the mean loss of an epoch, its denominator, and the column that reports the denominator."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import DataError, OptionError, RunStateError
from rnncallbacks.plugins import LossAveraging, PlateauAlarm

# Loss, sequences, tokens.
BATCHES = [(1.0, 4, 40), (2.0, 4, 10), (6.0, 1, 50)]


def averaged(weight, batches=BATCHES, phase="train"):
    with Run(plugins=[LossAveraging(weight=weight)]) as run:
        for _ in run.epochs(1):
            for loss, sequences, tokens in run.batches(batches, phase=phase):
                if phase == "train":
                    run.backward(loss, np.zeros(1), sequences=sequences, tokens=tokens)
                else:
                    run.record(loss, sequences=sequences, tokens=tokens)
    (row,) = run.history.untimed()
    return row


@pytest.mark.parametrize("phase", ["train", "val"])
@pytest.mark.parametrize(
    ("weight", "column", "loss", "denominator"),
    [
        ("batch", "batches", 3.0, 3),
        ("sequence", "sequences", (4 * 1 + 4 * 2 + 6) / 9, 9),
        ("token", "tokens", (40 * 1 + 10 * 2 + 50 * 6) / 100, 100),
    ],
)
def test_the_mean_and_its_denominator(phase, weight, column, loss, denominator):
    assert averaged(weight, phase=phase) == {
        "epoch": 1,
        f"{phase}_loss": pytest.approx(loss),
        f"{phase}_{column}": denominator,
    }


@pytest.mark.parametrize("weight", ["batch", "token"])
def test_the_mean_so_far_is_read_inside_the_epoch_with_the_same_weights(weight):
    so_far = []
    with Run(plugins=[LossAveraging(weight=weight)]) as run:
        for _ in run.epochs(1):
            for index, (loss, _, tokens) in enumerate(run.batches(BATCHES)):
                if index:
                    so_far.append(run.mean_loss())
                run.record(loss, tokens=tokens)
            so_far.append(run.mean_loss())
    first_two = 1.5 if weight == "batch" else (40 * 1 + 10 * 2) / 50
    assert so_far == pytest.approx([1.0, first_two, run.history["train_loss"][0]])


def test_the_default_divides_by_the_batches_that_were_seen(play):
    run = play([LossAveraging()], [[1.0, 2.0, 6.0]])
    assert run.history["train_loss"] == [3.0]


def test_phases_and_epochs_are_averaged_apart(play):
    run = play([LossAveraging()], [[1.0, 3.0], [10.0]], val=[[5.0], [7.0, 8.0]])
    assert run.history["train_loss"] == [2.0, 10.0]
    assert run.history["val_loss"] == [5.0, 7.5]
    assert run.history["train_batches"] == [2, 1]
    assert run.history["val_batches"] == [1, 2]


def test_a_loop_that_breaks_is_divided_by_what_it_did():
    with Run(plugins=[LossAveraging()]) as run:
        for _ in run.epochs(1):
            for index, loss in enumerate(run.batches([2.0, 4.0, 100.0, 100.0])):
                if index == 2:
                    break
                run.backward(loss, np.zeros(1))
    assert run.history.untimed() == [{"epoch": 1, "train_loss": 3.0, "train_batches": 2}]


class Skip:
    @hookimpl
    def on_backward(self, run, batch):
        if batch.loss > 50:
            run.skip_batch()


def test_skipped_batches_and_batches_without_a_loss_do_not_count(play):
    run = play([LossAveraging(), Skip()], [[2.0, 100.0, 4.0]])
    assert run.history["train_loss"] == [3.0]
    with Run(plugins=[LossAveraging()]) as run:
        for _ in run.epochs(1):
            for index in run.batches(range(4), phase="val"):
                if index % 2:
                    run.record(float(index))
    assert run.history["val_loss"] == [2.0]


def test_a_phase_without_any_loss_has_no_column():
    with Run(plugins=[LossAveraging()]) as run:
        for _ in run.epochs(1):
            list(run.batches([1, 2], phase="val"))
    assert run.history.untimed() == [{"epoch": 1}]


def test_nan_is_not_hidden(play):
    assert math.isnan(play([LossAveraging()], [[1.0, math.nan]]).history["train_loss"][0])


@pytest.mark.parametrize(("weight", "missing"), [("sequence", "sequences"), ("token", "tokens")])
def test_a_weight_without_its_count_says_what_to_pass(play, weight, missing):
    with pytest.raises(RunStateError, match=f"needs the number of {missing} of each batch, got None") as failed:
        play([LossAveraging(weight=weight)], [[1.0]])
    assert f"pass {missing}= to run.backward and run.record" in str(failed.value)


lengths_and_losses = st.lists(st.tuples(st.integers(1, 9), st.floats(0, 10)), min_size=1, max_size=20)


@given(st.lists(lengths_and_losses, min_size=1, max_size=8))
def test_token_weights_give_the_mean_over_all_tokens_however_they_are_batched(batches):
    """Each sequence has its tokens and their mean loss; a batch's loss is the mean over the batch's tokens."""
    everything = [sequence for batch in batches for sequence in batch]
    expected = sum(tokens * loss for tokens, loss in everything) / sum(tokens for tokens, _ in everything)
    given_to_run = []
    for batch in batches:
        tokens = sum(count for count, _ in batch)
        given_to_run.append((sum(count * loss for count, loss in batch) / tokens, len(batch), tokens))
    row = averaged("token", given_to_run)
    assert row["train_loss"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert row["train_tokens"] == sum(tokens for tokens, _ in everything)


def test_of_two_instances_the_one_listed_last_gives_the_loss():
    plugins = {"by_batch": LossAveraging(), "by_token": LossAveraging(weight="token")}
    with Run(plugins=plugins) as run:
        for _ in run.epochs(1):
            for loss, sequences, tokens in run.batches(BATCHES):
                run.backward(loss, np.zeros(1), sequences=sequences, tokens=tokens)
    (row,) = run.history
    assert (row["train_batches"], row["train_tokens"], row["train_loss"]) == (3, 100, 3.6)


def test_in_a_trainer_tokens_make_train_and_validation_comparable(make_trainer):
    trainer, train, _ = make_trainer([LossAveraging(weight="token")], learning_rate=1e-30)
    history = trainer.fit(train, train, max_epochs=1)
    assert history["train_tokens"] == history["val_tokens"]
    assert history["train_loss"] == pytest.approx(history["val_loss"], rel=1e-6)


def test_options_out_of_range():
    with pytest.raises(OptionError, match=r"LossAveraging: weight: expected .*, got 'tokens'") as failed:
        LossAveraging(weight="tokens")
    assert "did you mean 'token'?" in str(failed.value)


def skip_all(batches):
    with Run(plugins=[LossAveraging(), PlateauAlarm(patience=1)]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(batches):
                run.skip_batch()
                run.backward(1.0, np.zeros(1))


def test_an_epoch_whose_batches_were_all_skipped_is_named_where_its_loss_is_read():
    with pytest.raises(DataError, match="epoch 1 has no train_loss: all 3 batches of the phase 'train' were skipped"):
        skip_all([1, 2, 3])


@pytest.mark.parametrize(
    ("weight", "batches", "text"),
    [
        (
            "batch",
            BATCHES,
            "the batches of train had 10 to 50 tokens: train_loss is 3 as the mean over batches, and 3.6 over tokens; "
            "set weight='token' for that",
        ),
        (
            "batch",
            [(1.0, 4, 8), (2.0, 2, 8)],
            "had 2 to 4 sequences: train_loss is 1.5 as the mean over batches, and 1.33",
        ),
        ("batch", [(1.0, 4, 8), (2.0, 2, None)], "had 2 to 4 sequences"),
        ("batch", [(1.0, 4, 8), (2.0, 4, 8)], ""),
        ("batch", [(1.0, 4, 8), (1.005, 2, 8)], ""),
        ("batch", [(1.0, None, None), (2.0, None, None)], ""),
        ("token", BATCHES, ""),
    ],
)
def test_the_end_of_the_run_notes_a_mean_that_depends_on_the_sizes_of_batches(weight, batches, text, caplog):
    averaged(weight, batches)
    assert len(caplog.messages) == (1 if text else 0)
    assert text in "".join(caplog.messages)
