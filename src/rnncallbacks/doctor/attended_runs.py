"""The runs that a script enters while the doctor runs it: what is done to each, and after how many batches it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs

from rnncallbacks.core.hookspecs import hookimpl
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
        Called with a run and the frame that asks for its training batches, each time that it does.
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
