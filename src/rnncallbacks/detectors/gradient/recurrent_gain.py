r"""RNN401 of a network that is not recognized, by the spectral radius and the gradients of its recurrent weights.

On the way back through T time steps, a gradient is multiplied T times by the recurrent matrix and by the slopes of the
units. The gradient of the recurrent weights is a sum over these products, and that of the output weights has none of
them. Their ratio is therefore large where gradients explode.

Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays import Array, named_arrays, parameters_of
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.clipped import find_clipping
from rnncallbacks.detectors.gradient.spectral_radius import SPECTRAL_RADIUS, large_radius, recurrent_radius


@attrs.frozen(kw_only=True)
class RecurrentGainThresholds:
    """Thresholds of the spectral radius, and of the ratio of two gradients' norms."""

    batches: int = 20
    """First training batches whose gradients are compared. Chosen by eye."""
    ratio: float = 4.0
    """Norm of the recurrent weights' gradient, divided by that of the output weights', from which gradients explode if
    the spectral radius is doubtful too. In six scripts with six seeds each, it was at most 3.9 in healthy runs. With
    weights four times too large it was up to 46, and 10 or more in two of three scripts."""


RECURRENT_GAIN = RecurrentGainThresholds()


@attrs.define(eq=False)
class RecurrentGain:
    """Compares the gradients of recurrent and output weights in the first batches, if the radius is doubtful.

    The output weights are the last matrix with the length of the state and another shape than the recurrent one.

    Example
    -------
    >>> gain, w = RecurrentGain(), {"Wh": 4.0 * np.eye(4), "Wy": np.ones((3, 4))}
    >>> gradients = {"Wh": 9.013 * np.arange(16.0).reshape(4, 4), "Wy": 0.5 * np.arange(12.0).reshape(3, 4)}
    >>> print(gain.add(gradients, w, max_norm=5.0).finding.message)
    recurrent weights of spectral radius 4 multiply gradients through time: the gradient of 'Wh' is 28.2 times as long
    as that of the output weights 'Wy' (at most 4 is usual)
    """

    over: bool = state_field(False)
    _radius: float = state_field(0.0)
    _recurrent: str = state_field("")  # the gradients' names
    _output: str = state_field("")
    _batches: int = state_field(0)

    def add(self, gradients: Mapping[str, Array], params: object, max_norm: float) -> CheckResult:
        """Add one of the first batches before its update. The result of the first one has the doubt."""
        if self.over:
            return NOTHING_COMPARED
        self._batches += 1
        result = self._begin(gradients, params) if self._batches == 1 else CheckResult()
        self.over = self.over or self._batches >= RECURRENT_GAIN.batches
        if not self._output or not self._recurrent:
            return result
        recurrent, output = (float(np.linalg.norm(gradients[name])) for name in (self._recurrent, self._output))
        if not output or not math.isfinite(recurrent) or recurrent < RECURRENT_GAIN.ratio * output:
            return result
        clipping = find_clipping(gradients)
        self.over = True
        if clipping.norm is not None or clipping.value is not None or clipping.arrays:
            return result
        return attrs.evolve(result, finding=self._finding(recurrent / output, max_norm))

    @property
    def doubt(self) -> str:
        """Why gradients of usual length prove nothing; empty if they do."""
        if not self._recurrent:
            return ""
        return large_radius(self._recurrent, self._radius)

    def _begin(self, gradients: Mapping[str, Array], params: object) -> CheckResult:
        pairs = {} if params is None else parameters_of(gradients, named_arrays(params))
        name, self._radius = recurrent_radius(pairs)
        if self._radius < SPECTRAL_RADIUS.doubtful:
            self.over = True
            return CheckResult()
        self._recurrent = name
        shape = gradients[name].shape
        others = [one for one, array in gradients.items() if array.ndim == 2 and array.shape != shape]
        others = [one for one in others if min(shape[-2:]) in gradients[one].shape]
        matrices = [one for one in others if min(gradients[one].shape) > 1]
        self._output = (matrices or others or [""])[-1]
        return CheckResult(withdrawn={"RNN401": self.doubt})

    def _finding(self, ratio: float, max_norm: float) -> Finding:
        return Finding(
            "RNN401",
            f"recurrent weights of spectral radius {self._radius:.3g} multiply gradients through time: the gradient of "
            f"{self._recurrent!r} is {ratio:.3g} times as long as that of the output weights {self._output!r} (at most "
            f"{RECURRENT_GAIN.ratio:g} is usual)",
            {"ratio": ratio, "expected": 1.0, "spectral_radius": self._radius, "batches": self._batches},
            cause="gradients explode through time",
            remedy=f"divide the initial recurrent weights by {self._radius:.2g}, for a spectral radius of 1, and clip "
            f"gradients at the norm {max_norm:g} (gradient_clipping)",
        )
