"""Rolls data in a replay: an array or a list is moved by one entry as soon as it is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import numpy as np

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.iteration_record import same_bits
from rnncallbacks.doctor.loop_items import replace_item, value_of
from rnncallbacks.doctor.value_walk import Key, copy_of
from rnncallbacks.doctor.watch_messages import ReplayRequest


def roll_requested(
    request: ReplayRequest | None, frame: FrameType | None, loop_frame: FrameType | None, modules: OwnModules
) -> None:
    """Roll the data of a request, once, if a frame or one of its callers reaches it and it is complete.

    Parameters
    ----------
    request:
        The request that is replayed, if any.
    frame, loop_frame:
        The running frame and that of the training loop.
    modules:
        The instrumented modules.
    """
    if request is None or not request.rolled:
        return
    for key, complete in request.rolled.items():
        for names in _scopes_of(key, frame, loop_frame, modules):
            value = value_of(key[2], names)
            if value is None or not same_bits(copy_of(value), complete):
                continue
            whole = isinstance(value, np.ndarray | list)
            if (not whole or roll(value)) and (replace_item(key[2], names, value) or whole):
                request.rolled.clear()
                return


def _scopes_of(
    key: Key, frame: FrameType | None, loop_frame: FrameType | None, modules: OwnModules
) -> Iterator[Mapping[str, Any]]:
    kind, scope, _ = key
    if kind == "end":
        known = loop_frame.f_globals if loop_frame is not None else {}
        yield from ({**known, **names} for name, names in modules.scopes(loop_frame) if name == scope)
        return
    while frame is not None and frame is not loop_frame:
        if frame.f_code.co_qualname.replace("<locals>.", "") == scope:
            yield frame.f_locals
        frame = frame.f_back


def roll(value: Any) -> bool:
    """Move the entries of an array or a list by one, in place, along the first axis where that changes it.

    Rows stay as they are, so that tokens and one-hot vectors remain valid. Returns whether the value has changed.

    Example
    -------
    >>> tokens, one_hot = [5, 6, 7], np.eye(3)[[0, 0, 2]]
    >>> roll(tokens), roll(one_hot), roll(np.ones(3))
    (True, True, False)
    >>> tokens, one_hot.argmax(1)
    ([7, 5, 6], array([2, 0, 0]))
    """
    if isinstance(value, list):
        moved = [*value[-1:], *value[:-1]]
        if same_bits(copy_of(value), copy_of(moved)):
            return False
        value[:] = moved
        return True
    if not isinstance(value, np.ndarray) or not value.flags.writeable:
        return False
    for axis in range(value.ndim):
        rolled = np.roll(value, 1, axis)
        if not np.array_equal(rolled, value):
            value[...] = rolled
            return True
    return False
