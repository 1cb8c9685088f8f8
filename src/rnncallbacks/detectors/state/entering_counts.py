"""Counts of the kinds of state that enter the batches of a phase: zeros, one for all sequences, or carried."""

from __future__ import annotations

import attrs

from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.state.inspected_batches import InspectedBatch
from rnncallbacks.detectors.state.observed_state import rows_all_equal
from rnncallbacks.detectors.state.state_origin import ended_another_row


@attrs.define(eq=False)
class EnteringStateCounts:
    """Numbers of batches of one phase by the kind of state that entered.

    Parameters
    ----------
    zeros:
        Zeros.
    shared:
        One nonzero state for all sequences, as a learned initial state.
    unknown_origin:
        A nonzero state that is not the final state of an earlier batch.
    by_starts:
        The final state of an earlier batch, where the loader's ``starts`` marks the rows that begin.
    carried:
        The final state of an earlier batch, without ``starts``.
    undecided:
        Batches of ``carried`` whose rows could not be compared.
    """

    zeros: int = state_field(0)
    shared: int = state_field(0)
    unknown_origin: int = state_field(0)
    by_starts: int = state_field(0)
    carried: int = state_field(0)
    undecided: int = state_field(0)

    @property
    def batches(self) -> int:
        return self.zeros + self.shared + self.unknown_origin + self.by_starts + self.carried

    def count_new(self, current: InspectedBatch) -> bool:
        """Count a state that is not the final state of an earlier batch; return whether that is certain."""
        before = current.before
        if current.zeros_enter:
            self.zeros += before is not None
            return before is not None
        rows = current.entering_rows()
        if not rows:
            return False
        if rows_all_equal(rows[0]):
            self.shared += 1
            return True
        if current.first_is_zero:
            return False  # the hidden states may be those of the first layer, and do not show how another one ended
        # Where the number of time steps is not known, the first hidden state may be that after the first time step.
        certain = current.state.count == 0 or current.sequences.seq_len is not None
        if before is None or before.final_state is None or not certain:
            return False
        if ended_another_row(rows[0], before):
            self.carried += 1
            self.undecided += 1
        else:
            self.unknown_origin += 1
        return True

    def text(self, rows: str) -> str:
        """The counts in words; ``rows`` describes the rows that continued where states were carried."""
        parts = {
            "zeros": self.zeros,
            "one state for all sequences": self.shared,
            "a state that no earlier batch ended with": self.unknown_origin,
            "the state of an earlier batch, and zeros in rows that the loader's starts mark": self.by_starts,
            f"the state of an earlier batch ({rows})": self.carried,
        }
        return ", ".join(
            f"{count} of {self.batches} batches entered with {what}" for what, count in parts.items() if count
        )
