"""Whether batches differ by their position in the order: by losses of the epoch before, and by their targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np

from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.progress.statistics import probability_of_superiority

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class BatchDifficultyThresholds:
    """Thresholds of a difference between two groups of batches.

    Measured at 29 rises of 104 training runs with batches in an order of difficulty, and at 22 rises of 42 runs whose
    rate was too high, or became so (docs/reference/independent-benchmark.md, Signals).
    """

    higher_pair_share: float = 0.85
    """Smallest share of the pairs of two losses in which the later one is higher, if losses have risen: that of RNN602
    for the best window."""
    relative_rise: float = 0.25
    """Smallest rise of the median over the same positions of the epoch before / 90th percentile of that epoch's losses.
    Chosen by eye, as large as ``max_rise``."""
    blocks: int = 8
    """Parts of an epoch whose losses are compared with one another. Chosen by eye."""
    block_batches: int = 5
    """Fewest batches of a part. Chosen by eye."""
    block_pair_share: float = 0.95
    """Smallest share of the pairs of a later and an earlier part of an epoch in which the later loss is higher, if the
    batches are in an order of difficulty. Losses of shuffled batches fall within an epoch. Chosen by eye."""
    targets_pair_share: float = 0.85
    """Smallest share of the pairs of two batches in which a statistic of the targets is higher, or lower, in the later
    one. Batches ordered by length, value or document measured 0.80 to 1.00, shuffled ones 0.53 to 0.67."""
    target_batches: int = 6
    """Fewest batches of each group whose targets are compared. Chosen by eye."""
    targets_interval: int = 2
    """Interval, in batches, at which targets are read, up to ``close_batches``. Chosen for its cost."""
    close_batches: int = 100
    """Batches up to which windows of losses are short. Chosen by eye."""
    later_targets_interval: int = 5
    """The interval after them. A window of 50 batches then has more than ``target_batches``."""
    longest_memory: int = 10_000
    """Batches of an epoch that are kept. Chosen by eye."""
    list_length: int = 500
    """Longest list of arrays whose sizes are added up. Chosen for its cost."""


BATCH_DIFFICULTY = BatchDifficultyThresholds()

TargetStatistics: TypeAlias = tuple[float, float, float]
"""Number of targets, their mean, and the mean of their squares."""

STATISTIC_NAMES = ("number", "mean", "mean square")


def target_statistics(batch: Batch) -> TargetStatistics | None:
    """The statistics of a batch's targets; None if the batch does not show any.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> target_statistics(Batch(data=(np.zeros(3), np.array([1, 2, 3])), phase="train", index=1))
    (3.0, 2.0, 4.666666666666667)
    """
    targets: Any = batch.observed.data.get("targets", batch.data)
    if targets is batch.data:
        if isinstance(targets, Mapping):
            targets = targets.get("targets", targets.get("y"))
        else:
            targets = targets[-1] if isinstance(targets, tuple | list) and len(targets) > 1 else None
    arrays = targets if isinstance(targets, list | tuple) else [targets]
    if not arrays or len(arrays) > BATCH_DIFFICULTY.list_length:
        return None
    count = total = squares = 0.0
    for array in arrays:
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or not array.size:
            return None
        flat = array.ravel()
        if flat.dtype.kind != "f":
            flat = flat.astype(np.float64)
        count += flat.size
        total += float(flat.sum())
        squares += float(flat @ flat)
    return count, total / count, squares / count


@attrs.define(eq=False)
class BatchDifficulty:
    """The losses of a run by epoch and position, and the statistics of the targets of its first epoch.

    Example
    -------
    >>> difficulty = BatchDifficulty()
    >>> for level in (1.0, 3.0, None, 1.0, 3.0):
    ...     if level is None:
    ...         difficulty.end_epoch()
    ...     else:
    ...         difficulty.add(level, lambda: None)
    >>> difficulty.level_an_epoch_before(1)
    3.0
    """

    epochs: list[list[float]] = state_field(factory=lambda: [[]])
    batches: int = state_field(0)
    targets: list[tuple[int, TargetStatistics]] = state_field(factory=list)

    def add(self, loss: float, statistics: Callable[[], TargetStatistics | None]) -> None:
        """Add the loss of the next training batch; ``statistics`` is called for some batches of the first epoch."""
        self.batches += 1
        if len(self.epochs[-1]) < BATCH_DIFFICULTY.longest_memory:
            self.epochs[-1].append(loss)
            if len(self.epochs) == 1 and self.batches % _targets_interval(self.batches) == 0:
                self.add_targets(self.batches, statistics())

    def add_targets(self, number: int, statistics: TargetStatistics | None) -> None:
        """Add the statistics of the targets of training batch ``number``, whose loss may be added later."""
        if statistics is not None:
            self.targets.append((number, statistics))

    def next_with_targets(self, number: int) -> float:
        """The first training batch after batch ``number`` whose targets are read; infinite after the first epoch."""
        if len(self.epochs) > 1 or len(self.epochs[-1]) >= BATCH_DIFFICULTY.longest_memory:
            return math.inf
        interval = _targets_interval(number + 1)
        return number + interval - number % interval

    def add_missed(self, losses: Sequence[float]) -> None:
        """Add the losses of training batches that were left out."""
        self.batches += len(losses)
        self.epochs[-1].extend(losses[: BATCH_DIFFICULTY.longest_memory - len(self.epochs[-1])])

    def end_epoch(self) -> None:
        """Begin the next epoch."""
        if self.epochs[-1]:
            self.epochs = [*self.epochs[-3:], []]

    def level_an_epoch_before(self, count: int) -> float | None:
        """The median loss at the positions of the last ``count`` batches an epoch before, if it was as high.

        None if the losses have risen since, or if fewer than half of the positions are known.
        """
        now, before, reference = self._same_places(count)
        if 2 * len(now) < count or not before:
            return None
        level = median(before)
        higher = probability_of_superiority(now, before) >= BATCH_DIFFICULTY.higher_pair_share
        scale = float(np.quantile(np.abs(reference), 0.9))
        return None if higher and median(now) - level > BATCH_DIFFICULTY.relative_rise * scale else level

    def high_level_before(self) -> float:
        """The 90th percentile of the losses of the epoch before; 0 in the first epoch."""
        before = self.epochs[-2] if len(self.epochs) > 1 else []
        return float(np.quantile(np.abs(before), 0.9)) if before else 0.0

    def was_harder_an_epoch_before(self, best_end: int, count: int) -> bool:
        """Whether, an epoch before, the positions of the last batches had higher losses than those of the best ones.

        The best batches are the ``count`` up to batch ``best_end``.
        """
        _, here, reference = self._same_places(count)
        if not here:
            return False
        place = (best_end - 1 - (self.batches - len(self.epochs[-1]))) % len(reference)
        best = reference[max(place + 1 - count, 0) : place + 1]
        return probability_of_superiority(here, best) >= BATCH_DIFFICULTY.higher_pair_share

    @property
    def is_ordered(self) -> bool:
        """Whether losses rose from one part of the epoch before to a later one: its batches have an order."""
        losses = self.epochs[-2] if len(self.epochs) > 1 else []
        size = max(len(losses) // BATCH_DIFFICULTY.blocks, BATCH_DIFFICULTY.block_batches)
        blocks = [losses[start : start + size] for start in range(0, len(losses) - size + 1, size)]
        lowest: list[float] = []
        for block in blocks:
            if lowest and probability_of_superiority(block, lowest) >= BATCH_DIFFICULTY.block_pair_share:
                return True
            lowest = block if not lowest or median(block) < median(lowest) else lowest
        return False

    @property
    def mean_has_risen(self) -> bool:
        """Whether the mean of the last whole round of batches is above that of the round before."""
        if len(self.epochs) < 4:  # losses fall in the first epoch, whose first batches are forgotten in the second
            return False
        oldest, before, now = self.epochs[-3:]
        place = min(len(now), len(before))
        last, earlier = [*before[place:], *now[:place]], [*oldest[place:], *before[:place]]
        rise = float(np.mean(last) - np.mean(earlier)) if last and earlier else 0.0
        return rise > BATCH_DIFFICULTY.relative_rise * self.high_level_before()

    def has_risen_since(self, count: int) -> bool:
        """Whether the last ``count`` losses are higher than those at the same positions an epoch before."""
        now, before, _ = self._same_places(count)
        return 2 * len(now) >= count and bool(before) and self.level_an_epoch_before(count) is None

    def _same_places(self, count: int) -> tuple[list[float], list[float], list[float]]:
        """The last losses, those at the same positions an epoch before, and all losses of that epoch."""
        if len(self.epochs) < 2 or len(self.epochs[-1]) >= BATCH_DIFFICULTY.longest_memory:
            return [], [], []
        now, before = self.epochs[-1], self.epochs[-2]
        places = range(max(len(now) - count, 0), min(len(now), len(before)))
        if len(places) < len(now[-count:]):
            return [], [], []
        return [now[place] for place in places], [before[place] for place in places], before

    def difference_of_targets(self, best_end: int, count: int) -> str | None:
        """The difference between the targets of the last ``count`` batches and of those up to ``best_end``; None if
        none.

        Known in the first epoch only: later, the losses of the epoch before show more.
        """
        now = [found for batch, found in self.targets if batch > self.batches - count]
        best = [found for batch, found in self.targets if best_end - count < batch <= best_end]
        if min(len(now), len(best)) < BATCH_DIFFICULTY.target_batches:
            return None
        shares = [_pair_share(now, best, place) for place in range(len(STATISTIC_NAMES))]
        place = int(np.argmax([abs(share - 0.5) for share in shares]))
        if max(shares[place], 1.0 - shares[place]) < BATCH_DIFFICULTY.targets_pair_share:
            return None
        level, before = (median(found[place] for found in group) for group in (now, best))
        return f"the {STATISTIC_NAMES[place]} of their targets is {level:.4g}, and was {before:.4g}"


def _targets_interval(number: int) -> int:
    """The interval, in batches, at which targets are read around batch ``number`` of the first epoch."""
    limits = BATCH_DIFFICULTY
    return limits.targets_interval if number <= limits.close_batches else limits.later_targets_interval


def _pair_share(now: Sequence[TargetStatistics], best: Sequence[TargetStatistics], place: int) -> float:
    return probability_of_superiority([found[place] for found in now], [found[place] for found in best])
