"""Selects the checkpoints of a run that are kept: the last ones, and the best ones by a column."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs


@attrs.frozen
class KeptCheckpoint:
    """A checkpoint that was saved.

    Attributes
    ----------
    name:
        Its file name.
    value:
        The monitored value of its epoch; None for one that was saved within an epoch, or has no such value.
    """

    name: str
    value: float | None


def kept(
    saved: Sequence[KeptCheckpoint], *, last: int | None, best: int, lower_is_better: bool
) -> list[KeptCheckpoint]:
    """The kept checkpoints, in the order in which they were saved.

    Parameters
    ----------
    saved:
        In the order in which they were saved.
    last:
        Number of last checkpoints to keep; None: all.
    best:
        Number of checkpoints with the best finite values to keep. Of equal values, the earlier is better.
    lower_is_better:
        Whether lower values are better.

    Example
    -------
    >>> saved = [KeptCheckpoint("a", 0.5), KeptCheckpoint("b", 0.25), KeptCheckpoint("c", 0.75)]
    >>> [one.name for one in kept(saved, last=1, best=1, lower_is_better=True)]
    ['b', 'c']
    """
    if last is None:
        return list(saved)
    sign = 1 if lower_is_better else -1
    ranked = sorted(
        (one for one in saved if one.value is not None and math.isfinite(one.value)),
        key=lambda one: sign * (one.value or 0.0),
    )
    stay = {one.name for one in [*saved[len(saved) - last :], *ranked[:best]]}
    return [one for one in saved if one.name in stay]
