r"""RNN401 of a network that is not recognized, by the spectral radius and the gradients of its recurrent weights.

On the way back through T time steps, a gradient is multiplied T times by the recurrent matrix and by the slopes of the
units. The gradient of the recurrent weights is a sum over these products, and that of the output weights has none of
them. Their ratio is therefore large where gradients explode. Output weights W multiply the gradient once on its way to
the state, by at most their largest singular value: the ratio is compared with it.

A long gradient does no harm where the script clips it or the optimizer normalizes it. The update shows both.

Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.containers import Array, named_arrays, parameters_of
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.clipped import find_clipping
from rnncallbacks.detectors.gradient.spectral_radius import SPECTRAL_RADIUS, large_radius, recurrent_radius
from rnncallbacks.detectors.gradient.update_tracker import MeasuredUpdate
from rnncallbacks.detectors.update.metrics import is_proportional


@attrs.frozen(kw_only=True)
class RecurrentGainThresholds:
    """Thresholds of the spectral radius, and of the ratio of two gradients' norms."""

    batches: int = 20
    """First training batches whose gradients are compared. Chosen by eye."""
    ratio: float = 4.0
    """Norm of the recurrent weights' gradient, divided by that of the output weights', from which gradients explode if
    the spectral radius is doubtful too. It is multiplied by the largest singular value of the output weights, if that
    is above 1. In six scripts with six seeds each, the ratio was at most 3.9 in healthy runs. With weights four times
    too large it was up to 46, and 10 or more in two of three scripts."""
    proofs: int = 2
    """Batches with this ratio. Chosen by eye."""
    other_length: float = 1.3
    """Norm of a gradient over that of the first one, or its inverse, from which the lengths of their updates show
    whether one was clipped. Chosen by eye."""
    same_rate: float = 1.25
    """Length of an update per norm of its gradient over that of the first update, or its inverse, up to which neither
    was clipped. Above 1 because of momentum. Chosen by eye."""


RECURRENT_GAIN = RecurrentGainThresholds()


@attrs.define(eq=False)
class RecurrentGain:
    """Compares the gradients of recurrent and output weights in the first batches, if the radius is doubtful.

    Call :meth:`add` with each batch before its update, and :meth:`add_update` with each update that is measured. The
    finding needs a gradient above ``max_norm`` that reached the parameters at its full length.

    The output weights are the last array with the length of the state on one axis and another shape than the recurrent
    one. Where that may be a bias, the longest gradient of all these arrays stands for theirs.

    Example
    -------
    >>> import attrs
    >>> gain, w = RecurrentGain(), {"Wh": 4.0 * np.eye(4), "Wx": np.ones((4, 2)), "Wy": 0.1 * np.ones((3, 4))}
    >>> gradients = {"Wh": 9.013 * np.arange(16.0).reshape(4, 4), "Wx": np.ones((4, 2)), "Wy": np.ones((3, 4))}
    >>> update = MeasuredUpdate(gradient_norm=2.1, relative_size=0.1, clipped_size=0.2, cosine=1.0, is_first=True)
    >>> later = attrs.evolve(update, gradient_norm=317.4, is_first=False)
    >>> for measured in (update, later):
    ...     result = gain.add(gradients, w, max_norm=5.0)
    ...     finding = gain.add_update(measured, max_norm=5.0)
    >>> print(finding.message)
    recurrent weights of spectral radius 4 multiply gradients through time: the gradient of 'Wh' is 91.6 times as long
    as that of the output weights 'Wy' (at most 4 is usual)
    """

    over: bool = state_field(False)
    _radius: float = state_field(0.0)
    _recurrent: str = state_field("")  # the gradients' names
    _outputs: tuple[str, ...] = state_field(())
    _usual: float = state_field(math.inf)  # the largest usual ratio
    _batches: int = state_field(0)
    _proofs: int = state_field(0)
    _pending: tuple[float, str] | None = state_field(None)  # the ratio of the batch before its update, and to which
    _first: tuple[float, float] | None = state_field(None)  # norm of the first gradient, length of its update per norm

    def add(self, gradients: Mapping[str, Array], params: object, max_norm: float) -> CheckResult:
        """Add one of the first batches before its update. The result of the first one has the doubt."""
        self._pending = None
        if self.over:
            return NOTHING_COMPARED
        self._batches += 1
        result = self._begin(gradients, params) if self._batches == 1 else CheckResult()
        self.over = self.over or self._batches > RECURRENT_GAIN.batches
        if self.over or not self._outputs:
            return result
        recurrent = float(np.linalg.norm(gradients[self._recurrent]))
        norm, output = max((float(np.linalg.norm(gradients[name])), name) for name in self._outputs)
        if not norm or not math.isfinite(recurrent) or recurrent < self._usual * norm:
            return result
        self._proofs += 1
        clipping = find_clipping(gradients)
        if clipping.norm is not None or clipping.value is not None or clipping.arrays:
            self.over = True
        elif self._proofs >= RECURRENT_GAIN.proofs and global_norm(list(gradients.values())) > max_norm:
            self._pending = (recurrent / norm, output)
        return result

    def add_update(self, update: MeasuredUpdate, max_norm: float) -> Finding | None:
        """Add the measured update of the batch just added; RNN401 if a gradient that exploded reached the parameters.

        Updates that are not proportional to their gradients end the comparison: a long gradient does them no harm.
        """
        limits, pending, self._pending = RECURRENT_GAIN, self._pending, None
        proportional = is_proportional(update.cosine)
        if update.is_first:
            self._first = (update.gradient_norm, update.clipped_size)
            self.over = self.over or not proportional
        if self.over or pending is None or self._first is None or not proportional or not all(self._first):
            return None
        first_norm, first_length = self._first
        other_length = not _is_within(update.gradient_norm / first_norm, limits.other_length)
        if not other_length or not _is_within(update.clipped_size / first_length, limits.same_rate):
            return None
        self.over = True
        return self._finding(*pending, max_norm)

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
        others = [one for one, array in gradients.items() if array.ndim == 2 and array.shape != shape and one in pairs]
        others = [one for one in others if min(shape[-2:]) in gradients[one].shape]
        matrices = [one for one in others if min(gradients[one].shape) > 1]
        likely = matrices if len(matrices) > 1 else others
        self._outputs = tuple(likely[-1:] if len(likely) == 2 or likely is matrices else likely)
        self._usual = RECURRENT_GAIN.ratio * max([1.0, *(_largest_singular_value(pairs[one]) for one in self._outputs)])
        return CheckResult(withdrawn={"RNN401": self.doubt})

    def _finding(self, ratio: float, output: str, max_norm: float) -> Finding:
        return Finding(
            "RNN401",
            f"recurrent weights of spectral radius {self._radius:.3g} multiply gradients through time: the gradient of "
            f"{self._recurrent!r} is {ratio:.3g} times as long as that of the output weights {output!r} (at most "
            f"{self._usual:.3g} is usual)",
            {"ratio": ratio, "expected": 1.0, "spectral_radius": self._radius, "batches": self._batches},
            cause="gradients explode through time",
            remedy=f"divide the initial recurrent weights by {self._radius:.2g}, for a spectral radius of 1, and clip "
            f"gradients at the norm {max_norm:g} (gradient_clipping)",
        )


def _is_within(ratio: float, factor: float) -> bool:
    return 1.0 / factor <= ratio <= factor


def _largest_singular_value(matrix: Array) -> float:
    matrix = matrix.astype(np.float64)
    gram = matrix.T @ matrix if matrix.shape[1] < matrix.shape[0] else matrix @ matrix.T
    return math.sqrt(max(0.0, float(np.linalg.eigvalsh(gram)[-1]))) if np.isfinite(gram).all() else math.inf
