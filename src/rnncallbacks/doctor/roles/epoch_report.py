"""The loss that a script reports once an epoch: a number of its own or in a list, the sum of the batch losses over a
count."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.loss_names import LOSS_NAMES
from rnncallbacks.doctor.value_walk import Key

LARGEST_COUNT = 10**7
"""Largest count by which a sum may have been divided."""
LARGEST_UNNAMED_COUNT = 10**4
"""The same where the list is not named as one of losses: a larger count would be a whole number by chance."""
REPORT_TOLERANCE = 1e-9
"""Largest relative difference between a reported loss and the sum over a count: the rounding of a sum in float64."""


OTHER_PHASE = re.compile(r"val|test|dev|acc", re.IGNORECASE)
"""Names of what is no loss of the training batches."""


class EpochReport:
    """Finds the list to which the epoch's loss is added, or the number to which it is assigned, and reads it.

    Example
    -------
    >>> report, key = EpochReport(), ("end", "__main__", "train_losses")
    >>> after = IterationRecord(4, 2, start={key: np.array([0.75])})
    >>> report.read([1.0, 2.0, 3.0], after), report.key
    (0.75, ('end', '__main__', 'train_losses'))
    """

    def __init__(self) -> None:
        self.key: Key | None = None
        self._rejected: set[Key] = set()
        self._epochs = 0

    def read(self, losses: Sequence[float], after: IterationRecord) -> float | None:
        """The reported loss of an epoch with these batch losses, from the first iteration after it; None if there is
        none.

        A list qualifies if it has one entry for each epoch, and every entry is the epoch's sum over a whole number. A
        number that is named as a loss qualifies if it always is this sum over 2 or more: the sum itself is no report.
        """
        self._epochs += 1
        total = float(np.sum(losses))
        found: dict[Key, float] = {}
        for key, value in after.start.items():
            if key in self._rejected or OTHER_PHASE.search(key[2]):
                continue
            named = LOSS_NAMES.search(key[2]) is not None
            largest = LARGEST_COUNT if named else LARGEST_UNNAMED_COUNT
            if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "f":
                reported, least = (float(value[-1]), 0.5) if len(value) == self._epochs else (0.0, 0.5)
            elif named and isinstance(value, float):
                reported, least = value, 1.5
            else:
                continue
            if not _is_share(reported, total, least, largest):
                self._rejected.add(key)
            elif len(losses) > 1:
                found[key] = reported
        if self.key not in found:
            if self.key is not None or not found:
                return None
            self.key = min(found, key=lambda key: (isinstance(after.start[key], float), len(key[2]), key))
        return found[self.key]


def _is_share(reported: float, total: float, least: float, largest: float) -> bool:
    """Whether a reported number is a sum over a whole number between two bounds."""
    if not np.isfinite([reported, total]).all() or reported == 0.0 or total == 0.0:
        return False
    count = total / reported
    return least < count < largest and abs(count - round(count)) <= REPORT_TOLERANCE * count
