"""The columns of metrics: means by phase over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.arrays.containers import Array, BoolArray, FloatArray
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.rnn.model_metrics import Metric, unmasked

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.define(eq=False)
class MetricColumns:
    r"""Logs the metrics of each phase. ``Trainer`` adds this plugin to its run.

    .. math:: \mathrm{metric} = f\Big(\sum_b n_b\, m_b \Big/ \sum_b n_b\Big)

    where :math:`m_b` is the mean over the :math:`n_b` unmasked positions of batch :math:`b`, and :math:`f` the function
    ``finish`` of the metric. Batches that were skipped or had no loss are not counted.

    Parameters
    ----------
    metrics:
        The metrics.
    """

    metrics: Sequence[Metric]
    _sums: dict[str, dict[str, float]] = state_field(factory=dict)
    _positions: dict[str, dict[str, int]] = state_field(factory=dict)
    _batch_sums: dict[str, float] = state_field(factory=dict, saved=False)

    def observe(self, outputs: FloatArray, targets: Array, mask: BoolArray | None) -> None:
        """Measure a forward pass of the open batch or of a part of it."""
        outputs, targets = unmasked(outputs, targets, mask)
        for metric in self.metrics:
            if metric.measure is not None:
                mean = metric.mean(outputs, targets)
                self._batch_sums[metric.name] = self._batch_sums.get(metric.name, 0.0) + len(targets) * mean

    @hookimpl
    def on_epoch_start(self) -> None:
        self._sums.clear()
        self._positions.clear()

    @hookimpl
    def on_batch_start(self, batch: Batch) -> None:
        self._batch_sums = batch.sums

    @hookimpl
    def on_batch_end(self, batch: Batch) -> None:
        if batch.skipped or batch.loss is None or batch.tokens is None:
            return
        sums = self._sums.setdefault(batch.phase, {})
        positions = self._positions.setdefault(batch.phase, {})
        for metric in self.metrics:
            of_batch = self._batch_sums[metric.name] if metric.measure is not None else batch.tokens * batch.loss
            sums[metric.name] = sums.get(metric.name, 0.0) + of_batch
            positions[metric.name] = positions.get(metric.name, 0) + batch.tokens

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        for phase, sums in self._sums.items():
            for metric in self.metrics:
                if metric.name in sums:  # it is missing if a run resumed after the last batch with another metric
                    mean = sums[metric.name] / self._positions[phase][metric.name]
                    run.log(**{f"{phase}_{metric.name}": metric.finish(mean)})
