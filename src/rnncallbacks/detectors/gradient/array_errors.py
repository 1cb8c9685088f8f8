"""The errors of the gradients of single arrays, each compared with the changes of the loss along its own directions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import numpy as np

from rnncallbacks.detectors.gradient.central_difference import CentralDifference, root_mean_square
from rnncallbacks.detectors.gradient.directional import DirectionalDerivatives


@attrs.frozen(kw_only=True)
class ArrayErrorThresholds:
    """Thresholds of wrong gradients of single arrays."""

    groups_of_arrays: int = 8
    """Arrays, or groups of arrays in larger networks, that are compared separately. Chosen by eye."""
    random_directions_per_array: int = 3
    """Directions of random signs along which each of them is compared. Chosen by eye."""
    relative_error_of_array: float = 0.1
    """Norm of an array's error over that of its gradient, above which the array counts as wrong. Chosen by eye."""
    predicted_of_unused: float = 10.0
    """Predicted change of the loss, in rounding errors, above which an array without a measured change is unused.
    Chosen by eye."""
    rounding_errors_of_array: float = 3.0
    """Error of an array, in rounding errors, below which it is none. Chosen by eye."""


ARRAY_ERROR = ArrayErrorThresholds()


@attrs.frozen
class ArrayError:
    """The gradient of one array or of a group that is right.

    Attributes
    ----------
    names:
        The names of the arrays.
    norm:
        The norm of the reported gradient.
    ratio:
        The true over the reported directional derivative along it.
    error:
        The norm of the true gradient less the reported one.
    has_no_effect:
        Whether the loss does not depend on the array, although its gradient is not zero.
    """

    names: tuple[str, ...]
    norm: float
    ratio: float
    error: float
    has_no_effect: bool

    @property
    def true_norm(self) -> float:
        """An estimate of the norm of the true gradient."""
        return math.sqrt(max(self.norm**2 * (2.0 * self.ratio - 1.0) + self.error**2, 0.0))

    @property
    def relative_error(self) -> float:
        """The norm of the error over the larger one of the two norms of the gradient."""
        return self.error / max(self.norm, self.true_norm, 1e-300)


def array_errors(derivatives: DirectionalDerivatives, step_factor: float, scale: float) -> list[ArrayError]:
    """The errors of all arrays, one by one; in larger networks, correct arrays stay in groups.

    ``step_factor`` and ``scale`` size the steps, as in :meth:`DirectionalDerivatives.compare
    <rnncallbacks.detectors.gradient.directional.DirectionalDerivatives.compare>`.

    Example
    -------
    >>> weights = {"w": np.array([1.0, 2.0]), "b": np.array([3.0])}
    >>> loss = lambda: float((weights["w"] ** 2).sum() + weights["b"][0] ** 2)
    >>> gradients = {"w": 2.0 * weights["w"], "b": weights["b"]}
    >>> errors = array_errors(DirectionalDerivatives(loss, weights, gradients, loss()), 1.0, 1.0)
    >>> [(error.names, round(error.relative_error, 2)) for error in errors]
    [(('w',), 0.0), (('b',), 0.5)]
    """
    groups = [
        _array_error(derivatives, names, step_factor, scale)
        for names in _groups(list(derivatives.params), ARRAY_ERROR.groups_of_arrays)
    ]
    return [one for group in groups for one in _split(group, derivatives, step_factor, scale)]


def _split(
    group: ArrayError, derivatives: DirectionalDerivatives, step_factor: float, scale: float
) -> list[ArrayError]:
    """The arrays of a group one by one if the group is wrong, else the group."""
    if len(group.names) == 1 or group.relative_error <= ARRAY_ERROR.relative_error_of_array:
        return [group]
    return [_array_error(derivatives, (name,), step_factor, scale) for name in group.names]


def _array_error(
    derivatives: DirectionalDerivatives, names: tuple[str, ...], step_factor: float, scale: float
) -> ArrayError:
    norm = math.sqrt(sum(derivatives.norms[name] ** 2 for name in names))
    none = CentralDifference(0.0, 0.0, 0.0, (0.0, 0.0), 1.0)
    along = derivatives.along_gradient(names, step_factor, scale) if norm else none
    seeds = range(ARRAY_ERROR.random_directions_per_array)
    random = [derivatives.along_random_signs(names, step_factor, scale, seed) for seed in seeds]
    ratio = along.change / along.predicted if along.predicted else 1.0
    # The mean square of the errors along random signs is the squared norm of the gradient's error.
    size = max(norm, derivatives.norm_floor)
    error = root_mean_square([one.error() for one in random]) * scale * size
    rounding = derivatives.rounding_error * scale * size / min(one.unit for one in random)
    if error < ARRAY_ERROR.rounding_errors_of_array * rounding:
        error = 0.0
    unmoved = all(one.change == 0.0 == one.second_difference for one in (along, *random))
    visible = abs(along.predicted) > ARRAY_ERROR.predicted_of_unused * derivatives.rounding_error
    has_no_effect = unmoved and visible
    return ArrayError(names, norm, ratio, max(error, abs(ratio - 1.0) * norm), has_no_effect)


def _groups(names: list[str], count: int) -> Iterator[tuple[str, ...]]:
    for places in np.array_split(np.arange(len(names)), min(count, len(names))):
        yield tuple(names[place] for place in places)
