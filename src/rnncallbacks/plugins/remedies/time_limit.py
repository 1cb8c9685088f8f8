"""Remedy: ends a run in order when its time is up, or at a signal of the system."""

from __future__ import annotations

import signal
import threading
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import OptionError, closest

if TYPE_CHECKING:
    from rnncallbacks.core.run import Run

NEVER_CAUGHT = ("SIGKILL", "SIGSTOP")
"""Signals that no process can handle."""


def _signals(owner: object, field: attrs.Attribute[Any], names: tuple[str, ...]) -> None:
    options.words(owner, field, names)
    known = [one.name for one in signal.Signals if one.name not in NEVER_CAUGHT]
    for name in names:
        if name not in known:
            raise OptionError(
                f"TimeLimit: signals: expected the names of signals that a process can handle, got {name!r}",
                hint=closest(name, known) or f"on this system they are {', '.join(known)}",
            )


@attrs.define(eq=False)
class TimeLimit:
    """Stops the run cleanly, after the batch in which its time is up or a signal arrives.

    ``on_fit_end`` is called for all plugins, and ``checkpoint`` saves the run: a later run resumes after the last
    batch. Batch systems and cloud machines send a signal some seconds or minutes before they kill a process;
    one batch has to take less than that. A second signal has the effect that it has without this plugin. Signals
    are handled in the main thread only.

    Options
    -------
    minutes:
        Minutes from the start of the run, above 0, in a run that resumes from its own start. None: no limit.
    signals:
        Names of signals that stop the run. ``"SIGINT"`` makes Ctrl-C end the run in order too.

    Raises
    ------
    OptionError
        The system does not have a signal.

    Example
    -------
    >>> TimeLimit(minutes=55)
    TimeLimit(minutes=55, signals=('SIGTERM',))
    """

    minutes: float | None = attrs.field(default=None, validator=attrs.validators.optional(options.number(above=0)))
    signals: tuple[str, ...] = attrs.field(
        kw_only=True, default=("SIGTERM",), converter=options.as_tuple, validator=_signals
    )
    _began: float = state_field(0.0, saved=False)
    _arrived: str | None = state_field(None, saved=False)

    @hookimpl(tryfirst=True)
    def on_fit_start(self) -> None:
        self._began = monotonic()
        if threading.current_thread() is threading.main_thread():
            for name in self.signals:
                WAITING.add(signal.Signals[name].value, self)

    # First, so that other plugins know at the end of the batch or epoch that the run ends.
    @hookimpl(tryfirst=True)
    def on_batch_end(self, run: Run) -> None:
        self._stop_if_due(run)

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        self._stop_if_due(run)

    @hookimpl(tryfirst=True)
    def on_fit_end(self) -> None:
        WAITING.remove(self)

    def _stop_if_due(self, run: Run) -> None:
        if self._arrived is not None:
            run.stop(f"time_limit: {self._arrived}")
        elif self.minutes is not None and monotonic() - self._began >= 60 * self.minutes:
            run.stop(f"time_limit: {self.minutes:g} minutes")

    def arrived(self, name: str) -> None:
        """Stop the run at the end of the batch, because of this signal."""
        self._arrived = name


class WaitingLimits:
    """The objects that wait for a signal, and the handlers that there were before the first of them."""

    def __init__(self) -> None:
        self._limits: dict[int, list[TimeLimit]] = {}
        self._before: dict[int, Any] = {}

    def add(self, number: int, limit: TimeLimit) -> None:
        """Handle a signal for this object, too."""
        if number not in self._limits:
            self._limits[number] = []
            self._before[number] = signal.signal(number, self._on_signal)
        if limit not in self._limits[number]:
            self._limits[number].append(limit)

    def remove(self, limit: TimeLimit) -> None:
        """Handle no signal for this object; the handler of before returns with the last object."""
        for number, limits in list(self._limits.items()):
            if limit in limits:
                limits.remove(limit)
            if not limits:
                self._restore(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        for limit in self._limits.get(number, []):
            limit.arrived(signal.Signals(number).name)
        self._restore(number)

    def _restore(self, number: int) -> None:
        self._limits.pop(number, None)
        handler = self._before.pop(number, None)
        if signal.getsignal(number) == self._on_signal:  # otherwise the script has set another one
            # None: a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


WAITING = WaitingLimits()
"""Those of this process: a signal has one handler."""
