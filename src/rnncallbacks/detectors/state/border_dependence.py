"""RNN201: whether rows continue the row before, by the dependence of a step on the step before it.

Bits or noise do not show by their values whether a row continues. In contiguous batches, a step depends on the step
before it across the border of two batches as much as within a row.
"""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.progress.dependence import chi_squared_test, token_classes
from rnncallbacks.detectors.state.row_ends import RowEnds


@attrs.frozen(kw_only=True)
class BorderDependenceThresholds:
    """Thresholds of two chi-squared tests on as many pairs of steps, as standard normal quantiles. Chosen by eye."""

    first_rows: int = 100
    """Rows for the first test; each later one needs twice as many, as the chance of one to fail adds up."""
    most_rows: int = 4000
    """Rows after which no more are added."""
    dependent_z: float = 8.0
    """Smallest dependence within rows, at their beginning and at their end. Running sums of bits have 20."""
    independent_z: float = 3.0
    """Largest dependence across the border of rows that do not continue."""
    share_across: float = 0.5
    """Smallest dependence across the border of contiguous rows, relative to that within them."""
    columns: int = 3
    """Features of inputs, and outputs of targets, that are used of a step, at most."""
    classes: int = 16
    """Classes of a step, at most."""


BORDER_DEPENDENCE = BorderDependenceThresholds()


@attrs.define(eq=False)
class BorderDependence:
    """Compares the dependence of a step on the one before it within rows and across the border of two batches.

    ``verdict`` is "broken" if it is there within rows alone, "contiguous" if it is in both, and else empty.

    Example
    -------
    >>> from rnncallbacks.detectors.sequences import Sequences
    >>> from rnncallbacks.detectors.state.row_ends import row_ends
    >>> def verdict(contiguous):
    ...     bits = np.random.default_rng(0).integers(0, 2, (100, 50)) * 2.0 - 1.0
    ...     parity = bits.reshape(1 if contiguous else 10, -1, 50).cumprod(axis=1).reshape(100, 50)
    ...     batches = [Sequences(bits[n : n + 10], parity[n : n + 10], 0, None) for n in range(0, 100, 10)]
    ...     border, ends = BorderDependence(), [row_ends(batch) for batch in batches]
    ...     for before, after in zip(ends, ends[1:]):
    ...         border.add(before, after)
    ...     return border.verdict
    >>> verdict(contiguous=False), verdict(contiguous=True)
    ('broken', 'contiguous')
    """

    rows: int = state_field(0)
    verdict: str = state_field("")
    within: float = state_field(0.0)
    across: float = state_field(0.0)
    _pairs: list[list[Array]] = state_field(factory=list)  # of each batch, the steps of three pairs
    _next_test: int = state_field(BORDER_DEPENDENCE.first_rows)

    def add(self, before: RowEnds, after: RowEnds) -> bool:
        """Add the rows of two batches, the second of which may continue the first; whether they prove to be broken."""
        limits = BORDER_DEPENDENCE
        if self.verdict or self.rows >= limits.most_rows or before.ends_early.any():
            return False
        rows = min(before.batch_size, after.batch_size)
        ends, begins = _steps(before.last_inputs, before.last_targets), _steps(after.first_inputs, after.first_targets)
        if ends is None or begins is None or ends.shape[2] != begins.shape[2] or min(len(ends), len(begins)) < 2:
            return False
        steps = [begins[0], begins[1], ends[-2], ends[-1], ends[-1], begins[0]]
        self._pairs.append([one[:rows] for one in steps])
        self.rows += rows
        if self.rows >= self._next_test:
            self._next_test = 2 * self.rows
            self.verdict = self._test()
            self._pairs = [] if self.verdict else self._pairs
        return self.verdict == "broken"

    def finding(self, where: str, rms: float) -> Finding:
        """RNN201 for the verdict "broken"; ``where`` is the batch that the latest state entered, ``rms`` its size."""
        message = (
            "the final state of the batch before entered unrelated sequences: within rows, a step depends on the one "
            f"before (z = {self.within:.3g} in a chi-squared test), but not across the borders of {self.rows} rows "
            f"(z = {self.across:.2g}); the state that entered {where} has RMS {rms:.3g}, 0 expected"
        )
        evidence = {
            "state_rms": rms,
            "expected_rms": 0.0,
            "within_z": self.within,
            "across_z": self.across,
            "rows": self.rows,
        }
        return Finding("RNN201", message, evidence)

    def _test(self) -> str:
        limits = BORDER_DEPENDENCE
        steps = _classes([np.concatenate(one) for one in zip(*self._pairs, strict=True)])
        pairs = zip(steps[::2], steps[1::2], strict=True)
        first, last, self.across = (chi_squared_test(x, y, np.zeros(len(x), dtype=np.intp))[0] for x, y in pairs)
        self.within = min(first, last)
        if self.within < limits.dependent_z:
            return ""
        if self.across < limits.independent_z:
            return "broken"
        return "contiguous" if self.across >= limits.share_across * self.within else ""


def _steps(inputs: Array, targets: Array | None) -> Array | None:
    """Inputs and targets of some steps, of shape (steps, rows, columns)."""
    if targets is None or targets.shape[:2] != inputs.shape[:2]:
        return None
    both = [one.reshape(*one.shape[:2], -1)[..., : BORDER_DEPENDENCE.columns] for one in (inputs, targets)]
    found: Array = np.concatenate(both, axis=2, dtype=np.float64)
    return found


def _classes(steps: list[Array]) -> list[Array]:
    """One class number for each row of (rows, columns): of tokens and bits as they are, of other numbers by halves."""
    every = np.concatenate(steps)
    code = np.zeros(len(every), dtype=np.intp)
    for column in every.T:
        values, places = np.unique(column, return_inverse=True)
        few = len(values) <= BORDER_DEPENDENCE.classes
        code = code * BORDER_DEPENDENCE.classes + (places if few else column > np.median(column))
    numbers = token_classes(np.unique(code, return_inverse=True)[1], most=BORDER_DEPENDENCE.classes)
    return list(numbers.reshape(len(steps), -1))
