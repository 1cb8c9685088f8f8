"""Central differences of the loss, and their agreement with the predictions of the gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs


@attrs.frozen(kw_only=True)
class DirectionalThresholds:
    """Step sizes of central differences, and tolerances of the comparison with gradients."""

    relative_loss_change: float = 1e-4
    """Change of the loss that the step of each array should cause, relative to the loss. About a thousand times the
    rounding error of float32."""
    smallest_loss: float = 1e-3
    """Losses below this (in the unit of the loss) count as this large when steps are sized. Chosen by eye."""
    relative_step: float = 0.01
    """Longest step of an array, relative to its norm or to that of usual initial weights. Chosen by eye."""
    relative_norm_floor: float = 0.03
    """Smallest gradient norm by which steps are sized, relative to the largest norm among the arrays. Arrays with a
    smaller gradient, zero included, move as if it were this large. Chosen by eye."""
    relative_step_along_params: float = 1e-3
    """Step along the parameters themselves, relative to them, that reveals weight decay. Chosen by eye."""
    float32_step_factors: tuple[float, ...] = (1.0, 0.3, 0.1, 3.0)
    """Factors of the step size in single precision, in the order in which they are tried. Chosen by eye."""
    float64_step_factors: tuple[float, ...] = (1e-3, 1.0, 0.1)
    """The same in double precision, where rounding allows smaller steps. Chosen by eye."""
    random_directions: int = 2
    """Directions of random signs that are compared, in addition to that of the gradients. Chosen by eye."""
    tolerance_along_gradient: float = 0.02
    """Largest error along the gradients, relative to the predicted change. Correct gradients without kinks reached
    0.013."""
    tolerance_along_random: float = 0.05
    """Largest root mean square error along random signs, relative to the typical change. Correct gradients without
    kinks reached 0.006."""
    second_differences: float = 3.0
    """Multiple of the second difference that kinks and curvature may add to an error. Chosen by eye."""
    conclusive_rounding_error: float = 0.1
    """Largest rounding error, relative to the change, at which a comparison is conclusive. Chosen by eye."""
    conclusive_curvature_along_gradient: float = 0.1
    """Largest second difference along the gradients, relative to the change, at which it is. Chosen by eye."""
    conclusive_curvature_along_random: float = 0.3
    """Largest root mean square second difference along random signs at which it is. Chosen by eye."""
    reproduction_tolerance: float = 0.3
    """Relative distance between the errors of two step sizes at which they are the same error. Chosen by eye."""
    closure_tolerance: float = 1e-3
    """Largest distance between the closure's loss and the reported loss, relative to the latter. Chosen by eye."""
    rounding_errors: float = 4.0
    """Rounding errors in a difference of two losses, in units of the loss times machine epsilon. Chosen by eye."""


DIRECTIONAL = DirectionalThresholds()


@attrs.frozen
class CentralDifference:
    r"""The change of the loss between two points at equal distance on both sides of the parameters.

    Attributes
    ----------
    change:
        :math:`f(\theta + v) - f(\theta - v)`, in the unit of the loss.
    predicted:
        :math:`2\, g \cdot v` for the reported gradients.
    second_difference:
        :math:`f(\theta + v) + f(\theta - v) - 2 f(\theta)`.
    penalties:
        Contributions to ``predicted`` of a penalty :math:`\tfrac12 \lVert \theta \rVert^2` on the matrices, and of one
        on all parameters.
    unit:
        The change by which errors are divided.
    """

    change: float
    predicted: float
    second_difference: float
    penalties: tuple[float, float]
    unit: float

    def error(self, ratio: float = 1.0, penalty: float = 0.0) -> float:
        """The change less the predicted one, in units; ``ratio * (predicted - penalty)`` is predicted.

        Example
        -------
        >>> CentralDifference(change=3.0, predicted=2.0, second_difference=0.0, penalties=(0.0, 0.0), unit=2.0).error()
        0.5
        """
        return (self.change - ratio * (self.predicted - penalty)) / self.unit


@attrs.frozen
class DirectionalComparison:
    """Central differences along the gradients and along random signs, all with one step size.

    ``rounding_error`` bounds the rounding error of the differences, in the smallest of their units.
    """

    along_gradient: CentralDifference
    along_random: tuple[CentralDifference, ...]
    rounding_error: float

    @property
    def differences(self) -> tuple[CentralDifference, ...]:
        """All central differences, that along the gradients first."""
        return (self.along_gradient, *self.along_random)

    @property
    def ratio(self) -> float:
        """The measured over the reported directional derivative along the gradients; NaN if the latter is 0."""
        along = self.along_gradient
        return along.change / along.predicted if along.predicted else math.nan

    @property
    def curvatures(self) -> tuple[float, float]:
        """Second differences in units: along the gradients, and the root mean square along random signs."""
        along = self.along_gradient
        return abs(along.second_difference) / along.unit, root_mean_square(
            [one.second_difference / one.unit for one in self.along_random]
        )

    @property
    def is_conclusive(self) -> bool:
        """Whether rounding, kinks and curvature are small enough for a conclusion."""
        limits = DIRECTIONAL
        along_gradient, along_random = self.curvatures
        return (
            self.rounding_error < limits.conclusive_rounding_error
            and along_gradient < limits.conclusive_curvature_along_gradient
            and along_random < limits.conclusive_curvature_along_random
        )

    @property
    def confirms_gradients(self) -> bool:
        """Whether the gradients predict all changes, closely or within a small curvature."""
        precise = self.rounding_error < DIRECTIONAL.conclusive_rounding_error
        return precise and (self.agrees(second_differences=0.0) or (self.is_conclusive and self.agrees()))

    def agrees(
        self, ratio: float = 1.0, penalties: Sequence[float] = (), second_differences: float | None = None
    ) -> bool:
        """Whether gradients less those of a penalty, times ``ratio``, predict all changes within the tolerances.

        ``penalties`` has one number for each difference, none for no penalty. ``second_differences`` is the multiple of
        the second differences that is added to the tolerances; None: the threshold.
        """
        limits = DIRECTIONAL
        multiple = limits.second_differences if second_differences is None else second_differences
        penalties = penalties or [0.0] * len(self.differences)
        errors = [one.error(ratio, penalty) for one, penalty in zip(self.differences, penalties, strict=True)]
        along_gradient, along_random = (multiple * curvature for curvature in self.curvatures)
        return (
            root_mean_square(errors[1:]) <= limits.tolerance_along_random + along_random
            and abs(errors[0]) <= limits.tolerance_along_gradient + along_gradient
        )

    def is_reproduced_by(self, other: DirectionalComparison) -> bool:
        """Whether another step size shows the same errors: those of gradients do not depend on it, rounding does."""
        limits = DIRECTIONAL
        errors, others = ([one.error() for one in comparison.differences] for comparison in (self, other))
        smaller = min(abs(errors[0]), abs(others[0]))
        if abs(errors[0] - others[0]) > limits.tolerance_along_gradient + limits.reproduction_tolerance * smaller:
            return False
        distance = root_mean_square([one - another for one, another in zip(errors[1:], others[1:], strict=True)])
        size = root_mean_square(errors[1:])
        return distance <= limits.tolerance_along_random + limits.reproduction_tolerance * size


def root_mean_square(values: Sequence[float]) -> float:
    """The root of the mean of the squares; 0 for no value.

    Example
    -------
    >>> root_mean_square([3.0, 4.0, 5.0, 0.0])
    3.5355339059327378
    """
    return math.sqrt(sum(value * value for value in values) / len(values)) if values else 0.0
