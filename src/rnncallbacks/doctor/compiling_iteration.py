"""A first iteration that compiles functions, as with Numba, and that each replay would compile again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.watched_script import FrozenIteration

Recorded: TypeAlias = tuple[IterationRecord, FrozenIteration | None]


@attrs.frozen(kw_only=True)
class CompilingThresholds:
    """Durations of a first iteration that compiles. Chosen by eye."""

    seconds: float = 0.5
    """Its shortest duration, in seconds."""
    ratio: float = 5.0
    """Smallest ratio of its duration to that of the second iteration."""


COMPILING = CompilingThresholds()


def quick_to_repeat(
    recorded: deque[Any], release: Callable[[FrozenIteration], None],
) -> list[Recorded]:  # fmt: skip
    """The recorded iterations without a first one that compiles, which also loses its frozen copy.

    Parameters
    ----------
    recorded:
        Two or more iterations, with their frozen copies.
    release:
        Ends a frozen copy.

    Example
    -------
    >>> recorded = deque((IterationRecord(number, 1, seconds=2.0 / number**2), None) for number in (1, 2, 3))
    >>> [record.number for record, _ in quick_to_repeat(recorded, print)]
    [1, 2, 3]
    >>> recorded[0][0].seconds = 20.0
    >>> [record.number for record, _ in quick_to_repeat(recorded, print)]
    [2, 3]
    """
    (first, frozen), (second, _), *later = recorded
    if not later or first.seconds < max(COMPILING.seconds, COMPILING.ratio * second.seconds):
        return list(recorded)
    if frozen is not None:
        release(frozen)
        recorded[0] = first, None
    return list(recorded)[1:]
