"""Remedy: the mean loss of an epoch, divided by the number of batches, sequences or tokens that were counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import RunStateError

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

logger = logging.getLogger("rnncallbacks")
COUNTED = {"batch": "batches", "sequence": "sequences", "token": "tokens"}
NOTED_DIFFERENCE = 0.01
"""Relative difference of two means of an epoch that the end of a run notes. Chosen by eye."""


@attrs.define(eq=False, kw_only=True)
class LossAveraging:
    r"""Computes the mean loss of each phase over an epoch.

    .. math:: \mathrm{loss} = \sum_b w_b\, \ell_b \Big/ \sum_b w_b

    with :math:`\ell_b` the loss of batch :math:`b`, and :math:`w_b` its weight. Batches that were skipped or had no
    loss are not counted.

    With weight "batch", a warning is logged at the end of the run if the batches of the last epoch had different
    numbers of tokens or sequences, and the mean weighted by them differs from the mean over batches by 1% or more.

    Options
    -------
    weight:
        Weight of a batch: "batch" for 1, "sequence" or "token" for the number of sequences or tokens that
        ``run.backward(loss, grads, sequences=..., tokens=...)`` was given. If the loss of a batch is a mean over its
        tokens, the mean by "token" does not depend on how the data were batched.

    Columns, for each phase: ``<phase>_loss``, and its denominator :math:`\sum_b w_b` as ``<phase>_batches``,
    ``<phase>_sequences`` or ``<phase>_tokens``.

    Raises
    ------
    RunStateError
        A batch has a loss but no number of sequences or tokens, and ``weight`` needs it.

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
    _skipped: dict[str, int] = state_field(factory=dict)
    _by_size: dict[str, dict[str, list[float]]] = state_field(factory=dict)

    @hookimpl
    def on_epoch_start(self) -> None:
        self._losses.clear()
        self._weights.clear()
        self._skipped.clear()
        self._by_size.clear()

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.skipped and run.epoch_summary is not None:
            self._skipped[batch.phase] = self._skipped.get(batch.phase, 0) + 1
            run.epoch_summary.skipped[batch.phase] = self._skipped[batch.phase]
        if batch.loss is None or batch.skipped:
            return
        weight = 1
        if self.weight != "batch":
            counted = batch.sequences if self.weight == "sequence" else batch.tokens
            if counted is None:
                name = COUNTED[self.weight]
                raise RunStateError(
                    f"loss_averaging: weight={self.weight!r} needs the number of {name} of each batch, got None",
                    hint=f"pass {name}= to run.backward and run.record, or set weight='batch'",
                )
            weight = counted
        phase = batch.phase
        self._losses[phase] = self._losses.get(phase, 0.0) + weight * batch.loss
        self._weights[phase] = self._weights.get(phase, 0) + weight
        if self.weight == "batch" and (batch.sequences is not None or batch.tokens is not None):
            self._add_sizes(batch, batch.loss)
        if run.epoch_summary is not None:  # always: a batch belongs to an epoch
            run.epoch_summary.losses[phase] = self._losses[phase] / self._weights[phase]

    @hookimpl(ahead=True)
    def on_epoch_end(self, run: Run) -> None:
        run.log(**{f"{phase}_{COUNTED[self.weight]}": weight for phase, weight in self._weights.items()})

    @hookimpl
    def on_fit_end(self) -> None:
        for phase, by_size in self._by_size.items():
            for weight in ("token", "sequence"):
                losses, total, batches, smallest, largest = by_size.get(weight, (0.0, 0.0, 0, 0, 0))
                if smallest == largest or batches != self._weights[phase]:
                    continue
                mean, weighted = self._losses[phase] / self._weights[phase], losses / total
                if abs(weighted - mean) >= NOTED_DIFFERENCE * abs(mean):
                    logger.warning(
                        "loss_averaging: the batches of %s had %d to %d %s: %s_loss is %.6g as the mean over batches, "
                        "and %.6g over %s; set weight=%r for that",
                        *(phase, smallest, largest, COUNTED[weight], phase, mean, weighted, COUNTED[weight], weight),
                    )
                    break

    def _add_sizes(self, batch: Batch, loss: float) -> None:
        """Add a batch to the means by sequences and tokens, with the smallest and the largest size."""
        by_size = self._by_size.setdefault(batch.phase, {})
        for weight, size in (("sequence", batch.sequences), ("token", batch.tokens)):
            if size is not None:
                losses, total, batches, smallest, largest = by_size.get(weight, (0.0, 0.0, 0, size, size))
                by_size[weight] = [
                    losses + size * loss,
                    total + size,
                    batches + 1,
                    min(smallest, size),
                    max(largest, size),
                ]
