"""Results of functions, output and changes of arrays between two executions of the training loop."""

from __future__ import annotations

import os
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.value_walk import Key

MOST_NUMBERS = 10_000
"""Largest number of results that are kept of one function: batches of a validation. Chosen by eye."""


@attrs.define(eq=False)
class NumbersBetweenEpochs:
    """Records numbers from the end of the training loop to its next begin.

    Attributes
    ----------
    is_open:
        Whether the loop has ended and not begun again.

    Example
    -------
    >>> between = NumbersBetweenEpochs(is_open=True)
    >>> nll = Site("function", "a.py", 3, "def nll(p, y):", "nll")
    >>> for loss in (0.5, 0.25):
    ...     between.add_result(nll, loss)
    >>> between.add_shown(Site("output", "/home/a.py", 9, "print(total / n)", "<module>"), "total / n", 0.375)
    >>> record = IterationRecord(9, 2)
    >>> between.move_to(record)
    >>> record.between
    {('return', 'nll', 'return'): [0.5, 0.25], ('shown', 'a.py:9', 'total / n'): [0.375]}
    """

    is_open: bool = False
    _numbers: dict[Key, list[float]] = attrs.field(factory=dict)
    _additions: dict[int, int] = attrs.field(factory=dict)

    def add_result(self, site: Site, value: Any) -> None:
        """Add the result of a function: a number, or the numbers of a tuple."""
        if not self.is_open:
            return
        if isinstance(value, tuple):
            for place, one in enumerate(value):
                self._add(("return", site.scope, f"return[{place}]"), one)
        else:
            self._add(("return", site.scope, "return"), value)

    def add_shown(self, site: Site, text: str, value: Any) -> None:
        """Add an expression that the script prints or logs."""
        if self.is_open:
            self._add(("shown", f"{os.path.basename(site.file)}:{site.line}", text), value)

    def add_change(self, site: Site, base: Any, index: Any) -> None:
        """Count a statement that adds to an array, or to the item of a container."""
        if not self.is_open or not site.additive:
            return
        array = base[index] if isinstance(base, list | dict) and index is not None else base
        if isinstance(array, np.ndarray):
            self._additions[id(array)] = self._additions.get(id(array), 0) + 1

    def move_to(self, record: IterationRecord) -> None:
        """Move all to the record of the loop's first iteration; the loop begins again."""
        record.between, record.additions_between = self._numbers, self._additions
        self._numbers, self._additions, self.is_open = {}, {}, False

    def _add(self, key: Key, value: Any) -> None:
        is_array = isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind == "f"
        if not is_array and (isinstance(value, bool) or not isinstance(value, int | float | np.number)):
            return
        numbers = self._numbers.setdefault(key, [])
        if len(numbers) < MOST_NUMBERS:
            numbers.append(float(value.reshape(-1)[0]) if is_array else float(value))
