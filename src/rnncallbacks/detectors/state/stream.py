"""RNN203, the state is reset although batches are contiguous: checks zeros that enter the batches of a stream."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import TRAIN
from rnncallbacks.detectors.state.contiguity import ContiguityCounts
from rnncallbacks.detectors.state.continuation import Continuation, compare_row_ends
from rnncallbacks.detectors.state.inspected_batches import InspectedBatch
from rnncallbacks.detectors.state.state_origin import StateOrigin


@attrs.frozen(kw_only=True)
class ForgottenStreamThresholds:
    """Numbers of batches for a forgotten stream. Both were chosen by eye; the test is that of contiguity."""

    batches: int = 10
    """Training batches that zeros enter, in a row, and whose rows all continue the row before."""

    batches_at_epoch_end: int = 5
    """The same at the end of an epoch, for short ones."""


FORGOTTEN_STREAM = ForgottenStreamThresholds()


@attrs.define(eq=False)
class ForgottenStreamDetector:
    """Finds RNN203 in inspected batches of training.

    All rows of all batches must continue the row before, beyond chance, although zeros enter each batch. A single batch
    that a state is carried into starts the count again. If the loader's ``starts`` says that all rows begin new
    sequences, the finding is an info.
    """

    _counts: ContiguityCounts = state_field(factory=ContiguityCounts)
    _all_marked_new: bool = state_field(False)
    _carried: int = state_field(0)

    @property
    def is_excluded(self) -> bool:
        """Whether rows of this epoch do not continue the row before, so that it cannot be a stream."""
        return self._counts.continuing < self._counts.rows

    def check(self, current: InspectedBatch, origin: StateOrigin | None) -> CheckResult:
        """Check a batch; ``origin`` is the earlier batch that its entering state comes from."""
        training = current.phase.name == TRAIN
        if origin is not None and origin.other_phase is None:
            if training:
                self._counts.clear()
                self._carried += 1
            return CheckResult(
                checked={"RNN203": f"{self._carried} training batches entered with the state of the batch before"}
                if training
                else {}
            )
        if origin is not None or not training:
            return CheckResult()
        order = _compare_if_reset(current)
        if order is None or current.ends is None:
            return CheckResult()
        self._count(current, order, current.ends.batch_size)
        counts = self._counts
        rows = f"{counts.continuing} of {counts.rows} rows of {counts.batches} training batches that zeros entered"
        cannot_tell = counts.continuing == counts.rows
        result = {"RNN203": f"{rows} continue the row before"}
        return CheckResult(
            finding=self._check_batches(FORGOTTEN_STREAM.batches),
            checked={} if cannot_tell else result,
            withdrawn=result if cannot_tell else {},
        )

    def end_epoch(self) -> CheckResult:
        """Check the training batches of a short epoch."""
        found = self._check_batches(FORGOTTEN_STREAM.batches_at_epoch_end)
        if self._counts.continuing < self._counts.rows:
            self._counts.clear()
        return CheckResult(finding=found)

    def _count(self, current: InspectedBatch, order: Continuation, batch_size: int) -> None:
        new_sequences = current.new_sequences(batch_size)
        all_new = new_sequences is not None and bool(new_sequences.all())
        self._all_marked_new = all_new and (self._all_marked_new or not self._counts.rows)
        every_row = np.ones(batch_size, dtype=np.bool_)
        self._counts.add(order, every_row if new_sequences is None or all_new else ~new_sequences)

    def _check_batches(self, batches: int) -> Finding | None:
        counts = self._counts
        if counts.batches < batches or not counts.cannot_be_chance():
            return None
        message = (
            f"zeros entered every batch of a contiguous stream: all {counts.rows} rows of {counts.batches} training "
            "batches continue the row of the batch before, which the network cannot remember"
        )
        evidence = {"continuing_share": 1.0, "rows": counts.rows, "batches": counts.batches, "state_rms": 0.0}
        counts.clear()
        return Finding("RNN203", message, evidence, "info" if self._all_marked_new else None)


def _compare_if_reset(current: InspectedBatch) -> Continuation | None:
    """The rows that continue the row before, if zeros enter that were not carried, and rows are compared by value."""
    before, ends = current.before, current.ends
    if before is None or before.ends is None or ends is None or current.phase.index == 1 or not current.zeros_enter:
        return None
    dead_units = before.final_state is not None and not before.final_state.any()
    if dead_units or current.batch.entering_state is not None:
        return None
    order = compare_row_ends(before.ends, ends, current.phase.shift.steps)
    if order.ends is None:
        return None
    # A row that also continues itself, as in a periodic series, or words between full stops, says nothing of the next.
    itself = compare_row_ends(before.ends, before.ends, current.phase.shift.steps).continues[: len(order.known)]
    return Continuation(order.continues, order.known & ~itself, order.ends, order.begins)
