"""Prepares and limits the runs that a script enters while the doctor runs it."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_attributes import ConcludesChecks
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import TRAIN, Run


@attrs.define(eq=False)
class BatchLimit:
    """A plugin that ends a run in the epoch that reaches ``max_batches`` training batches.

    The remaining training batches of that epoch are left out. Its other phases run, because scripts divide by the
    number of their batches. A run without training batches ends after ``max_batches`` epochs.
    """

    max_batches: int
    reached: bool = state_field(False)
    _batches: int = state_field(0)
    _epochs: int = state_field(0)

    @property
    def is_full(self) -> bool:
        """Whether the run has reached its limit."""
        return self._batches >= self.max_batches

    def cut(self, items: Iterator[Any]) -> Iterator[Any]:
        """The training batches up to the limit."""
        try:
            while not self.is_full:
                try:
                    item = next(items)
                except StopIteration:
                    return
                self._batches += 1
                yield item
        finally:
            items.close()  # type: ignore[attr-defined]

    @hookimpl(trylast=True)
    def on_epoch_start(self, run: Run) -> None:
        self._epochs += 1
        if self._epochs > self.max_batches:
            self._stop(run, "epochs")

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        if self.is_full:
            self._stop(run, "batches")

    def _stop(self, run: Run, unit: str) -> None:
        self.reached = run.stop_reason is None
        run.stop(f"doctor: {self.max_batches} {unit} are enough")


@contextmanager
def attended_runs(prepare: Callable[[Run], BatchLimit], entered: Callable[[Run, FrameType], None]) -> Iterator[None]:
    """Prepare every run that is entered in this context, and cut its training batches.

    Parameters
    ----------
    prepare:
        Called with a run that was entered; returns the limit of its batches.
    entered:
        Called with a run and the frame that iterates its training batches, each time that it begins to.
    """
    enter, batches = Run.__enter__, Run.batches
    limits: dict[int, tuple[Run, BatchLimit]] = {}

    def attended_enter(run: Run) -> Any:
        inside = enter(run)
        limits[id(run)] = run, prepare(run)
        return inside

    def limited_batches(run: Run, loader: Iterable[Any], phase: str = TRAIN) -> Iterator[Any]:
        items = batches(run, loader, phase)
        if id(run) not in limits or phase != TRAIN:
            return items
        entered(run, sys._getframe(1))
        return limits[id(run)][1].cut(items)

    Run.__enter__ = attended_enter  # type: ignore[method-assign]
    Run.batches = limited_batches  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        Run.__enter__, Run.batches = enter, batches  # type: ignore[method-assign]


GIVEN = "rnncallbacks_given"
"""Name of the module that holds the values that the script gives to its runs."""
GIVEN_LOSS = f"{GIVEN}():loss"
"""The key of the given loss, in the user's notation."""


class RunsOfScript:
    """The runs of a script in the process that runs it for the doctor: guards are left out, batches are limited.

    Parameters
    ----------
    max_batches:
        Training batches after which a run is stopped.

    Attributes
    ----------
    given:
        A module whose variable ``loss`` is the loss that the script gave to a run last.
    """

    def __init__(self, max_batches: int) -> None:
        self.given = types.ModuleType(GIVEN)
        self._max_batches = max_batches
        self._open: list[Run] = []
        self._opened: list[Callable[[], None]] = []

    @property
    def open(self) -> bool:
        """Whether a run is entered and not yet left."""
        return bool(self._open)

    def call_when_opened(self, function: Callable[[], None]) -> None:
        """Call a function each time that a run is entered."""
        self._opened.append(function)

    @contextmanager
    def attend(self) -> Iterator[None]:
        """Attend to the runs that are entered in this context."""
        backward, leave = Run.backward, Run.__exit__

        def noted_backward(run: Run, loss: Any, *arguments: Any, **options: Any) -> Any:
            self.given.__dict__["loss"] = float(loss)
            return backward(run, loss, *arguments, **options)

        def noted_leave(run: Run, *error: Any) -> None:
            self._open = [one for one in self._open if one is not run]
            leave(run, *error)

        sys.modules[GIVEN] = self.given
        Run.backward, Run.__exit__ = noted_backward, noted_leave  # type: ignore[method-assign,assignment]
        try:
            with attended_runs(self._prepare, lambda run, frame: None):
                yield
        finally:
            Run.backward, Run.__exit__ = backward, leave  # type: ignore[method-assign]
            sys.modules.pop(GIVEN, None)

    def _prepare(self, run: Run) -> BatchLimit:
        self._open.append(run)
        for function in self._opened:
            function()
        for name, plugin in list(run.plugins.items()):
            if isinstance(plugin, ConcludesChecks):
                run.unregister(name)
        limit = BatchLimit(self._max_batches)
        run.register(limit)
        return limit
