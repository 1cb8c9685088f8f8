"""RNN201: which states leak, by the loader's starts and by what the rows show, and when that is reported."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.state.entering import StateLeakDetector
from rnncallbacks.detectors.state.inspected_batches import PhaseHistory
from rnncallbacks.detectors.state.state_origin import state_origin

ROWS, SEQ_LEN, HIDDEN = 4, 9, 5


class Batches:
    """Batches whose final state enters the next one, as the guard hands them on."""

    def __init__(self, *names):
        self.detector, self.checked = StateLeakDetector(), False
        self.phases = {name: PhaseHistory(name) for name in names or ("train",)}
        self.rng = np.random.default_rng(0)
        self.state = np.zeros((ROWS, HIDDEN))
        self.text = self.rng.integers(50, size=(200 * SEQ_LEN + 1, ROWS))

    def batch(self, index, *, contiguous=False, zeros=False, starts=None, phase="train"):
        history = self.phases[phase]
        history.begin(index, None)
        start = SEQ_LEN * history.number
        chunk = self.text[start : start + SEQ_LEN + 1]
        if not contiguous:
            chunk = self.rng.integers(50, size=chunk.shape)
        entering = np.zeros((ROWS, HIDDEN)) if zeros else self.state
        self.state = self.rng.normal(size=(ROWS, HIDDEN))
        states = np.stack([entering, *self.rng.normal(size=(SEQ_LEN - 1, ROWS, HIDDEN)), self.state])
        observed = {"hidden_states": states}
        batch = Batch((chunk[:-1], chunk[1:]), phase, index, starts=starts, observed=observed, batch_size=ROWS)
        current = history.inspect(batch)
        result = self.detector.check(current, state_origin(current, self.phases.values()))
        history.keep(current)
        self.checked |= tuple(result.checked) == ("RNN201",)
        return result.finding

    @property
    def undecided(self):
        return self.detector.is_undecided(self.phases["train"])

    def end_epoch(self):
        return self.detector.end_epoch(self.phases["train"]).finding

    def numbers_of_findings(self, count, **options):
        return [index for index in range(1, count + 1) if self.batch(index, **options) is not None]


def test_three_batches_that_do_not_continue_are_a_leak_and_the_next_finding_waits():
    assert Batches().numbers_of_findings(30) == [4, 14, 24]


@pytest.mark.parametrize("contiguous", [False, True])
def test_bits_without_order_show_by_their_running_parity_whether_rows_continue(contiguous):
    batches = Batches()
    bits = batches.rng.choice([-1.0, 1.0], size=(80, SEQ_LEN, ROWS))
    parity = bits.reshape(1 if contiguous else 80, -1, ROWS).cumprod(axis=1).reshape(bits.shape)
    found = []
    for number, (x, y) in enumerate(zip(bits, (parity > 0).astype(int), strict=True), 1):
        history, entering = batches.phases["train"], batches.state
        history.begin(number, None)
        batches.state = batches.rng.normal(size=(ROWS, HIDDEN))
        states = np.stack([entering, *batches.rng.normal(size=(SEQ_LEN - 1, ROWS, HIDDEN)), batches.state])
        data = (x[..., None], y)
        batch = Batch(data, "train", number, observed={"hidden_states": states}, batch_size=ROWS)
        current = history.inspect(batch)
        result = batches.detector.check(current, state_origin(current, batches.phases.values()))
        history.keep(current)
        found += [result.finding] if result.finding else []
    assert [finding.evidence["across_z"] < 3.0 < finding.evidence["within_z"] for finding in found] == (
        [] if contiguous else [True]
    )
    assert ("RNN201" in result.checked) is contiguous
    assert not batches.undecided


def test_more_batches_are_wanted_while_some_rows_continue_and_others_do_not():
    batches = Batches()
    seen = [(batches.batch(index, contiguous=index % 2 == 0), batches.undecided) for index in range(1, 4)]
    assert [undecided for _, undecided in seen] == [False, True, True]
    streaming = Batches()
    assert [(streaming.batch(index, contiguous=True), streaming.undecided)[1] for index in range(1, 9)][-1] is False


def test_the_finding_has_a_headline_and_the_numbers():
    batches = Batches()
    found = [batches.batch(index) for index in (1, 2, 3, 4)][-1]
    rms = found.evidence["state_rms"]
    assert found.message == (
        "the final state of the batch before entered unrelated sequences: 0 of 12 rows (0%) continue the row before, "
        f"100% expected in contiguous batches; the state that entered batch 4 of train has RMS {rms:.3g}, 0 expected"
    )
    assert found.evidence == {
        "state_rms": rms,
        "expected_rms": 0.0,
        "continuing_share": 0.0,
        "contiguous_share": 1.0,
        "rows": 12,
        "batches": 3,
    }
    assert (found.code, found.severity) == ("RNN201", None)


@pytest.mark.parametrize("options", [{"contiguous": True}, {"zeros": True}])
def test_contiguous_batches_and_zeros_are_no_leak(options):
    batches = Batches()
    assert batches.numbers_of_findings(30, **options) == []
    assert batches.checked


def test_two_batches_are_enough_at_the_end_of_an_epoch_if_none_continued():
    batches = Batches()
    assert batches.numbers_of_findings(3) == []
    found = batches.end_epoch()
    assert "0 of 8 rows" in found.message
    assert "the state that entered batches of train has RMS" in found.message
    mixed = Batches()
    assert mixed.numbers_of_findings(2, contiguous=True) == []
    mixed.batch(3)
    assert mixed.end_epoch() is None
    assert mixed.detector.end_epoch(PhaseHistory("test")).finding is None


def test_from_one_epoch_to_the_next_nothing_leaks_unless_epochs_have_one_batch():
    batches = Batches()
    for _ in range(10):
        batches.text = np.roll(batches.text, 1, axis=1)  # no row continues the last epoch
        assert batches.numbers_of_findings(2, contiguous=True) == []
    single = Batches()
    assert [single.batch(1) is not None for _ in range(4)] == [False, False, False, True]


def test_starts_decide_at_once():
    starts = np.array([True, False, False, True])
    batches = Batches()
    assert batches.batch(1, starts=starts) is None
    found = batches.batch(2, starts=starts, contiguous=True)
    rms = found.evidence["state_rms"]
    assert found.message == (
        "the final state of the batch before entered sequences that begin here: in batch 2 of train, 2 of 4 sequences "
        f"begin by the loader's starts but enter with a state of RMS {rms:.3g}, 0 expected"
    )
    assert found.evidence["leaking_sequences"] == 2
    assert Batches().numbers_of_findings(20, starts=~(starts | True)) == []


@pytest.mark.parametrize(("phase", "severity"), [("train", None), ("val", "info")])
def test_the_state_of_another_phase_is_an_error_only_in_training(phase, severity):
    batches = Batches("train", "val")
    other = "val" if phase == "train" else "train"
    batches.text = np.repeat(batches.text, 3, axis=1)[:, :ROWS]
    found = None
    for _ in range(4):
        batches.batch(1, phase=other)
        found = found or batches.batch(1, phase=phase)
    assert found.severity == severity
    assert found.message.startswith(f"the final state of the phase {other} entered unrelated sequences: ")


@pytest.mark.parametrize(("carried", "moved", "found"), [(10, 1.0, True), (10, 0.0, False), (5, 1.0, False)])
def test_batches_in_another_order_are_a_leak_where_every_state_that_was_seen_was_carried(carried, moved, found):
    batches = Batches()
    for index in range(1, carried + 1):
        batches.batch(index, contiguous=True)
    history, findings = batches.phases["train"], []
    for index in range(1, 6):
        history.begin(index, None)
        current = history.inspect(Batch(None, "train", index))
        findings.append(batches.detector.check_unseen(current, np.full(ROWS, moved > 0.5)).finding)
    assert [one is not None for one in findings] == [False, False, False, found, False]
    assert all(one.code == "RNN201" and one.evidence["moved_share"] == 1.0 for one in findings if one is not None)


def test_states_of_a_validation_do_not_pass_for_those_of_training():
    batches = Batches("train", "val")
    for index in range(1, 6):
        batches.batch(index, zeros=True, phase="val")
    assert not batches.checked
    batches.batch(1, zeros=True)
    batches.batch(2, zeros=True)
    assert batches.checked


def test_final_states_that_enter_other_rows_do_not_pass():
    batches = Batches()
    batches.batch(1, zeros=True)
    for index in range(2, 6):
        batches.state = np.roll(batches.state, 1, axis=0)
        batches.checked = False
        assert batches.batch(index) is None
        assert not batches.checked
