"""The base of searches that compare the values of a loop at the first ticks of each of its executions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import FrameType
from typing import Any, Generic, TypeVar

import attrs

from rnncallbacks.doctor.loop_search import BoundedSearch


@attrs.define(eq=False)
class LoopExecution:
    """The record of one execution of a loop: the number of its ticks so far. A search adds fields of its own."""

    ticks: int = 0


Execution = TypeVar("Execution", bound=LoopExecution)


class TickSearch(BoundedSearch, ABC, Generic[Execution]):
    """Calls :meth:`_compare` at the first ticks of each execution of a loop that is not excluded.

    Parameters
    ----------
    given:
        The arguments of :class:`BoundedSearch`.
    execution:
        The class of the record of an execution.
    ticks:
        Number of ticks that are compared in each execution.
    """

    def __init__(self, *given: Any, execution: type[Execution], ticks: int) -> None:
        super().__init__(*given)
        self._execution = execution
        self._compared_ticks = ticks
        self._active: dict[tuple[int, FrameType], Execution] = {}

    def start(self, number: int, frame: FrameType) -> None:
        """The loop begins."""
        self._active[number, frame] = self._execution()

    def tick(self, number: int, frame: FrameType) -> None:
        """An iteration of the loop begins."""
        self._end_in_time()
        execution = self._active[number, frame]
        execution.ticks += 1
        if execution.ticks <= self._compared_ticks and not self._is_excluded(number):
            self._compare(number, frame, execution)

    def end(self, number: int, frame: FrameType) -> None:
        """The loop has ended."""
        self._active.pop((number, frame))

    @abstractmethod
    def _compare(self, number: int, frame: FrameType, execution: Execution) -> None:
        """Compare the values with those of the tick before; raise ``SearchEnded`` if the loop is a candidate."""
