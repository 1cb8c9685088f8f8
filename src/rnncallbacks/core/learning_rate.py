"""The learning rate: a base times named scales."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from rnncallbacks.errors import OptionError, RunStateError


class LearningRate:
    """A base learning rate times named scales, one for each schedule.

    Raises
    ------
    OptionError
        The base is not a finite number above 0.

    Example
    -------
    >>> rate = LearningRate(0.5)
    >>> rate.set_scale("warmup", 0.25)
    >>> rate.set_scale("decay", 0.5)
    >>> rate.value
    0.0625
    """

    def __init__(self, base: float | None) -> None:
        if base is not None and not (_is_finite(base) and base > 0):
            raise OptionError(
                f"Run: expected a finite learning_rate above 0, got {base!r}", hint="start with 1e-3 or 1e-4"
            )
        self.base = None if base is None else float(base)
        self.scales: dict[str, float] = {}

    @property
    def value(self) -> float:
        """The base times every scale.

        Raises
        ------
        RunStateError
            There is no base learning rate.
        """
        if self.base is None:
            raise RunStateError("the run has no learning rate", hint="pass learning_rate= to Run")
        rate = self.base
        for scale in self.scales.values():
            rate *= scale
        return rate

    def set_scale(self, name: str, scale: float) -> None:
        """Set one scale.

        Raises
        ------
        OptionError
            The scale is negative or not finite.
        RunStateError
            There is no base learning rate.
        """
        if self.base is None:
            raise RunStateError(
                f"{name!r} scales the learning rate, but the run has none",
                hint="pass learning_rate= to Run and update with run.learning_rate",
            )
        if not (_is_finite(scale) and scale >= 0):
            raise OptionError(f"{name!r}: expected a finite learning-rate scale >= 0, got {scale!r}")
        self.scales[name] = float(scale)

    def restore(self, scales: Mapping[str, float]) -> None:
        """Replace all scales by these."""
        self.scales = dict(scales)


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
