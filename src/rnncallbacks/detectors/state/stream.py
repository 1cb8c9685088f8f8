r"""Whether each batch goes on where the one before ended, as in a stream that is cut into chunks.

In a stream, what holds between inputs and targets within a batch holds across its end too. If the target is the next
input, the first input of a row is the last target of the same row one batch earlier. If the target is the input of k
steps ago, as in the echo task, the first k targets are the last k inputs. Of numbers without such a shift, a smooth
series goes on without a jump.

Small vocabularies make such agreement likely by chance. So both verdicts are tests: sequences are unrelated if so few
rows agree that no stream would show it, and a stream is one if no chance could make all of them agree.
"""

from __future__ import annotations

import math
from collections import Counter

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import Sequences

BoolArray = npt.NDArray[np.bool_]

MOST_STEPS = 16
"""The longest shift between inputs and targets that is looked for."""

ENOUGH_PAIRS = 2000
"""Inputs and targets that show the shift, and how often it holds."""

STREAM_SHARE = 0.75
"""The least share of rows that go on in a stream, of those that would without noise: documents may begin in between."""

UNLIKELY = math.log(1e-4)
IMPOSSIBLE = math.log(1e-9)


@attrs.frozen(eq=False)
class Edges:
    """The two ends of a batch's rows, time first: up to ``MOST_STEPS`` of inputs and targets.

    ``ended`` says which rows the mask ends before the last step. ``largest_step`` is the largest change of float inputs
    from one step to the next, in each row. ``tokens`` are all inputs, if they are token numbers.
    """

    first_inputs: Array
    last_inputs: Array
    first_targets: Array | None
    last_targets: Array | None
    labels: Array | None
    ended: BoolArray
    largest_step: Array | None
    tokens: Array | None

    @property
    def batch_size(self) -> int:
        return int(self.first_inputs.shape[1])


def edges_of(shown: Sequences, mask: Array | None = None) -> Edges | None:
    """The ends of a batch's rows, copied; None if nothing tells which axis is time."""
    if shown.inputs is None or shown.time_axis is None:
        return None
    x, y = time_first(shown)
    floats = x.dtype.kind == "f"
    with np.errstate(all="ignore"):
        changes = np.abs(np.diff(x.reshape(*x.shape[:2], -1), axis=0)).max(axis=2) if floats and len(x) > 3 else None
    if mask is None:
        ended = np.zeros(x.shape[1], dtype=np.bool_)
    else:
        ended = ~(mask[-1] if shown.time_axis == 0 else mask[:, -1])
    per_sequence = shown.targets is not None and not shown.per_step and len(shown.targets) == x.shape[1]
    return Edges(
        first_inputs=x[:MOST_STEPS].copy(),
        last_inputs=x[-MOST_STEPS:].copy(),
        first_targets=None if y is None else y[:MOST_STEPS].copy(),
        last_targets=None if y is None else y[-MOST_STEPS:].copy(),
        labels=np.array(shown.targets) if per_sequence else None,
        ended=ended,
        largest_step=None if changes is None else changes.max(axis=0),
        tokens=None if floats else x.copy(),
    )


def time_first(shown: Sequences) -> tuple[Array, Array | None]:
    """Inputs, and targets if there is one for each step, with time on the first axis."""
    assert shown.inputs is not None
    y = shown.targets if shown.per_step else None
    if shown.time_axis == 0:
        return shown.inputs, y
    return shown.inputs.swapaxes(0, 1), None if y is None else y.swapaxes(0, 1)


@attrs.define(eq=False)
class Shift:
    """Finds by how many steps targets run ahead of inputs: 1 for next-token prediction, -k for an echo of k steps ago.

    Example
    -------
    >>> tokens = np.random.default_rng(0).integers(0, 5, (21, 4))
    >>> shift = Shift()
    >>> shift.add(tokens[:-1], tokens[1:])
    >>> shift.steps, shift.share
    (1, 1.0)
    """

    hits: dict[int, int] = state_field(factory=dict)
    pairs: dict[int, int] = state_field(factory=dict)
    chance: float = state_field(0.0)
    weight: int = state_field(0)

    def add(self, x: Array, y: Array, mask: Array | None = None) -> None:
        """Take a batch in, time first; positions that the mask leaves out do not count."""
        if x.shape != y.shape:
            return
        counts = np.ones(x.shape[:2], dtype=np.bool_) if mask is None else mask
        self.chance += _agreement_by_chance(x[counts], y[counts]) * int(counts.sum())
        self.weight += int(counts.sum())
        longest = min(MOST_STEPS, len(x) - 1)
        for steps in (*range(1, longest + 1), *range(-longest, 0)):
            if steps == 2 and self.steps == 1:
                return  # the rule, and cheap to find
            ahead, behind = (x[steps:], y[:-steps]) if steps > 0 else (x[:steps], y[-steps:])
            both = counts[steps:] & counts[:-steps] if steps > 0 else counts[:steps] & counts[-steps:]
            self.hits[steps] = self.hits.get(steps, 0) + int(np.count_nonzero(_equal(ahead, behind) & both))
            self.pairs[steps] = self.pairs.get(steps, 0) + int(np.count_nonzero(both))

    def learn(self, shown: Sequences, mask: Array | None) -> None:
        """Take a batch in whose axis of time is known, unless enough was seen; the mask is laid out as its inputs."""
        x, y = time_first(shown)
        if y is not None and not self.settled:
            self.add(x, y, mask if mask is None or shown.time_axis == 0 else mask.T)

    @property
    def steps(self) -> int | None:
        """The shift, or None as long as none is clear."""
        # Noisy labels, and padding without a mask, take their part of the share.
        if self._beyond_chance(1) >= 0.5:
            return 1
        best = max(self.hits, key=self._beyond_chance, default=None)
        return best if best is not None and self._beyond_chance(best) >= 0.75 else None

    @property
    def settled(self) -> bool:
        """Whether enough was seen to look no further."""
        steps = self.steps
        return steps is not None and self.pairs[steps] >= ENOUGH_PAIRS

    @property
    def share(self) -> float:
        """The share of positions at which the shift holds."""
        return 0.0 if self.steps is None else self.hits[self.steps] / self.pairs[self.steps]

    def _beyond_chance(self, steps: int) -> float:
        pairs = self.pairs.get(steps, 0)
        if pairs < 8:
            return 0.0
        chance = self.chance / self.weight
        return 0.0 if chance > 0.95 else (self.hits[steps] / pairs - chance) / (1.0 - chance)


@attrs.frozen(eq=False)
class Continuation:
    """Which rows of a batch go on where the one before ended, of those for which it can be told.

    ``ends`` and ``begins`` are the values that had to agree in each row, if it is tokens or vectors that had to.
    """

    goes_on: BoolArray
    known: BoolArray
    ends: Array | None = None
    begins: Array | None = None


def continuation(before: Edges, after: Edges, steps: int | None) -> Continuation:
    """Compare the end of one batch with the beginning of the next; ``steps`` is what :class:`Shift` found."""
    rows = min(before.batch_size, after.batch_size)
    every, ended = np.ones(rows, dtype=np.bool_), before.ended[:rows]
    by_value = _by_shift(before, after, steps, rows) or _by_label(before, after, rows)
    found = by_value or _by_smoothness(before, after, rows)
    if found is None:
        return Continuation(goes_on=~every, known=ended)
    if by_value and not found.goes_on.all() and _overlap(before, after):
        return Continuation(goes_on=every, known=every)
    return attrs.evolve(found, goes_on=found.goes_on & ~ended, known=found.known | ended)


def _by_shift(before: Edges, after: Edges, steps: int | None, rows: int) -> Continuation | None:
    if steps is None:
        return None
    last, first = (before.last_targets, after.first_inputs) if steps > 0 else (before.last_inputs, after.first_targets)
    if last is None or first is None or last.shape[2:] != first.shape[2:] or len(last) < abs(steps):
        return None
    ends = last[-abs(steps) :, :rows]
    begins = first[: len(ends), :rows]
    goes_on = np.asarray(_equal(ends[: len(begins)], begins).all(axis=0))
    return Continuation(goes_on, np.ones(rows, dtype=np.bool_), ends[0], begins[0])


def _by_label(before: Edges, after: Edges, rows: int) -> Continuation | None:
    """One target for a whole row is the row's next input if rows are windows of a stream; else a row is by itself."""
    if before.labels is None or after.tokens is None:
        return None
    labels, begins = before.labels[:rows], after.first_inputs[0, :rows]
    goes_on = _equal(labels, begins) if labels.ndim == 1 else np.zeros(rows, dtype=np.bool_)
    return Continuation(goes_on, np.ones(rows, dtype=np.bool_), labels, begins)


def _by_smoothness(before: Edges, after: Edges, rows: int) -> Continuation | None:
    if before.largest_step is None or after.largest_step is None:
        return None
    last, first = before.last_inputs[-1, :rows], after.first_inputs[0, :rows]
    if last.shape != first.shape:
        return None
    with np.errstate(all="ignore"):
        jump = np.abs(first - last).reshape(rows, -1).max(axis=1)
    usual = np.maximum(before.largest_step[:rows], after.largest_step[:rows])
    goes_on = jump <= usual
    return Continuation(goes_on, goes_on | (jump > 2.0 * usual))


def _overlap(before: Edges, after: Edges) -> bool:
    """Whether the second batch begins within the first, as chunks do that overlap by half or more."""
    x, following = before.tokens, after.tokens
    if x is None or following is None or x.shape[1:] != following.shape[1:]:
        return False
    return any(
        len(following) >= len(x) - begin and np.array_equal(x[begin:], following[: len(x) - begin])
        for begin in range(1, len(x) - max(2, len(x) // 2) + 1)
    )


@attrs.define(eq=False)
class Tally:
    """Counts, over several batches, the rows that went on."""

    rows: int = state_field(0)
    went_on: int = state_field(0)
    batches: int = state_field(0)
    broken: int = state_field(0)
    ends: Counter[object] = state_field(factory=Counter)
    begins: Counter[object] = state_field(factory=Counter)

    def add(self, found: Continuation, rows: BoolArray) -> None:
        """Take a batch in, of the rows given those that are known."""
        counted = found.known & rows[: len(found.known)]
        count, went_on = int(counted.sum()), int((counted & found.goes_on).sum())
        if not count:
            return
        self.rows += count
        self.went_on += went_on
        self.batches += 1
        self.broken += 2 * went_on < count
        if found.ends is not None and found.begins is not None:
            self.ends.update(_hashable(found.ends[counted]))
            self.begins.update(_hashable(found.begins[counted]))

    def clear(self) -> None:
        """Begin anew."""
        self.rows = self.went_on = self.batches = self.broken = 0
        self.ends.clear()
        self.begins.clear()

    @property
    def share(self) -> float:
        """The share of rows that went on."""
        return self.went_on / self.rows if self.rows else math.nan

    def cannot_be_a_stream(self, within: float = 1.0) -> bool:
        """Whether too few rows went on for a stream; ``within`` is how often the shift holds within batches."""
        return bool(self.rows) and _log_of_so_few(self.went_on, self.rows, STREAM_SHARE * within) < UNLIKELY

    def cannot_be_chance(self) -> bool:
        """Whether all rows went on, and would not have if rows had been put together at random.

        Where each row begins and ends with the same token, rows agree whatever their order, and nothing is proved.
        """
        if not self.rows or self.went_on < self.rows or not self.ends:
            return False
        total = sum(self.ends.values())
        chance = sum(count * self.begins[value] for value, count in self.ends.items()) / total**2
        # The shares are estimates from these very rows.
        chance += 3.0 * math.sqrt(chance * (1.0 - chance) / total) + 1.0 / total
        return chance < 1.0 and self.rows * math.log(chance) < IMPOSSIBLE


def _log_of_so_few(hits: int, trials: int, share: float) -> float:
    """Chernoff's bound on the log of the probability of at most so many hits, each with the probability ``share``."""
    seen = hits / trials
    if seen >= share:
        return 0.0
    divergence = (1.0 - seen) * math.log((1.0 - seen) / (1.0 - share))
    if seen:
        divergence += seen * math.log(seen / share)
    return -trials * divergence


def _equal(one: Array, other: Array) -> BoolArray:
    """Where tokens, or vectors of features, are the same."""
    if one.dtype.kind != "f" and other.dtype.kind != "f":
        same = np.equal(one, other)
    else:
        with np.errstate(all="ignore"):
            same = np.abs(one - other) <= 1e-5 * np.maximum(1.0, np.abs(other))
    return np.asarray(same if same.ndim <= 2 else same.all(axis=tuple(range(2, same.ndim))), dtype=np.bool_)


def _agreement_by_chance(x: Array, y: Array) -> float:
    """How often an input and a target would be the same if they had nothing to do with each other."""
    if not len(x) or x.dtype.kind == "f":
        return 0.0
    least = min(int(x.min()), int(y.min()))
    counts = [np.bincount(np.ravel(side).astype(np.intp) - least) for side in (x, y)]
    both = min(len(count) for count in counts)
    return float(counts[0][:both] @ counts[1][:both]) / (x.size * y.size)


def _hashable(values: Array) -> list[object]:
    return values.tolist() if values.ndim == 1 else [value.tobytes() for value in values]
