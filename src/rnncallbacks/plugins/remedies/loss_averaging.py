"""Remedy: an epoch's loss is divided by what was really counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import RunStateError

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

COUNTED = {"batch": "batches", "sequence": "sequences", "token": "tokens"}


@attrs.define(eq=False, kw_only=True)
class LossAveraging:
    r"""Averages the batch losses of each phase over the epoch.

    .. math:: \mathrm{loss} = \sum_b w_b\, \ell_b \Big/ \sum_b w_b

    with :math:`\ell_b` the loss of batch b.

    Options
    -------
    weight:
        "batch" weights each batch by 1: the mean over the batches that were really seen. "sequence" and "token" weight
        by the counts given as ``run.backward(loss, grads, sequences=..., tokens=...)``; where a batch's loss is a mean
        over its tokens, "token" does not depend on how the data were batched.

    Columns, for each phase: ``<phase>_loss``, and its denominator as ``<phase>_batches``, ``<phase>_sequences`` or
    ``<phase>_tokens``. Batches that were skipped or gave no loss are not counted.

    Example
    -------
    >>> LossAveraging(weight="token")
    LossAveraging(weight='token')
    """

    weight: Literal["batch", "sequence", "token"] = attrs.field(
        default="batch", validator=options.one_of("batch", "sequence", "token")
    )
    _losses: dict[str, float] = state_field(factory=dict)
    _weights: dict[str, int] = state_field(factory=dict)

    @hookimpl
    def on_epoch_start(self) -> None:
        self._losses.clear()
        self._weights.clear()

    @hookimpl
    def on_batch_end(self, batch: Batch) -> None:
        if batch.loss is None or batch.skipped:
            return
        weight = 1
        if self.weight != "batch":
            counted = batch.sequences if self.weight == "sequence" else batch.tokens
            if counted is None:
                name = COUNTED[self.weight]
                raise RunStateError(
                    f"loss_averaging by {self.weight}: the batch's loss came without its number of {name}",
                    hint=f"pass {name}= to run.backward and run.record, or average with weight='batch'",
                )
            weight = counted
        phase = batch.phase
        self._losses[phase] = self._losses.get(phase, 0.0) + weight * batch.loss
        self._weights[phase] = self._weights.get(phase, 0) + weight

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        for phase, weight in self._weights.items():
            summary.losses[phase] = self._losses[phase] / weight
            run.log(**{f"{phase}_{COUNTED[self.weight]}": weight})
