"""What the doctor tells the process that runs a script: how to go on, and what to ask a frozen copy."""

from __future__ import annotations

from typing import Any

import attrs

from rnncallbacks.doctor.value_walk import Key


@attrs.frozen
class Command:
    """What the watched process does next.

    Attributes
    ----------
    stop:
        End the script.
    channel:
        The number of the channel on which a frozen copy of this iteration answers; None for no copy.
    wanted:
        The keys of the values to record; None for all.
    """

    stop: bool = False
    channel: int | None = None
    wanted: frozenset[Key] | None = None


@attrs.frozen
class Question:
    """Values to write into the script's arrays at the start of the iteration, and what to answer with.

    Attributes
    ----------
    pushes:
        New values by key.
    numbers_only:
        Answer with numbers and with ``arrays``, not with everything.
    arrays:
        Keys of arrays that are answered in any case.
    only:
        If given, answer with the values of these keys and with nothing else, as soon as all are known.
    seconds:
        Time after which the replay is ended.
    """

    pushes: dict[Key, Any] = attrs.field(factory=dict)
    numbers_only: bool = True
    arrays: frozenset[Key] = frozenset()
    only: frozenset[Key] | None = None
    seconds: float = 20.0
