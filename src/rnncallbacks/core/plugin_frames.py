"""Finds the plugin in whose hook a stack frame runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import FrameType

import pluggy


def running_plugin(implementations: Iterable[pluggy.HookImpl], frame: FrameType | None) -> str | None:
    """The name of the innermost plugin whose hook is on the call stack of the frame, or None."""
    implementations = list(implementations)
    while frame is not None:
        for one in implementations:
            if runs_in(one.function, frame):
                return one.plugin_name
        frame = frame.f_back
    return None


def runs_in(function: Callable[..., object], frame: FrameType) -> bool:
    """Whether the frame is a call of ``function``, on the same instance if it is a method."""
    inner = inspect.unwrap(function)
    if frame.f_code is getattr(inner, "__code__", None):
        owner = getattr(function, "__self__", None)
        return owner is None or frame.f_locals.get(frame.f_code.co_varnames[0]) is owner
    return frame.f_code is getattr(function, "__code__", None)
