"""The inspected batches of a phase, and the values of the latest one that are compared with the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray, FloatArray
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.resting import period_at
from rnncallbacks.detectors.sequences import Sequences, indices_of, mask_of, sequences_of
from rnncallbacks.detectors.state.observed_state import ObservedState, layers_of, observed_state, state_rows
from rnncallbacks.detectors.state.row_ends import RowEnds, row_ends
from rnncallbacks.detectors.state.target_shift import TargetShift

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class InspectionSchedule:
    """Schedule of the inspected batches of a phase. All numbers bound the cost of a guard, and were chosen by eye."""

    first_batches: int = 30
    """Batches at the beginning of a run that are all inspected, if they have few rows."""

    first_batches_of_many_rows: int = 12
    """The same, once the inspected batches have ``many_rows`` rows."""

    first_batches_of_settled: int = 8
    """The same where zeros enter, no states are observed, and rows do not continue: later batches show nothing new."""

    many_rows: int = 200
    """Rows of all inspected batches, above which there are many."""

    period: int = 80
    """Later, the first two batches of each period of this number are inspected. It doubles three times, as the number
    of batches does."""


@attrs.frozen(eq=False)
class LatestBatch:
    """The kept values of an inspected batch.

    Parameters
    ----------
    number:
        The number of the batch within its phase, over all epochs, from 1.
    index:
        Its number within the epoch, from 1.
    ends:
        The ends of its rows; None if its layout is not known.
    final_state:
        The state after its last time step; None if that was not observed.
    batch_size:
        The number of its sequences; None if it is not known.
    other_finals:
        Further arrays of that state, such as those of other layers.
    """

    number: int
    index: int
    ends: RowEnds | None
    final_state: Array | None
    batch_size: int | None
    other_finals: tuple[Array, ...] = ()


@attrs.frozen(eq=False)
class InspectedBatch:
    """A batch at its end, for detectors.

    Parameters
    ----------
    batch, phase:
        The batch, and the phase that it belongs to.
    sequences, ends, state:
        Its inputs and targets, the ends of its rows, and its state.
    before:
        The batch before in the same phase; None if there is none, or if it was not inspected.
    batch_size:
        The number of sequences; None if it is not known.
    """

    batch: Batch
    phase: PhaseHistory
    sequences: Sequences
    ends: RowEnds | None
    state: ObservedState
    before: LatestBatch | None
    batch_size: int | None

    @property
    def zeros_enter(self) -> bool:
        """Whether the entering state is zero in all of its arrays."""
        return self.first_is_zero and not any(other.any() for other in self.state.others)

    @property
    def first_is_zero(self) -> bool:
        """Whether the first array of the entering state is zero."""
        return self.state.entering is None or not self.state.entering.any()

    def entering_rows(self) -> list[FloatArray]:
        """The arrays of the entering state that are not zero, then their layers, each of shape (batch, units).

        Empty if all are zero, or if their batch axis is not known.
        """
        if self.state.entering is None or self.batch_size is None:
            return []
        parts = [
            part for state in (self.state.entering, *self.state.others) for part in layers_of(state, self.batch_size)
        ]
        rows = [state_rows(part, self.batch_size) for part in parts if part.any()]
        return [one for one in rows if one is not None]

    def new_sequences(self, count: int) -> BoolArray | None:
        """Mask of the rows that begin a new sequence, by the loader's ``starts``; None if a value is missing."""
        starts = self.batch.starts
        return None if starts is None or starts.shape != (count,) else starts.astype(np.bool_, copy=False)


@attrs.define(eq=False)
class PhaseHistory:
    """Follows the batches of one phase, such as "train".

    Call :meth:`begin` when a batch begins, :meth:`observe` when its states are known, :meth:`inspect` when it ends, and
    :meth:`keep` after the detectors have seen it; of these, all but the first for inspected batches only.

    Attributes
    ----------
    number, index:
        The number of the open batch within the phase, over all epochs, and within the epoch, both from 1.
    inspected:
        Whether the open batch is inspected.
    state:
        The state of the open batch, or of the last inspected one before it.
    carried:
        The state that the run carried over to the open batch, to be set after :meth:`begin`; None if there is none.
    latest:
        The latest inspected batch before the open one.
    shift:
        The shift between inputs and targets.
    vocab_size:
        The number of classes that targets have shown so far, 0 if they are not classes.
    shows_entering:
        Whether the state that entered the latest inspected batch is known.
    shows_sequences:
        Whether the inputs and targets of that batch are.
    settled:
        Whether the inspected batches show that further ones will show nothing new.

    Example
    -------
    >>> phase = PhaseHistory("train", InspectionSchedule(first_batches=2, period=100))
    >>> for index in (1, 2, 3):
    ...     print(phase.begin(index, count=None))
    True
    True
    False
    """

    name: str
    schedule: InspectionSchedule = InspectionSchedule()
    number: int = state_field(0)
    index: int = state_field(1)
    inspected: bool = state_field(False)
    state: ObservedState | None = state_field(None)
    carried: Array | None = state_field(None)
    latest: LatestBatch | None = state_field(None)
    shift: TargetShift = state_field(factory=TargetShift)
    vocab_size: int = state_field(0)
    shows_entering: bool = state_field(False)
    shows_sequences: bool = state_field(False)
    settled: bool = state_field(False)
    _rows: int = state_field(0)

    def begin(self, index: int, count: int | None, *, compared: bool = False) -> bool:
        """Begin batch ``index`` of ``count`` of the epoch; return whether it is inspected, as compared batches are."""
        self.number += 1
        self.index = index
        # At the first and the last batch of an epoch, phases change.
        self.inspected = self._is_inspected(self.number) or index in (1, count)
        self.inspected |= compared
        if self.inspected:
            self.state = self.carried = None
        return self.inspected

    def skip(self, batches: int) -> None:
        """Count batches that were left out, since none of them is inspected."""
        self.number += batches

    @property
    def batches_to_next(self) -> int:
        """The number of batches until the next that is inspected wherever it is in its epoch, 1 for the next batch."""
        number = self.number + 1
        return 1 if self._is_inspected(number) else 1 + -number % period_at(number, self.schedule.period)

    def _is_inspected(self, number: int) -> bool:
        schedule = self.schedule
        many_rows = self._rows >= schedule.many_rows
        first = schedule.first_batches_of_many_rows if many_rows else schedule.first_batches
        first = schedule.first_batches_of_settled if self.settled else first
        return number <= first or number % period_at(number, schedule.period) < 2

    def observe(self, batch: Batch) -> None:
        """Store the state of the open batch, as far as it is known."""
        self.state = observed_state(batch)

    def inspect(self, batch: Batch) -> InspectedBatch:
        """The open batch, for the detectors."""
        if self.state is None or not self.state.known:
            self.observe(batch)
        assert self.state is not None
        sequences = sequences_of(batch)
        mask = mask_of(batch, sequences)
        ends = row_ends(sequences, mask)
        self.learn(sequences, mask)
        self.shows_entering = self.state.shows_entering(sequences.seq_len)
        self.shows_sequences = sequences.inputs is not None and sequences.targets is not None
        size = batch.batch_size or sequences.batch_size or (None if batch.starts is None else len(batch.starts))
        size = size or _size_by_indices(batch, self.state) or _size_of_square(sequences, self.state)
        return InspectedBatch(batch, self, sequences, ends, self.state, self.adjacent, size)

    def learn(self, sequences: Sequences, mask: Array | None) -> None:
        """Learn the number of classes and the shift between inputs and targets from the first batches."""
        targets = sequences.targets
        if self.number > self.schedule.first_batches or targets is None or sequences.time_axis is None:
            return
        if targets.dtype.kind != "f" and targets.size:
            self.vocab_size = max(self.vocab_size, sequences.vocab_size or int(targets.max()) + 1)
        self.shift.learn(sequences, mask)

    def keep(self, current: InspectedBatch) -> None:
        """Keep the values for the comparison with the next batch."""
        self._rows += current.batch_size or 0
        state = current.state
        self.latest = LatestBatch(
            self.number, self.index, current.ends, state.final, current.batch_size, state.other_finals
        )

    @property
    def batch_size(self) -> int | None:
        """The number of sequences of the latest inspected batch; None if it is not known."""
        return None if self.latest is None else self.latest.batch_size

    @property
    def adjacent(self) -> LatestBatch | None:
        """The batch before the open one, if it was inspected."""
        return self.latest if self.latest is not None and self.latest.number == self.number - 1 else None


def _size_by_indices(batch: Batch, state: ObservedState) -> int | None:
    """The number of sequences where the loader yields indices: theirs, or the length of the state's first axis."""
    indices = indices_of(batch)
    if indices is None or state.entering is None or state.entering.ndim != 2:
        return None
    return len(indices) if len(indices) in state.entering.shape else len(state.entering)


def _size_of_square(sequences: Sequences, state: ObservedState) -> int | None:
    """The number of sequences where there are as many time steps: which axis is which does not matter then."""
    inputs, entering = sequences.inputs, state.entering
    if inputs is None or entering is None or entering.ndim != 2 or inputs.ndim < 2:
        return None
    steps, rows = inputs.shape[:2]
    features = inputs.ndim == 2 and inputs.dtype.kind == "f"  # of a single sequence
    return rows if steps == rows and rows in entering.shape and not features else None
