"""The update ratio: norm of the update divided by norm of the parameters, for any optimizer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import attrs
import numpy as np

from rnncallbacks import hookimpl
from rnncallbacks.arrays import named_arrays
from rnncallbacks.bases import state_field
from rnncallbacks.errors import RunStateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rnncallbacks import Batch, Run
    from rnncallbacks.arrays import Array


def update_ratio(before: Iterable[Array], after: Iterable[Array]) -> float:
    r"""The norm of an update divided by the norm of the parameters.

    .. math:: r = \lVert W' - W \rVert_2 / \lVert W \rVert_2

    with :math:`W` the arrays before the update and :math:`W'` the arrays after it, each as one vector. It is 0 if
    nothing changed, and infinite if :math:`W` is 0 and :math:`W'` is not.

    Example
    -------
    >>> update_ratio([np.array([3.0, 4.0])], [np.array([3.0, 4.5])])
    0.1
    """
    moved = size = 0.0
    for old, new in zip(before, after, strict=True):
        moved += float(np.sum(np.square(new - old, dtype=np.float64)))
        size += float(np.sum(np.square(old, dtype=np.float64)))
    if moved == 0.0:
        return 0.0
    return math.sqrt(moved / size) if size else math.inf


@attrs.define(eq=False, kw_only=True)
class AcmeUpdateRatio:
    """Logs the update ratio of each epoch, and raises ACME001 if the parameters do not change.

    Options
    -------
    every:
        Number of training batches from one sample to the next, 1 or more. Each sample copies the parameters once.
    action:
        What ACME001 does: "warn" continues, "stop" ends the run, "raise" ends it with an error.

    Column: ``update_ratio`` is the mean of :func:`update_ratio` over the samples of the epoch. A common rule of thumb
    is 1e-3. A much lower value suggests that the learning rate is too low, a much higher one that it is too high.
    Batches that were skipped are not sampled.

    The alarm is raised once in a run, at the end of the first epoch in whose samples no parameter changed.

    Source: CS231n course notes, "Neural Networks Part 3", section "Ratio of weights:updates", for the rule of thumb.

    Example
    -------
    >>> AcmeUpdateRatio(every=5)
    AcmeUpdateRatio(every=5, action='warn')
    """

    every: int = attrs.field(default=10, validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)])
    action: Literal["warn", "stop", "raise"] = attrs.field(
        default="warn", validator=attrs.validators.in_(("warn", "stop", "raise"))
    )
    # State has its default at the start of a run. Checkpoints keep it, except for what an epoch starts again.
    _raised: bool = state_field(False)
    _before: dict[str, Array] = state_field(factory=dict, saved=False)
    _ratios: list[float] = state_field(factory=list, saved=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.params is None:
            raise RunStateError(
                "acme_update_ratio: expected a run with parameters, got Run() without params",
                hint="pass the parameters: Run(params)",
            )

    @hookimpl
    def on_epoch_start(self) -> None:
        self._ratios.clear()

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        # The first batch of each epoch is a sample, so that each epoch has a value.
        if batch.phase == "train" and (batch.index - 1) % self.every == 0:
            self._before = {name: array.copy() for name, array in named_arrays(run.params, "params").items()}

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase != "train" or not self._before:
            return
        before, self._before = self._before, {}
        if batch.loss is not None and not batch.skipped:
            self._ratios.append(update_ratio(before.values(), named_arrays(run.params, "params").values()))

    # First, so that plugins that read the history row find the column.
    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        if not self._ratios:
            return
        mean = sum(self._ratios) / len(self._ratios)
        run.log(update_ratio=mean)
        if mean == 0.0 and not self._raised:
            self._raised = True
            run.raise_alarm(
                "ACME001",
                f"no parameter changed in the {len(self._ratios)} sampled batches of this epoch",
                evidence={"update_ratio": mean, "samples": len(self._ratios)},
                cause="parameters do not change",
                remedy="apply the update with a learning rate above 0. If it returns new arrays, "
                "assign run.params = params after it",
                severity="error",
                action=self.action,
            )
