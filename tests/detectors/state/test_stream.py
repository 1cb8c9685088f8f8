"""RNN203: streams whose state is always reset, and what only looks like them."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.state.inspected_batches import PhaseHistory
from rnncallbacks.detectors.state.state_origin import StateOrigin
from rnncallbacks.detectors.state.stream import ForgottenStreamDetector

ROWS, SEQ_LEN = 4, 9


class Batches:
    """Contiguous batches that zeros enter, as the guard hands them on."""

    def __init__(self, phase="train", vocab_size=50):
        self.detector, self.checked = ForgottenStreamDetector(), False
        self.phase = PhaseHistory(phase)
        self.text = np.random.default_rng(0).integers(vocab_size, size=(200 * SEQ_LEN + 1, ROWS))

    def batch(self, index, *, contiguous=True, starts=None, entering=None, origin=False, final=None):
        self.phase.begin(index, None)
        start = SEQ_LEN * self.phase.number * (1 if contiguous else 2)
        chunk = self.text[start : start + SEQ_LEN + 1]
        observed = {} if final is None else {"hidden_states": np.stack([0 * final] * SEQ_LEN + [final])}
        batch = Batch(
            (chunk[:-1], chunk[1:]),
            self.phase.name,
            index,
            starts=starts,
            batch_size=ROWS,
            entering_state=entering,
            observed=observed,
        )
        current = self.phase.inspect(batch)
        before = current.before
        carried = StateOrigin(before, None, np.ones(ROWS, dtype=bool), 1.0) if origin and before is not None else None
        result = self.detector.check(current, carried)
        self.phase.keep(current)
        self.checked |= tuple(result.checked) == ("RNN203",)
        return result.finding

    def findings(self, count, **options):
        return [found for index in range(1, count + 1) if (found := self.batch(index, **options)) is not None]


def test_ten_batches_are_found_with_a_headline_and_the_numbers():
    batches = Batches()
    assert batches.findings(10) == []
    found = batches.batch(11)
    assert found.message == (
        "zeros entered every batch of a contiguous stream: all 40 rows of 10 training batches continue the row of the "
        "batch before, which the network cannot remember"
    )
    assert found.evidence == {"continuing_share": 1.0, "rows": 40, "batches": 10, "state_rms": 0.0}
    assert (found.code, found.severity) == ("RNN203", None)
    assert len(batches.findings(11)) == 1  # counting began again


def test_five_batches_are_enough_at_the_end_of_an_epoch():
    batches = Batches()
    assert batches.findings(5) == []
    assert batches.detector.end_epoch().finding is None
    batches.batch(6)
    assert batches.detector.end_epoch().finding.evidence["batches"] == 5
    assert batches.detector.end_epoch().finding is None


@pytest.mark.parametrize(
    "options",
    [
        {"contiguous": False},
        {"entering": np.zeros((ROWS, 3))},  # the run carried zeros
        {"final": np.zeros((ROWS, 3))},  # dead units
        {"origin": True},
    ],
)
def test_what_is_no_forgotten_stream(options):
    batches = Batches()
    assert batches.findings(30, **options) == []
    assert batches.detector.end_epoch().finding is None


def test_one_batch_with_a_carried_state_starts_the_count_again():
    batches = Batches()
    assert batches.findings(9) == []
    assert batches.batch(10, origin=True) is None
    assert batches.checked
    assert [batches.batch(index) is not None for index in range(11, 21)] == [False] * 9 + [True]


def test_other_phases_may_reset():
    batches = Batches("val")
    assert batches.findings(30) == []
    assert not batches.checked


def test_batches_that_the_loader_marks_as_new_are_an_info():
    (found,) = Batches().findings(15, starts=np.ones(ROWS, dtype=bool))
    assert found.severity == "info"
    (found,) = Batches().findings(15, starts=np.array([True, False, False, False]))
    assert (found.severity, found.evidence["rows"]) == (None, 30)


@pytest.mark.parametrize(("period", "count"), [(SEQ_LEN, 0), (3, 0), (SEQ_LEN + 1, 1)])
def test_rows_that_continue_themselves_are_no_stream(period, count):
    batches = Batches()
    batches.text = np.resize(batches.text[:period], batches.text.shape)
    assert len(batches.findings(15)) == count
