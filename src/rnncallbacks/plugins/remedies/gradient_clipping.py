"""Remedy: bound the gradient between backward pass and update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.gradients import clip_by_array_norm, clip_by_global_norm, clip_by_value

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run
    from rnncallbacks.gradients import Gradients

CLIP = {"global": clip_by_global_norm, "array": clip_by_array_norm, "value": clip_by_value}


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class GradientClipping:
    """Clips gradients in place, and logs by epoch how often and how much.

    Options
    -------
    max_norm:
        The bound, above 0.
    mode:
        "global" bounds the norm of all gradients together, "array" the norm of each array by itself, "value" the
        absolute value of each entry.

    Columns: ``gradient_norm`` and ``clipped_gradient_norm`` are the global norm before and after, each a mean over the
    epoch's training batches; ``clipped_fraction`` is the share of these batches in which clipping engaged. Gradients
    that hold NaN or infinity are left for the alarms to see.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.

    Example
    -------
    >>> GradientClipping(max_norm=1.0)
    GradientClipping(max_norm=1.0, mode='global')
    """

    max_norm: float = attrs.field(default=5.0, validator=options.number(above=0))
    mode: Literal["global", "array", "value"] = attrs.field(
        default="global", validator=options.one_of("global", "array", "value")
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
        # One norm of everything at once needs no names; one of each array does.
        arrays = grads.values() if self.mode == "array" else grads.arrays
        before, after = CLIP[self.mode](arrays, self.max_norm)
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
