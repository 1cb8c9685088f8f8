"""Messages from the doctor to the process that runs a script: how to continue, and what is replayed."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.value_walk import Key


class WatchEnded(BaseException):
    """Ends the script after enough batches. Not an Exception, so that scripts do not catch it."""


@attrs.frozen
class Command:
    """The next step of the watched process.

    Attributes
    ----------
    stop:
        End the script.
    channel:
        Number of the channel of a frozen copy of this iteration; None: no copy.
    wanted:
        Keys of the values to record; None: all.
    """

    stop: bool = False
    channel: int | None = None
    wanted: frozenset[Key] | None = None


@attrs.frozen
class ReplayRequest:
    """Values to write into the script's arrays at the start of the iteration, and the values to return.

    Attributes
    ----------
    pushes:
        New values by key.
    numbers_only:
        Return only numbers and ``arrays``.
    arrays:
        Keys of arrays that are always returned.
    only:
        If given, return only the values of these keys, as soon as all are known.
    seconds:
        Time limit of the replay.
    rolled:
        Keys of one array or list of data, with its final value. It is rolled as soon as it has this value: at the start
        of the iteration or of a loop in it.
    """

    pushes: dict[Key, Any] = attrs.field(factory=dict)
    numbers_only: bool = True
    arrays: frozenset[Key] = frozenset()
    only: frozenset[Key] | None = None
    seconds: float = 20.0
    rolled: dict[Key, Any] = attrs.field(factory=dict)

    def returns(self, key: Key, value: Any) -> bool:
        """Whether the value of a key is returned."""
        if self.only is not None:
            return key in self.only
        if not self.numbers_only or key in self.arrays:
            return True
        return isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.size == 1)


@attrs.frozen
class RerunRequest:
    """An iteration of a script that is to be run again from its start, and what to change in it.

    Attributes
    ----------
    iteration:
        Its number, from 1.
    request:
        The values to write and to return.
    """

    iteration: int
    request: ReplayRequest
