"""Finds the shift between inputs and targets: the number of time steps by which targets are ahead of inputs."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import Sequences


@attrs.frozen(kw_only=True)
class TargetShiftThresholds:
    """Thresholds of a shift between inputs and targets. All numbers were chosen by eye."""

    longest_shift: int = 16
    """Longest shift that is tried, in time steps, ahead and behind."""

    enough_pairs: int = 2000
    """Largest number of pairs of an input and a target that are compared at a shift."""

    fewest_pairs: int = 8
    """Fewest pairs for a shift."""

    next_token_agreement: float = 0.5
    """Smallest agreement beyond chance, (agreement - chance) / (1 - chance), that makes the shift 1. Next-token
    prediction is usual, so less is required than of other shifts: noisy labels, and padding without a mask, lower
    it."""

    other_agreement: float = 0.75
    """The same for other shifts."""

    largest_chance: float = 0.95
    """Chance agreement above which no shift can be separated from chance."""

    float_tolerance: float = 1e-5
    """Largest difference between equal vectors of features, relative to the larger of 1 and the entry."""
    most_tokens: int = 1 << 20
    """Range of whole numbers, from which they are times or amounts, which do not agree by chance. Chosen by eye."""


TARGET_SHIFT = TargetShiftThresholds()


@attrs.define(eq=False)
class TargetShift:
    r"""Estimates the shift between inputs x and targets y from some batches.

    A shift of k steps is :math:`y_t = x_{t+k}`: 1 for next-token prediction, -k for an echo of k steps ago. For each k,
    counts the pairs that agree, and compares their share with the chance agreement
    :math:`\sum_v p_x(v) p_y(v)`, where p are the token frequencies.

    Example
    -------
    >>> tokens = np.random.default_rng(0).integers(0, 5, (21, 4))
    >>> shift = TargetShift()
    >>> shift.add(tokens[:-1], tokens[1:])
    >>> shift.steps, shift.agreement
    (1, 1.0)
    """

    agreeing: dict[int, int] = state_field(factory=dict)
    pairs: dict[int, int] = state_field(factory=dict)
    _chance_sum: float = state_field(0.0)
    _positions: int = state_field(0)

    def add(self, inputs: Array, targets: Array, mask: Array | None = None) -> None:
        """Count the pairs of a batch, time first; positions outside the mask do not count."""
        if inputs.shape != targets.shape:
            return
        counted = np.ones(inputs.shape[:2], dtype=np.bool_) if mask is None else mask
        positions = int(counted.sum())
        self._chance_sum += chance_agreement(inputs[counted], targets[counted]) * positions
        self._positions += positions
        longest = min(TARGET_SHIFT.longest_shift, len(inputs) - 1)
        for steps in (*range(1, longest + 1), *range(-longest, 0)):
            if steps == 2 and self.steps == 1:
                return  # shift 1 is usual, and one comparison finds it
            self._count(inputs, targets, counted, steps)

    def _count(self, inputs: Array, targets: Array, counted: Array, steps: int) -> None:
        if steps > 0:
            same, both = equal_tokens(inputs[steps:], targets[:-steps]), counted[steps:] & counted[:-steps]
        else:
            same, both = equal_tokens(inputs[:steps], targets[-steps:]), counted[:steps] & counted[-steps:]
        self.agreeing[steps] = self.agreeing.get(steps, 0) + int(np.count_nonzero(same & both))
        self.pairs[steps] = self.pairs.get(steps, 0) + int(np.count_nonzero(both))

    def learn(self, sequences: Sequences, mask: Array | None) -> None:
        """Count the pairs of a batch whose axis of time is known, unless enough were counted.

        The mask has the layout of the batch's inputs.
        """
        inputs, targets = sequences.time_first()
        if targets is not None and not self.settled:
            self.add(inputs, targets, mask if mask is None or sequences.time_axis == 0 else mask.T)

    @property
    def steps(self) -> int | None:
        """The shift in time steps, None while no shift is accepted."""
        if self._beyond_chance(1) >= TARGET_SHIFT.next_token_agreement:
            return 1
        best = max(self.agreeing, key=self._beyond_chance, default=None)
        if best is None or self._beyond_chance(best) < TARGET_SHIFT.other_agreement:
            return None
        return best

    @property
    def settled(self) -> bool:
        """Whether enough pairs were compared."""
        steps = self.steps
        return steps is not None and self.pairs[steps] >= TARGET_SHIFT.enough_pairs

    @property
    def agreement(self) -> float:
        """The share of pairs that agree at the shift, between 0 and 1; 0 if there is no shift."""
        return 0.0 if self.steps is None else self.agreeing[self.steps] / self.pairs[self.steps]

    def _beyond_chance(self, steps: int) -> float:
        pairs = self.pairs.get(steps, 0)
        if pairs < TARGET_SHIFT.fewest_pairs:
            return 0.0
        chance = self._chance_sum / self._positions
        if chance > TARGET_SHIFT.largest_chance:
            return 0.0
        return (self.agreeing[steps] / pairs - chance) / (1.0 - chance)


def equal_tokens(tokens: Array, others: Array) -> BoolArray:
    """Mask of equal tokens, or vectors of features, of at most two axes.

    Example
    -------
    >>> equal_tokens(np.zeros((2, 1, 3)), np.array([[[0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])).tolist()
    [[True], [False]]
    """
    if tokens.dtype.kind != "f" and others.dtype.kind != "f":
        same = np.equal(tokens, others)
    else:
        with np.errstate(all="ignore"):
            same = np.abs(tokens - others) <= TARGET_SHIFT.float_tolerance * np.maximum(1.0, np.abs(others))
    return np.asarray(same if same.ndim <= 2 else same.all(axis=tuple(range(2, same.ndim))), dtype=np.bool_)


def chance_agreement(tokens: Array, others: Array) -> float:
    """The probability that two independently drawn tokens agree; 0 for floats.

    Example
    -------
    >>> chance_agreement(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    0.5
    """
    if not len(tokens) or tokens.dtype.kind == "f":
        return 0.0
    smallest = min(int(tokens.min()), int(others.min()))
    if max(int(tokens.max()), int(others.max())) - smallest >= TARGET_SHIFT.most_tokens:
        return 0.0
    counts = [np.bincount(np.ravel(side).astype(np.intp) - smallest) for side in (tokens, others)]
    common = min(len(count) for count in counts)
    return float(counts[0][:common] @ counts[1][:common]) / (tokens.size * others.size)
