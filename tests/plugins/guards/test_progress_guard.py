"""No signal, overfitting and plateaus: named where they are clear; a network that only takes its time is left alone."""

import numpy as np
import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import Checkpoint, ProgressGuard
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.testing.cases import run_case

STEPS, ROWS = 12, 16


def codes(run):
    return [(alarm.code, alarm.severity) for alarm in run.alarms]


# --- is there a signal? ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["trainer", "loop", "plain_loop"])
@pytest.mark.parametrize("task", ["characters", "stream", "echo"])
def test_shuffled_labels_are_named_within_three_epochs(task, through):
    outcome = run_case("shuffled_labels", task, "tanh", "adam", 1, through, plugins=[ProgressGuard()], max_epochs=3)
    assert [(alarm.code, alarm.severity) for alarm in outcome.alarms] == [("RNN603", "warning")]
    assert outcome.alarms[0].batch <= 90


@pytest.mark.parametrize(
    ("trap", "task", "optimizer"),
    [
        ("healthy", "characters", "sgd"),
        ("healthy", "stream", "adam"),
        ("healthy", "echo", "sgd"),
        ("healthy", "anbn", "momentum"),
        ("rate_x0.001", "echo", "sgd"),  # nothing is learned, but there would be something
        ("noisy_labels", "echo", "adam"),
        ("short_chunks", "stream", "adam"),
        ("one_sequence", "anbn_single", "adagrad"),
        ("regression", "waves", "adam"),
        ("long_plateau", "parity", "sgd"),
    ],
)
def test_a_network_that_takes_its_time_is_left_alone(trap, task, optimizer):
    assert run_case(trap, task, "tanh", optimizer, 2, "trainer", plugins=[ProgressGuard()]).reported == ()


def play(plugin, make_batch, losses, *, epochs=2, val=None, observe=False, params=None):
    """Runs over batches of tokens with given losses: one for each batch, the same in each epoch."""
    with Run(params, plugins=[plugin]) as run:
        for epoch in run.epochs(epochs):
            for number, loss in enumerate(run.batches(losses)):
                batch = make_batch(number)
                if observe:
                    run.observe(inputs=batch.inputs.T, targets=batch.targets.T)
                run.batch.data = number if observe else batch
                run.backward(loss, {"w": np.ones(1)}, sequences=ROWS)
            for loss in run.batches(val[epoch - 1], phase="val") if val is not None else ():
                run.record(loss)
    return run


def batch_of(seed, *, depends=False, vocab_size=5, per_sequence=False):
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, vocab_size, (STEPS, ROWS))
    if per_sequence:
        return SequenceBatch(inputs, inputs[0] % 2 if depends else rng.integers(0, 2, ROWS))
    return SequenceBatch(inputs, np.roll(inputs, 2, axis=0) if depends else rng.integers(0, vocab_size, (STEPS, ROWS)))


def independent(number):
    return batch_of(number)


def dependent(number):
    return batch_of(number, depends=True)


AT_ENTROPY = [np.log(5)] * 60


@pytest.mark.parametrize("observe", [False, True])
def test_only_the_data_tell_a_plateau_from_a_task_without_a_signal(observe):
    run = play(ProgressGuard(), independent, AT_ENTROPY, observe=observe)
    assert codes(run) == [("RNN603", "warning")]
    alarm = run.alarms[0]
    assert alarm.epoch == 1
    assert alarm.evidence["entropy"] == pytest.approx(np.log(5), abs=0.01)
    assert "the targets do not depend on the inputs" in alarm.message
    run = play(ProgressGuard(), dependent, AT_ENTROPY, observe=observe)
    assert run.alarms == []
    # Of the data that the loader yields it is not known whether the script trains on them, as they are.
    assert ("RNN603" in run.diagnosis.passed) is observe
    assert ("in the loader's batches" in run.diagnosis.cannot_tell.get("RNN603", "")) is not observe
    assert "RNN603" in play(ProgressGuard(), dependent, [0.3] * 60, observe=observe).diagnosis.passed


def test_a_loss_elsewhere_than_at_the_entropy_is_no_sign_of_it():
    for loss in (0.5, 3.0, 20.0):  # learned by heart; far from trained; summed
        assert play(ProgressGuard(), independent, [loss] * 60).alarms == []


def test_labels_of_whole_sequences():
    losses = [np.log(2)] * 100
    run = play(ProgressGuard(), lambda number: batch_of(number, per_sequence=True), losses)
    assert codes(run) == [("RNN603", "warning")]
    assert play(ProgressGuard(), lambda number: batch_of(number, per_sequence=True, depends=True), losses).alarms == []


def test_padding_is_no_signal():
    def padded(number):
        batch = batch_of(number)
        mask = np.arange(STEPS)[:, None] < np.random.default_rng(number).integers(2, STEPS, ROWS)
        return SequenceBatch(np.where(mask, batch.inputs, 0), np.where(mask, batch.targets, 0), mask)

    assert codes(play(ProgressGuard(), padded, AT_ENTROPY)) == [("RNN603", "warning")]


def test_targets_that_are_all_the_same_are_a_note():
    def constant(number):
        return SequenceBatch(batch_of(number).inputs, np.full((STEPS, ROWS), 3))

    run = play(ProgressGuard(), constant, [0.1] * 60)
    assert codes(run) == [("RNN603", "info")]
    assert "are the same token" in run.alarms[0].message


def test_too_few_tokens_are_not_judged():
    run = play(ProgressGuard(), lambda number: batch_of(0 * number, vocab_size=40), [np.log(40)] * 2, epochs=40)
    assert "RNN603" not in dict(codes(run))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (0, "show the batch's tokens: run.observe(inputs=..., targets=...)"),
        ((np.zeros((STEPS, ROWS, 2, 2)), np.ones((STEPS, ROWS))), "which target belongs to which input"),
    ],
)
def test_what_it_cannot_see_it_says(data, why):
    with Run(plugins=[ProgressGuard()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([data] * 40):
                run.backward(1.0, {"w": np.ones(1)}, sequences=ROWS)
    assert why in run.diagnosis.not_checked["RNN603"]
    assert run.alarms == []


@pytest.mark.parametrize("action", ["stop", "raise"])
def test_the_action_is_carried_out(action):
    if action == "raise":
        with pytest.raises(AlarmRaised, match="RNN603"):
            play(ProgressGuard(action=action), independent, AT_ENTROPY)
    else:
        run = play(ProgressGuard(action=action), independent, AT_ENTROPY, epochs=9)
        assert (run.epoch, run.stop_reason[:6]) == (1, "RNN603")


# --- the curves --------------------------------------------------------------------------------------------------


def curves(train, val, plugin=None):
    """A run whose epochs have these mean losses; its data show no tokens."""
    plugin = ProgressGuard() if plugin is None else plugin
    with Run(plugins=[plugin]) as run:
        for epoch in run.epochs(len(train)):
            for _ in run.batches(range(30)):
                run.backward(float(train[epoch - 1]), {"w": np.ones(1)})
            for _ in run.batches([0] if val is not None else (), phase="val") if val is not None else ():
                run.record(float(val[epoch - 1]))
    return run


def noise(size, count, seed=0):
    return size * np.random.default_rng(seed).normal(size=count)


EPOCHS = np.arange(40)
FALLING = 3.0 * np.exp(-EPOCHS / 15)
TURNING = 3.0 - 0.1 * np.minimum(EPOCHS, 15) + 0.05 * np.maximum(EPOCHS - 15, 0)


def test_overfitting_is_named_once_and_with_both_curves():
    run = curves(FALLING, TURNING + noise(0.02, 40))
    assert codes(run) == [("RNN604", "warning")]
    alarm = run.alarms[0]
    assert 20 <= alarm.epoch <= 32
    assert alarm.evidence["best_validation_loss"] == pytest.approx(1.5, abs=0.1)
    assert "while the training loss fell" in alarm.message
    assert alarm.count == 1


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("train", "val"),
    [
        (FALLING, FALLING + 0.5),
        (FALLING, np.maximum(FALLING, 1.0)),  # a gap that does not widen upwards
        (np.full(40, 1.0), TURNING),  # training does not fall: something else is wrong
        (FALLING[::-1], TURNING),
        (FALLING, 1.0 + 0 * FALLING),
    ],
)
def test_curves_that_are_no_overfitting(train, val, seed):
    assert "RNN604" not in dict(
        codes(curves(train * (1 + noise(0.02, 40, seed)), val * (1 + noise(0.05, 40, seed + 99))))
    )


def test_a_few_samples_learned_by_heart():
    outcome = run_case("few_samples", "characters", "tanh", "adam", 1, "trainer", plugins=[ProgressGuard()])
    assert "RNN604" in [alarm.code for alarm in outcome.reported]


def test_without_validation_it_says_what_to_do():
    run = curves(FALLING, None)
    assert "run.batches(val_loader, phase='val')" in run.diagnosis.not_checked["RNN604"]


def test_a_plateau_at_the_end_is_a_note():
    run = curves(np.concatenate([np.linspace(3.0, 2.0, 10), np.full(30, 2.0)]), None)
    assert codes(run) == [("RNN601", "info")]
    assert "67% of its first value" in run.alarms[0].message


def test_a_run_that_never_learned_anything_is_warned_of():
    assert codes(curves(2.0 + noise(0.002, 60), None)) == [("RNN601", "warning")]


@pytest.mark.parametrize(
    "train",
    [
        np.concatenate([np.full(300, 2.0), np.linspace(2.0, 0.1, 30)]),  # it healed itself
        np.concatenate([np.linspace(3.0, 0.2, 20), np.full(30, 0.2)]),  # done
        np.linspace(3.0, 2.0, 40),  # slow, but on its way
        np.full(15, 2.0),  # too short to tell
    ],
)
def test_what_is_no_plateau(train):
    assert curves(train, None).alarms == []


# --- the rest ----------------------------------------------------------------------------------------------------


def test_a_second_run_with_the_same_object_starts_from_the_defaults():
    plugin = ProgressGuard()
    first = play(plugin, independent, AT_ENTROPY)
    second = play(plugin, dependent, AT_ENTROPY)
    assert codes(first) == [("RNN603", "warning")]
    assert second.alarms == []


def test_a_resumed_run_goes_on_with_what_was_collected(tmp_path):
    def train(epochs, seen):
        params = {"w": np.ones(1)}
        with Run(params, plugins=[Checkpoint(path=tmp_path / "run"), ProgressGuard()]) as run:
            for _ in run.epochs(epochs):
                for number in run.batches(range(10)):
                    batch = batch_of(100 * run.epoch + number)
                    run.batch.data = batch
                    run.backward(np.log(5), {"w": np.ones(1)}, sequences=ROWS)
                    seen.append(number)
        return run

    seen = []
    assert train(2, seen).alarms == []
    assert codes(train(6, seen)) == [("RNN603", "warning")]
    assert len(seen) == 60


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_batches_that_are_not_finite_are_left_out(loss):
    losses = list(AT_ENTROPY)
    losses[7] = loss
    assert codes(play(ProgressGuard(), independent, losses)) == [("RNN603", "warning")]
