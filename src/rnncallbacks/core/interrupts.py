"""Ctrl-C at the end of a run: it interrupts the plugin that is being called, and never the round of calls."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class InterruptGate:
    """While it is open, SIGINT raises KeyboardInterrupt within :meth:`call` only; elsewhere it is kept for later.

    It changes nothing outside the main thread, and nothing if the script has a handler of SIGINT of its own.

    Attributes
    ----------
    kept:
        Whether an interrupt came outside :meth:`call`. The caller raises it when its work is done.

    Example
    -------
    >>> with InterruptGate() as gate:
    ...     gate.call(print, "a plugin's last words")
    ...     signal.raise_signal(signal.SIGINT)
    a plugin's last words
    >>> gate.kept
    True
    """

    def __init__(self) -> None:
        self.kept = False
        self._handles = False

    def __enter__(self) -> Self:
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._handles = in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._handles:
            signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def call(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Call the function; an interrupt is raised in it."""
        function(*arguments, **options)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        interrupted = frame
        while interrupted is not None:
            if interrupted.f_code is InterruptGate.call.__code__:
                signal.default_int_handler(number, frame)
            interrupted = interrupted.f_back
        self.kept = True
