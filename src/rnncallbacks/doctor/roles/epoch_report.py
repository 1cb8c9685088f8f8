"""The loss that a script reports once an epoch: a number of its own, in a list or in its output, the sum of the batch
losses over a count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.loss_names import LOSS_NAMES
from rnncallbacks.doctor.value_walk import Key

Phase: TypeAlias = Literal["train", "val"]
"""The batches of a report: those of the training loop, or those of a validation."""


@attrs.frozen(kw_only=True)
class EpochReportThresholds:
    """Limits within which a number is the sum of an epoch's batch losses over a count. Counts are chosen by eye."""

    largest_count: int = 10**7
    """Largest count by which the sum may have been divided."""
    largest_unnamed_count: int = 10**4
    """The same of a number without the name of a loss: a larger count would be a whole number by chance."""
    relative_tolerance: float = 1e-9
    """Largest relative difference between the count and a whole number: the rounding of a sum in float64."""
    columns: int = 8
    """Largest number of columns in a list with one row for each epoch."""


EPOCH_REPORT = EpochReportThresholds()

VALIDATION_NAMES = re.compile(r"val|test|dev|held|eval|check", re.IGNORECASE)
"""Names of losses of a validation."""
OTHER_NAMES = re.compile(r"acc|hit|correct|best|\blr\b|rate", re.IGNORECASE)
"""Names of numbers that are no loss of an epoch."""


class EpochReport:
    """Finds the list to which the epoch's loss is added, or the number that is assigned or shown, and reads it.

    Parameters
    ----------
    phase:
        "train" for the losses of the training loop; "val" for those of a validation, whose number has another name.

    Example
    -------
    >>> report, key = EpochReport(), ("end", "__main__", "train_losses")
    >>> after = IterationRecord(4, 2, start={key: np.array([0.75])})
    >>> report.read([1.0, 2.0, 3.0], after), report.key
    (0.75, ('end', '__main__', 'train_losses'))
    """

    def __init__(self, phase: Phase = "train") -> None:
        self.key: Key | None = None
        self._validates = phase == "val"
        self._column: tuple[Key, int] | None = None
        self._rejected: set[tuple[Key, int]] = set()
        self._epochs = 0

    def read(self, losses: Sequence[float], after: IterationRecord) -> float | None:
        """The reported loss of an epoch with these batch losses, from the first iteration after it; None if there is
        none.

        A list qualifies if it has one entry for each epoch, and every entry is the epoch's sum over a whole number. A
        number that is named as a loss, or shown, qualifies if it always is this sum over 2 or more: the sum itself is
        no report.
        """
        self._epochs += 1
        total = float(np.sum(losses))
        found: dict[tuple[Key, int], float] = {}
        for key, column, reported, largest in self._numbers(after):
            if (key, column) in self._rejected:
                continue
            least = 0.5 if column >= 0 else 1.5
            if reported is None or not self._is_share(reported, total, least, largest):
                self._rejected.add((key, column))
            elif len(losses) > 1 or self._validates:
                found[key, column] = reported
        if self._column not in found:
            if self._column is not None or not found:
                return None
            self._column = min(found, key=_preference)
            self.key = self._column[0]
        return found[self._column]

    def _numbers(self, after: IterationRecord) -> Iterator[tuple[Key, int, float | None, float]]:
        """Key, column, number and largest count of each value that may be a report. The column of a number alone is -1.

        The number is None if a list has not one entry for each epoch.
        """
        for key, value in after.start.items():
            named = LOSS_NAMES.search(key[2]) is not None
            largest = EPOCH_REPORT.largest_count if named else EPOCH_REPORT.largest_unnamed_count
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 1:
                if self._may_be_named(key):
                    yield key, 0, float(value[-1]) if len(value) == self._epochs else None, largest
            elif isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 2:
                if len(value) == self._epochs and value.shape[1] <= EPOCH_REPORT.columns:
                    for column, number in enumerate(value[-1]):
                        yield key, column, float(number), EPOCH_REPORT.largest_unnamed_count
            elif key[2].endswith("[-1]"):
                continue  # the list has it
            elif isinstance(value, float) and (named or self._validates) and self._may_be_named(key):
                yield key, -1, value, largest
        for key, numbers in after.between.items():
            if key[0] == "shown" and len(numbers) == 1 and self._may_be_named(key):
                yield key, -1, numbers[0], EPOCH_REPORT.largest_unnamed_count

    def _may_be_named(self, key: Key) -> bool:
        """Whether a report of this phase may have the name."""
        if OTHER_NAMES.search(key[2]) is not None:
            return False
        return (VALIDATION_NAMES.search(key[2]) is not None) == self._validates

    def _is_share(self, reported: float, total: float, least: float, largest: float) -> bool:
        """Whether a reported number is a sum over a whole number between two bounds."""
        if not np.isfinite([reported, total]).all() or reported == 0.0 or total == 0.0:
            return False
        count = total / reported
        tolerance = EPOCH_REPORT.relative_tolerance * count
        return least < count < largest and abs(count - round(count)) <= tolerance


def _preference(found: tuple[Key, int]) -> tuple[bool, bool, int, Key]:
    """Lists before numbers, numbers with a name before shown ones, short expressions before long ones."""
    key, column = found
    return column < 0, key[0] != "end", len(key[2]), key
