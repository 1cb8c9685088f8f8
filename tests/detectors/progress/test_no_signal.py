"""No signal: the test of the tokens and the loss at the constant baseline must both speak for it."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.progress.no_signal import NO_SIGNAL, TOO_FEW_TOKENS, UNKNOWN_AXIS, NoSignal
from rnncallbacks.rnn.data.batches import SequenceBatch

STEPS, ROWS = 12, 16


def play(loss, *, lag=None, batches=60, vocab_size=5, constant=False):
    """The detector after an epoch, and its results."""
    detector, results = NoSignal(), []
    for number in range(batches):
        generator = np.random.default_rng(number)
        inputs = generator.integers(0, vocab_size, (STEPS, ROWS))
        targets = generator.integers(0, vocab_size, (STEPS, ROWS)) if lag is None else np.roll(inputs, lag, axis=0)
        data = SequenceBatch(inputs, np.full_like(targets, 3) if constant else targets)
        batch = Batch(data=data, phase="train", index=number + 1, sequences=ROWS)
        results.append(detector.add_batch(batch, loss))
    results.append(detector.end_epoch())
    return detector, results


def checked(results):
    return [number for number, result in enumerate(results) if result.checked or result.cannot_tell]


def test_a_strong_dependence_is_found_in_the_first_thousand_tokens():
    detector, results = play(np.log(5), lag=2)
    assert (detector.signal, detector.test) == ("dependent", "1152 targets depend on the input 2 steps before")
    assert checked(results) == [-(-NO_SIGNAL.first_pairs // (STEPS * ROWS)) - 1]
    assert results[-1].finding is None
    assert detector.pairs.batches == 0


def test_an_epoch_that_is_tested_again_is_not_judged_by_its_first_batches():
    detector, _ = play(np.log(5), lag=2)
    for number in range(2):
        inputs, targets = np.random.default_rng(number).integers(0, 5, (2, STEPS, ROWS))
        detector.add_batch(Batch(SequenceBatch(inputs, targets), "train", number + 1, sequences=ROWS), np.log(5))
    assert detector.end_epoch().finding is None
    assert detector.signal == "dependent"


def test_independence_needs_all_tokens_and_the_loss_of_the_constant_baseline():
    detector, results = play(np.log(5))
    assert detector.signal == "independent"
    assert checked(results) == [-(-NO_SIGNAL.most_pairs // (STEPS * ROWS)) - 1]
    finding = results[-1].finding
    assert finding.evidence["entropy"] == pytest.approx(np.log(5), abs=0.01)
    assert len(finding.message.partition(":")[0]) <= 80
    assert detector.end_epoch().finding is None  # once
    for loss in (0.5, 3.0):
        assert play(loss)[1][-1].finding is None


def test_the_loss_of_a_sum_is_compared_with_as_many_entropies():
    detector, results = play(STEPS * np.log(5))
    assert results[-1].finding is None
    finding = detector.end_epoch(loss_unit=12.0).finding
    assert finding.evidence["entropy"] == pytest.approx(12 * np.log(5), abs=0.05)
    assert "and 12 times the entropy of the targets 19.3" in finding.message
    detector.recent_losses = [9.0] * 30
    assert detector.check_learned().severity == "info"


def test_a_short_epoch_is_tested_at_its_end():
    detector, results = play(np.log(5), batches=30)
    assert (detector.signal, checked(results)) == ("independent", [30])
    assert results[-1].finding is not None


def test_the_losses_of_an_epoch_that_is_too_short_are_not_judged():
    detector, results = play(np.log(5), batches=29)
    assert (detector.signal, checked(results), results[-1].finding) == ("independent", [29], None)
    detector, results = play(np.log(5), batches=4)
    assert (detector.signal, checked(results), results[-1].finding) == ("unknown", [], None)


def test_too_few_tokens_for_their_number_of_classes_are_not_judged():
    detector = NoSignal()
    for number in range(30):
        inputs, targets = np.random.default_rng(number).integers(0, 40, (2, 2, 2))
        detector.add_batch(Batch(data=SequenceBatch(inputs, targets), phase="train", index=1, sequences=2), np.log(40))
    assert detector.end_epoch().cannot_tell == {"RNN603": TOO_FEW_TOKENS}


@pytest.mark.parametrize("teacher_forcing", [True, False])
def test_inputs_of_a_decoder_alone_do_not_decide(teacher_forcing):
    """The targets depend on the encoder's inputs, which the batch does not show."""
    detector, results = NoSignal(), []
    for number in range(60):
        targets = np.random.default_rng(number).integers(1, 5, (STEPS, ROWS))
        inputs = np.zeros_like(targets)
        if teacher_forcing:
            inputs[1:] = targets[:-1]
        data = SequenceBatch(inputs, targets)
        results.append(detector.add_batch(Batch(data=data, phase="train", index=1, sequences=ROWS), np.log(4)))
    results.append(detector.end_epoch())
    assert [result.finding for result in results] == [None] * 61
    assert [list(result.cannot_tell) for result in results if result.cannot_tell] == [["RNN603"]]


def test_constant_targets_are_a_note():
    finding = play(0.1, constant=True)[1][-1].finding
    assert (finding.code, finding.severity) == ("RNN603", "info")


def test_batches_that_show_no_tokens_end_the_collection():
    detector = NoSignal()
    results = [detector.add_batch(Batch(data=0, phase="train", index=1), 1.0) for _ in range(3)]
    assert [bool(result.not_checked) for result in results] == [True, False, False]


def play_reals(targets_of, loss, batches=30):
    detector, results = NoSignal(), []
    for number in range(batches):
        generator = np.random.default_rng(number)
        inputs = generator.normal(size=(STEPS, ROWS, 1))
        data = (inputs, targets_of(inputs, generator))
        results.append(detector.add_batch(Batch(data=data, phase="train", index=1, batch_size=ROWS), loss))
    return [*results, detector.end_epoch()]


def test_real_targets_are_compared_with_their_variance():
    noise = lambda inputs, generator: generator.normal(size=inputs.shape)  # noqa: E731
    finding = play_reals(noise, 1.0)[-1].finding
    assert (finding.code, finding.evidence["entropy"]) == ("RNN603", pytest.approx(1.0, abs=0.05))
    assert play_reals(noise, 0.2)[-1].finding is None
    results = play_reals(lambda inputs, generator: np.abs(inputs), 1.0)
    assert results[-1].finding is None
    assert any("depend on" in result.checked.get("RNN603", "") for result in results)


def test_the_rows_that_a_recognized_network_showed_hold_for_later_batches_of_the_shape():
    detector = NoSignal()
    for number in range(3):
        inputs, targets = np.random.default_rng(number).normal(size=(2, 6, 3, ROWS))
        batch = Batch(data=(inputs, targets), phase="train", index=1, network_rows=None if number else ROWS)
        assert not detector.add_batch(batch, 0.5).not_checked
    assert detector.pairs.targets[-1].shape == (ROWS, 6, 3)


def test_sequences_with_an_unknown_axis_of_time_are_tested_along_both_axes():
    detector = NoSignal()
    for number in range(40):
        inputs, targets = np.random.default_rng(number).integers(0, 5, (2, STEPS, ROWS))
        detector.add_batch(Batch(data=(inputs, targets), phase="train", index=1), np.log(5))
    assert detector.end_epoch().finding.code == "RNN603"


def test_a_second_epoch_with_the_same_rows_adds_nothing():
    """The same pairs counted twice would seem to depend on each other."""
    detector, rows = NoSignal(), np.random.default_rng(0).integers(0, 5, (2, 120, STEPS))
    for epoch in range(8):
        order = np.random.default_rng(epoch).permutation(120)
        for first in range(0, 120, ROWS):
            data = tuple(rows[:, order[first : first + ROWS]])
            detector.add_batch(Batch(data=data, phase="train", index=1, batch_size=ROWS), np.log(5))
        detector.end_epoch()
    assert detector.signal in ("independent", "unknown")


def test_a_loss_that_falls_far_below_the_baseline_makes_the_alarm_a_note_once():
    detector, results = play(np.log(5))
    assert results[-1].finding is not None
    assert detector.check_learned() is None
    detector.recent_losses = [0.1] * NO_SIGNAL.recent_batches
    learned = detector.check_learned()
    assert (learned.code, learned.severity) == ("RNN603", "info")
    assert "the loss has fallen to 0.1, 0.062 times that of a constant prediction" in learned.message
    assert detector.check_learned() is None


def test_without_an_alarm_there_is_nothing_to_learn():
    detector, _ = play(0.1)
    assert detector.check_learned() is None


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(("rolled", "signal"), [(True, "independent"), (False, "dependent")])
def test_a_last_target_that_was_rolled_in_is_no_dependence(rolled, signal, real):
    """Targets are the parity of the inputs up to the next step, which the inputs do not show."""
    detector = NoSignal()
    for number in range(60):
        inputs = np.random.default_rng(number).integers(0, 2, (STEPS, ROWS))
        parity = np.cumsum(inputs, axis=0) % 2
        targets = np.roll(parity, -1, axis=0) if rolled else inputs[::-1]
        arrays = (inputs[..., None].astype(float), targets[..., None].astype(float)) if real else (inputs, targets)
        batch = Batch(data=arrays, phase="train", index=number + 1, batch_size=ROWS)
        detector.add_batch(batch, np.log(2))
    detector.end_epoch()
    assert detector.signal == signal
    assert ("rolled within it" in detector.test) is rolled


@pytest.mark.parametrize(("lag", "passes"), [(0, True), (2, False)])
def test_a_dependence_between_earlier_inputs_and_targets_needs_the_axis_of_time(lag, passes):
    detector, results = NoSignal(), []
    for number in range(20):
        inputs = np.random.default_rng(number).integers(0, 5, (STEPS, STEPS))
        batch = Batch((inputs, np.roll(inputs, lag, axis=1)), "train", number + 1)
        results.append(detector.add_batch(batch, 1.0))
    assert detector.signal == "dependent"
    assert any(result.checked for result in results) is passes
    assert any(UNKNOWN_AXIS in result.cannot_tell.get("RNN603", "") for result in results) is not passes


@pytest.mark.parametrize("entering", [0.0, 0.5])
def test_targets_of_constant_inputs_depend_on_them_unless_a_state_enters(entering):
    detector, generator = NoSignal(), np.random.default_rng(0)
    for number in range(40):
        data = (np.full((STEPS, ROWS, 2), 0.3), generator.integers(0, 3, (STEPS, ROWS)))
        states = [np.full((ROWS, 4), entering)] * (STEPS + 1)
        batch = Batch(data=data, phase="train", index=number + 1, sequences=ROWS)
        batch.observed["hidden_states"] = states
        detector.add_batch(batch, np.log(3))
    finding = detector.end_epoch().finding
    assert (finding is None) is bool(entering)
    assert finding is None or "sequences have the same inputs, and each begins with a zero state" in finding.message


def play_sequences(inputs, targets, loss, *, epochs, first_loss=None):
    """The detector, and all findings, after epochs with ten sequences a batch."""
    detector, found = NoSignal(), []
    for _ in range(epochs):
        for number, rows in enumerate(np.split(np.arange(len(inputs)), len(inputs) // 10)):
            batch = Batch(None, "train", number + 1, sequences=10)
            batch.observed.update(inputs=inputs[rows], targets=targets[rows])
            detector.add_batch(batch, first_loss if first_loss and detector.batches < 5 else loss)
        found.append(detector.end_epoch().finding)
    return detector, found


@pytest.mark.parametrize(
    ("shuffled", "loss", "epochs", "found"),
    [(True, 1.09, 9, [5]), (True, 1.09, 4, []), (True, 0.3, 14, []), (False, 1.09, 14, [])],
)
def test_few_sequences_are_judged_after_many_batches(shuffled, loss, epochs, found):
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, 200)
    series = np.cumsum(random.normal(size=(200, 12, 2)) + 0.2 * (classes[:, None, None] - 1), axis=1)
    detector, findings = play_sequences(
        series, random.permutation(classes) if shuffled else classes, loss, epochs=epochs
    )
    assert [number for number, finding in enumerate(findings, 1) if finding] == found
    assert detector.signal == ("weak" if shuffled else "dependent")


@pytest.mark.parametrize(("shuffled", "loss", "signal"), [(True, 0.6, "shuffled"), (False, 0.6, "dependent")])
def test_targets_shuffled_within_their_sequence_depend_on_it_alone(shuffled, loss, signal):
    random = np.random.default_rng(0)
    level = random.normal(size=(300, 1))
    series = level + random.normal(size=(300, 10))
    labels = (series > 0.0).astype(float)
    targets = random.permuted(labels, axis=1) if shuffled else labels
    detector, findings = play_sequences(series[..., None], targets[..., None], loss, epochs=8, first_loss=0.69)
    assert detector.signal == signal
    [finding] = [one for one in findings if one] if shuffled else [None]
    assert (finding is None) is not shuffled
    assert not shuffled or finding.message.startswith("the targets do not depend on the inputs of their step:")


def test_a_dependence_on_earlier_inputs_is_no_shuffling_where_the_axis_of_time_is_unknown():
    detector = NoSignal()
    for number in range(200):
        inputs = np.random.default_rng(number).integers(0, 5, (STEPS, STEPS))
        detector.add_batch(Batch((inputs, np.roll(inputs, 2, axis=0)), "train", number + 1), np.log(5))
        found = detector.end_epoch().finding if number % 40 == 39 else None
        assert found is None
    assert detector.signal == "dependent"


def test_several_labels_a_step_have_the_baseline_of_a_cross_entropy():
    random = np.random.default_rng(0)
    series, labels = random.normal(size=(300, 10, 2)), (random.random((300, 10, 3)) < [0.5, 0.3, 0.1]).astype(float)
    detector, findings = play_sequences(series, labels, 0.545, epochs=2, first_loss=0.7)
    assert detector.baselines == [pytest.approx((0.6931 + 0.6109 + 0.3251) / 3, abs=0.01)]
    assert any(findings)


def test_pairs_that_are_shuffled_after_the_first_epoch_are_tested_again():
    random = np.random.default_rng(0)
    inputs = random.integers(0, 4, (200, 12))
    detector, found = NoSignal(), []
    for epoch in range(3):
        targets = np.roll(inputs if epoch == 0 else random.permutation(inputs), 1, axis=1)
        for number, rows in enumerate(np.split(np.arange(200), 40)):
            batch = Batch((inputs[rows], targets[rows]), "train", number + 1, batch_size=5)
            detector.add_batch(batch, 1.386)
        found.append((detector.signal, detector.end_epoch().finding))
    assert [signal for signal, _ in found] == ["dependent", "dependent", "independent"]
    assert [finding is not None for _, finding in found] == [False, True, False]


@pytest.mark.parametrize(("shuffled", "loss", "findings"), [(True, 1.09, 1), (False, 0.5, 0)])
def test_labels_of_square_batches_are_tested_along_both_axes(shuffled, loss, findings):
    detector, found, random = NoSignal(), [], np.random.default_rng(0)
    for _ in range(10):
        for number in range(60):
            tokens, labels = random.integers(0, 3, (STEPS, STEPS)), random.integers(0, 3, STEPS)
            tokens[:, 4] = tokens[:, 4] if shuffled else labels
            detector.add_batch(Batch((tokens, labels), "train", number + 1), loss)
        found.append(detector.end_epoch().finding)
    assert sum(finding is not None for finding in found) == findings
    assert detector.signal == ("independent" if shuffled else "dependent")


def test_a_weak_dependence_does_not_show_that_most_targets_belong_to_their_inputs():
    detector, results, random = NoSignal(), [], np.random.default_rng(0)
    for number in range(60):
        inputs = random.integers(0, 5, (STEPS, ROWS))
        targets = np.where(random.random((STEPS, ROWS)) < 0.1, inputs, random.integers(0, 5, (STEPS, ROWS)))
        batch = Batch(SequenceBatch(inputs, targets), "train", number + 1, sequences=ROWS)
        results.append(detector.add_batch(batch, 0.5))
    assert detector.signal == "dependent"
    assert [result.cannot_tell["RNN603"] for result in results if result.checked or result.cannot_tell] == [
        f"{detector.test}; an association (Cramér's V) of about 0.089 is weak, as if most targets were shuffled"
    ]
