"""The loss that a script reports once an epoch: a number in a list, the sum of the batch losses over a count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.loss_choice import LOSS_NAMES
from rnncallbacks.doctor.value_walk import Key

LARGEST_COUNT = 10**7
"""Largest count by which a sum may have been divided."""
REPORT_TOLERANCE = 1e-9
"""Largest relative difference between a reported loss and the sum over a count: the rounding of a sum in float64."""


class EpochReport:
    """Finds the list to which the epoch's loss is added, and reads it.

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

        A list qualifies if it has one entry for each epoch, and every entry is the epoch's sum over a whole number.
        """
        self._epochs += 1
        total = float(np.sum(losses))
        found = None
        for key, value in after.start.items():
            if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind != "f":
                continue
            if (
                key in self._rejected
                or not LOSS_NAMES.search(key[2])
                or "val" in key[2].lower()
                or "test" in key[2].lower()
            ):
                continue
            if len(value) != self._epochs or not _is_share(float(value[-1]), total):
                self._rejected.add(key)
            elif self.key in (None, key) and len(losses) > 1:
                self.key, found = key, float(value[-1])
        return found


def _is_share(reported: float, total: float) -> bool:
    """Whether a reported number is a sum over a whole number."""
    if not np.isfinite([reported, total]).all() or reported == 0.0 or total == 0.0:
        return False
    count = total / reported
    return 0.5 < count < LARGEST_COUNT and abs(count - round(count)) <= REPORT_TOLERANCE * count
