"""Remedy: gradient clipping, between the backward pass and the update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.arrays.gradients import clip_by_array_norm, clip_by_global_norm, clip_by_value
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class GradientClipping:
    r"""Clips gradients in place, and logs the gradient norm before and after.

    In mode "global", the gradients are scaled so that their global norm is at most ``max_norm``:

    .. math:: g \leftarrow g \cdot \min(1, \mathrm{max\_norm} / \lVert g \rVert_2)

    with :math:`g` the gradients of all parameters as one vector. Gradients that contain NaN or infinity are not
    changed, so that the alarms see them.

    Options
    -------
    max_norm:
        Upper bound, above 0, in the unit of the gradients.
    mode:
        "global" bounds the norm of all gradients together, "array" the norm of each array, "value" the absolute value
        of each entry.

    Columns: ``gradient_norm`` and ``clipped_gradient_norm`` are the global norm before and after clipping, each a mean
    over the training batches of the epoch. ``clipped_fraction`` is the fraction of these batches whose gradients were
    clipped. Batches that were skipped are not counted.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.

    Example
    -------
    >>> GradientClipping(max_norm=1.0)
    GradientClipping(max_norm=1.0, mode='global')
    """

    max_norm: float = attrs.field(default=5.0, validator=options.number(above=0))
    mode: Literal["global", "array", "value"] = attrs.field(
        kw_only=True, default="global", validator=options.one_of("global", "array", "value")
    )
    _batches: int = state_field(0)
    _clipped: int = state_field(0)
    _norms: float = state_field(0.0)
    _clipped_norms: float = state_field(0.0)

    @hookimpl
    def on_epoch_start(self) -> None:
        self._batches = self._clipped = 0
        self._norms = self._clipped_norms = 0.0

    @hookimpl
    def on_backward(self, batch: Batch, grads: Gradients) -> None:
        if batch.skipped:
            return
        if self.mode == "global":
            before, after = clip_by_global_norm(grads.arrays, self.max_norm, norm=grads.current_norm)
        elif self.mode == "array":
            before, after = clip_by_array_norm(grads.values(), self.max_norm)
        else:
            before, after = clip_by_value(grads.arrays, self.max_norm)
        self._batches += 1
        self._clipped += after < before
        self._norms += before
        self._clipped_norms += after

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        if self._batches:
            run.log(
                gradient_norm=self._norms / self._batches,
                clipped_gradient_norm=self._clipped_norms / self._batches,
                clipped_fraction=self._clipped / self._batches,
            )
