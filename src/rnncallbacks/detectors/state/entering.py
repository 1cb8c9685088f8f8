"""From one batch to the next: what is kept of each phase's last batch, and with whose final state a batch enters."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.hidden_states import SeenState, root_mean_square, rows_of, same_rows
from rnncallbacks.detectors.state.stream import BoolArray, Edges, Shift, Tally

EACH = 30
"""So many batches of a phase are looked at one by one, and then two in a row of each ``PERIOD``."""

ENOUGH, ENOUGH_ROWS = 12, 200
"""If they have so many rows together, so few batches are enough."""

PERIOD = 80


@attrs.define(eq=False)
class Look:
    """What is kept of a batch: which it was, the ends of its rows, its final state, the number of its sequences."""

    serial: int
    index: int
    edges: Edges | None
    final: Array | None
    size: int | None


@attrs.define(eq=False)
class Phase:
    """What is known of a phase: its open batch, the one before, and what its batches had in common so far.

    ``rows`` counts the rows of all batches that were looked at. ``carried`` is what the run carried over to the open
    batch. ``leak``, ``leaks_from`` (by another phase's name) and ``reset`` count the rows that went on where a state
    was carried over, where another phase's was, and where zeros entered; ``told_anew`` says whether the loader told of
    all these that they begin anew. ``quiet_until`` is the batch before which a leak is not told again, and ``rms`` the
    size of the latest one.
    """

    name: str
    serial: int = 0
    index: int = 1
    rows: int = 0
    due: bool = False
    state: SeenState | None = None
    carried: Array | None = None
    before: Look | None = None
    shift: Shift = attrs.field(factory=Shift)
    leak: Tally = attrs.field(factory=Tally)
    leaks_from: dict[str, Tally] = attrs.field(factory=dict)
    reset: Tally = attrs.field(factory=Tally)
    told_anew: bool = False
    vocab_size: int = 0
    rms: float = 0.0
    quiet_until: int = 0

    def begin(self, index: int, count: int | None) -> None:
        """A batch begins; whether it is looked at depends on how many there were."""
        self.serial += 1
        self.index = index
        # The first and the last of an epoch are where one phase takes over from another.
        each = ENOUGH if self.rows >= ENOUGH_ROWS else EACH
        self.due = self.serial <= each or self.serial % PERIOD < 2 or index in (1, count)

    def learn(self, shown: Sequences, mask: Array | None) -> None:
        """From the first batches: the size of the vocabulary, and by how many steps targets run ahead of inputs."""
        if self.serial > EACH or shown.targets is None or shown.time_axis is None:
            return
        if shown.targets.dtype.kind != "f" and shown.targets.size:
            self.vocab_size = max(self.vocab_size, shown.vocab_size or int(shown.targets.max()) + 1)
        self.shift.learn(shown, mask)

    @property
    def adjacent(self) -> Look | None:
        """The batch before the open one, if it was looked at."""
        return self.before if self.before is not None and self.before.serial == self.serial - 1 else None


@attrs.frozen(eq=False)
class Transition:
    """A state that is not zero enters a batch, and an earlier batch ended with it.

    ``before`` is that batch, ``other`` its phase if that is another, ``rows`` says which rows of the state were carried
    over, and ``rms`` is their root mean square.
    """

    before: Look
    other: str | None
    rows: BoolArray
    rms: float


def transition(phase: Phase, phases: Iterable[Phase], entering: Array) -> Transition | None:
    """With whose final state a batch enters, given as rows; None if it is nobody's, and was set on purpose."""
    filled = entering.any(axis=1)
    candidates: list[tuple[Look | None, str | None, Array | None]] = [(phase.adjacent, None, phase.carried)]
    # One phase takes over from another where an epoch's batches begin, or within them, and there both were looked at.
    # Where the batch before was not, states of saturated units may be those of another phase by chance.
    if phase.index == 1 or phase.adjacent is not None:
        candidates += [(other.before, other.name, None) for other in phases if other is not phase]
    for before, other_name, carried in candidates:
        if before is not None:
            rows = filled & _came_from(entering, before, carried)
            if rows.any():
                return Transition(before, other_name, rows, root_mean_square(entering[rows]))
    return None


def _came_from(entering: Array, before: Look, carried: Array | None) -> BoolArray:
    """Which rows are those of the final state before: as the hidden states show it, else as the run carried it."""
    came = np.zeros(len(entering), dtype=np.bool_)
    final = None if before.final is None or before.size is None else rows_of(before.final, before.size)
    if final is not None:
        came = same_rows(entering, final)
        if before.edges is None or not before.edges.ended.any():
            return came
    # With padding, the state after the last step is not that after a row's own last step.
    handed = None if carried is None else rows_of(carried, len(entering))
    return came if handed is None else came | same_rows(entering, handed)
