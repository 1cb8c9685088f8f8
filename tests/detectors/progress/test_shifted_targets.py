"""Targets that are the inputs of another step than the next one."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.progress.shifted_targets import SHIFTED_TARGETS, ShiftedTargets, target_shift_of
from rnncallbacks.rnn.data.batches import SequenceBatch


def chain(random, shape, classes):
    """Tokens of which each shows the next one: the same, or one more."""
    return random.integers(0, 2, shape).cumsum(axis=0) % classes


def play(shift, *, steps=9, rows=3, vocab_size=5, lag=None, batches=SHIFTED_TARGETS.batches):
    """What is found in batches whose targets are ``shift`` steps ahead of the inputs, or ``lag`` steps behind them."""
    detector, found = ShiftedTargets(), []
    for number in range(batches):
        tokens = chain(np.random.default_rng(number), (steps + 4, rows), vocab_size)
        targets = tokens[shift : shift + steps] if lag is None else np.roll(tokens[:steps], lag, axis=0)
        data = SequenceBatch(tokens[:steps], targets)
        found.append(detector.add_batch(Batch(data=data, phase="train", index=number + 1, sequences=rows)).finding)
    return found


@pytest.mark.parametrize(
    ("shift", "where"), [(0, "the inputs of the same step"), (2, "2 steps ahead"), (3, "3 steps ahead")]
)
def test_a_wrong_shift_is_named_after_five_batches(shift, where):
    *before, finding = play(shift)
    assert before == [None] * (SHIFTED_TARGETS.batches - 1)
    assert (finding.code, finding.evidence["target_shift"]) == ("RNN603", shift)
    assert where in finding.message.partition(":")[0]


@pytest.mark.parametrize("healthy", [{"shift": 1}, {"shift": 2, "vocab_size": 1}, {"shift": 0, "lag": 2}])
def test_other_targets_are_left_alone(healthy):
    assert play(**healthy, batches=10) == [None] * 10


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("rolled", ["inputs", "next inputs"])
def test_targets_rolled_within_their_sequence_are_named(real, rolled):
    detector = ShiftedTargets()
    for number in range(SHIFTED_TARGETS.batches):
        random = np.random.default_rng(number)
        series = random.normal(size=(21, 3, 2)) if real else random.integers(0, 5, (21, 3))
        targets = np.roll(series[1:], -8, axis=0) if rolled == "next inputs" else np.roll(series[:-1], -9, axis=0)
        finding = detector.add_batch(Batch(data=(series[:-1], targets), phase="train", index=1, sequences=3)).finding
    assert (finding.cause, finding.evidence["target_shift"]) == ("targets rolled within their sequence", 9)
    assert finding.severity is None


@pytest.mark.parametrize("time_axis", [0, 1])
@pytest.mark.parametrize("shift", [0, 2])
def test_the_axis_of_time_need_not_be_known(shift, time_axis):
    detector, found = ShiftedTargets(), []
    for number in range(SHIFTED_TARGETS.batches):
        tokens = chain(np.random.default_rng(number), (13, 4), 5)
        pair = [one.swapaxes(0, time_axis) for one in (tokens[:9], tokens[shift : shift + 9])]
        found.append(detector.add_batch(Batch(data=tuple(pair), phase="train", index=1)).finding)
    assert (found[-1].code, found[-1].evidence["target_shift"]) == ("RNN603", shift)


def waves(number, shift, noise):
    generator = np.random.default_rng(number)
    wave = np.sin(generator.uniform(0, 6, 8) + generator.uniform(0.2, 0.6, 8) * np.arange(16)[:, None])[:, :, None]
    inputs = wave[:12] + generator.normal(0, noise, (12, 8, 1))
    return (inputs, inputs.copy() if shift == 0 else wave[shift : shift + 12])


def play_waves(shift, losses, noise=0.02):
    detector, found = ShiftedTargets(), []
    for number, loss in enumerate(losses):
        batch = Batch(data=waves(number, shift, noise), phase="train", index=1, batch_size=8, loss=loss)
        found.append(detector.add_batch(batch).finding)
    return [(one.evidence["target_shift"], one.severity) for one in found if one is not None]


def test_real_targets_two_steps_ahead_are_found_under_noise_and_longer_horizons_are_a_note():
    assert play_waves(1, [0.5] * 10) == []
    assert play_waves(2, [0.5] * 10) == [(2, None)]
    assert play_waves(3, [0.5] * 10) == [(3, "info")]


def test_real_targets_of_the_same_step_are_a_fault_only_if_the_network_copies_them_at_once():
    """An autoencoder has the same targets, and takes longer."""
    assert play_waves(0, np.geomspace(0.5, 0.001, 100)) == [(0, None)]
    assert play_waves(0, np.geomspace(0.5, 0.2, 310)) == [(0, "info")]


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_padding_is_not_compared(shift):
    detector, found = ShiftedTargets(), []
    for number in range(SHIFTED_TARGETS.batches):
        generator = np.random.default_rng(number)
        inputs, targets = np.zeros((9, 4), dtype=int), np.full((9, 4), -1)
        for row, length in enumerate((9, 5, 7, 6)):
            tokens = chain(generator, length + shift, 5)
            inputs[:length, row], targets[:length, row] = tokens[:length], tokens[shift : shift + length]
        found.append(detector.add_batch(Batch(data=(inputs, targets), phase="train", index=1, batch_size=4)).finding)
    assert [one.evidence["target_shift"] for one in found if one is not None] == [shift] * (shift != 1)


def test_blanks_before_a_copy_are_no_shift():
    shown, wanted = np.zeros((2, 10, 3), dtype=int)
    shown[:4] = wanted[-4:] = np.random.default_rng(0).integers(1, 5, (4, 3))
    assert target_shift_of(shown, wanted) is None


@pytest.mark.parametrize(
    ("feature_shift", "losses", "found"),
    [
        (0, [1.0] * 5 + [0.01] * 20, [(0, None)]),
        (0, [1.0] * 310, [(0, "info")]),
        (1, [1.0] * 5 + [0.01] * 20, []),
        (None, [1.0] * 5 + [0.01] * 20, []),
    ],
)
@pytest.mark.parametrize("last_axis", [True, False])
def test_a_single_target_may_be_one_of_several_features(feature_shift, losses, found, last_axis):
    detector, results = ShiftedTargets(), []
    for number, loss in enumerate(losses):
        series = np.random.default_rng(number).normal(size=(4, 12, 3))  # (batch, time, features)
        inputs = series[:, :9]
        column = (
            series[:, feature_shift : feature_shift + 9, 1:2] if feature_shift is not None else inputs[:, ::-1, 1:2]
        )
        targets = column if last_axis else column[:, :, 0]
        batch = Batch(data=(inputs, targets), phase="train", index=1, batch_size=4, loss=loss)
        results.append(detector.add_batch(batch).finding)
    assert [(one.evidence["target_shift"], one.severity) for one in results if one is not None] == found
    assert all("a feature of the inputs" in one.message for one in results if one is not None)


def test_sequences_of_five_steps_show_targets_two_steps_ahead():
    assert play(2, steps=5, rows=8)[-1].evidence["target_shift"] == 2
    assert play(1, steps=5, rows=8) == [None] * SHIFTED_TARGETS.batches


@pytest.mark.parametrize("loss", [0.02, 0.5])
def test_random_tokens_that_are_their_targets_are_an_alarm_only_if_they_are_copied_at_once(loss):
    detector = ShiftedTargets()
    for number in range(320):
        tokens = np.random.default_rng(number).integers(0, 5, (7, 8))
        batch = Batch(data=(tokens, tokens), phase="train", index=1, sequences=8, loss=loss if number else 1.6)
        finding = detector.add_batch(batch).finding
        if finding is not None:
            break
    assert finding.severity == (None if loss < 0.1 else "info")
