"""Measures the updates that follow gradients: their size, and whether they follow the scale of the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.metrics import update_gradient_cosine, update_ratio


@attrs.frozen(kw_only=True)
class UpdateTrackerThresholds:
    """Schedule of the measured updates, and thresholds of updates that were scaled down."""

    first_update_batches: int = 5
    """Training batches within which the first update is expected: a warm-up may begin at a learning rate of 0. Chosen
    by eye."""
    unscaled_share: float = 0.99
    """Size per gradient norm relative to that of the first update, below which an update was scaled down. The distance
    to 1 is for rounding."""


UPDATE_TRACKER = UpdateTrackerThresholds()


@attrs.frozen(kw_only=True)
class MeasuredUpdate:
    r"""One update :math:`\Delta\theta` of the parameters :math:`\theta` by a gradient :math:`g`.

    Attributes
    ----------
    gradient_norm:
        :math:`\lVert g \rVert`.
    relative_size:
        :math:`\lVert \Delta\theta \rVert / \lVert \theta \rVert`.
    clipped_size:
        Norm of the update with a gradient clipped at the bound / norm of the initial parameters.
    cosine:
        :math:`\cos(-\Delta\theta, g)`.
    scaled_down:
        Whether the update is shorter for its gradient and learning rate than the first one, as if the script clipped.
    is_first:
        Whether it is the first update that was measured.
    """

    gradient_norm: float
    relative_size: float
    clipped_size: float
    cosine: float
    scaled_down: bool = False
    is_first: bool = False


@attrs.define(eq=False)
class UpdateTracker:
    """Copies parameters and gradients before an update, and measures the update.

    Attributes
    ----------
    first_cosine:
        The cosine between the first update, sign reversed, and its gradient; NaN if no update was measured. 1 for
        gradient descent and momentum, below 0.9 for Adam, Adagrad and RMSprop, negative if the script adds gradients.
    params_moved:
        Whether the last measured batch changed the parameters.

    Example
    -------
    >>> import numpy as np
    >>> tracker, params = UpdateTracker(), {"w": np.array([3.0, 4.0])}
    >>> tracker.keep(params, {"w": np.array([6.0, 8.0])})
    >>> params["w"] -= 0.1 * np.array([6.0, 8.0])
    >>> update = tracker.measure(params, learning_rate=0.1, max_norm=5.0)
    >>> round(update.relative_size, 3), round(update.clipped_size, 3), round(update.cosine, 3)
    (0.2, 0.1, 1.0)
    """

    first_cosine: float = state_field(math.nan)
    params_moved: bool = state_field(False)
    _initial_norm: float = state_field(math.nan)  # of the parameters
    _size_per_norm: float = state_field(0.0)  # of the first update, per gradient norm and learning rate
    _params: Mapping[str, Array] = state_field(factory=dict)
    _gradients: Mapping[str, Array] = state_field(factory=dict)

    @property
    def awaits_measurement(self) -> bool:
        """Whether there are copies that the next parameters are compared with."""
        return bool(self._gradients)

    def awaits_first(self, batch_number: int) -> bool:
        """Whether the first update has not been measured and may follow this training batch, counted from 1."""
        return math.isnan(self.first_cosine) and batch_number <= UPDATE_TRACKER.first_update_batches

    def keep(self, params: object, gradients: Mapping[str, Array]) -> None:
        """Copy the parameters and the gradients that the update will be made from."""
        self._params = {name: array.copy() for name, array in named_arrays(params).items()}
        self._gradients = {name: array.copy() for name, array in gradients.items()}

    def measure(self, params: object, *, learning_rate: float | None, max_norm: float) -> MeasuredUpdate | None:
        """Compare the parameters with the copies; None if there are none, or if nothing changed.

        ``learning_rate`` is None if the run does not know it. ``max_norm`` is the bound of ``clipped_size``.
        """
        if not self._gradients:
            return None
        after, before, gradients = named_arrays(params), self._params, self._gradients
        self._params, self._gradients = {}, {}
        cosine = update_gradient_cosine(before, after, gradients)
        self.params_moved = not math.isnan(cosine)
        if not self.params_moved:
            return None
        is_first = math.isnan(self.first_cosine)
        norm, size = global_norm(list(gradients.values())), global_norm(list(before.values()))
        relative_size = update_ratio(before, after)
        size_per_norm = relative_size * size / norm / (1.0 if learning_rate is None else learning_rate or math.inf)
        if is_first:
            self.first_cosine, self._initial_norm = cosine, size
            # With a known learning rate, that of plain gradient descent is 1: the first gradient may be clipped itself.
            self._size_per_norm = size_per_norm if learning_rate is None else max(size_per_norm, 1.0)
        unit = norm * self._initial_norm
        return MeasuredUpdate(
            gradient_norm=norm,
            relative_size=relative_size,
            clipped_size=relative_size * size * max_norm / unit if unit else math.inf,
            cosine=cosine,
            scaled_down=not size_per_norm > UPDATE_TRACKER.unscaled_share * self._size_per_norm,
            is_first=is_first,
        )
