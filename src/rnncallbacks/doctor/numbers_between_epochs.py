"""Numbers of a script between two executions of its training loop: results of functions, and arguments of output."""

from __future__ import annotations

import os
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.instrument import Site
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
    >>> between.take()
    {('return', 'nll', 'return'): [0.5, 0.25], ('shown', 'a.py:9', 'total / n'): [0.375]}
    """

    is_open: bool = False
    _numbers: dict[Key, list[float]] = attrs.field(factory=dict)

    def add_result(self, site: Site, value: Any) -> None:
        """Add what a function returns: a number, or the numbers of a tuple."""
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

    def take(self) -> dict[Key, list[float]]:
        """The numbers since the loop ended; the loop begins again."""
        numbers, self._numbers, self.is_open = self._numbers, {}, False
        return numbers

    def _add(self, key: Key, value: Any) -> None:
        is_array = isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind == "f"
        if not is_array and (isinstance(value, bool) or not isinstance(value, int | float | np.number)):
            return
        numbers = self._numbers.setdefault(key, [])
        if len(numbers) < MOST_NUMBERS:
            numbers.append(float(value.reshape(-1)[0]) if is_array else float(value))
