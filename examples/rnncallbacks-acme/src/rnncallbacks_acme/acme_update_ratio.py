"""How far an update moves the weights, whatever optimizer made it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import attrs
import numpy as np

from rnncallbacks import hookimpl
from rnncallbacks.arrays import named_arrays
from rnncallbacks.errors import RunStateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rnncallbacks import Batch, Run
    from rnncallbacks.arrays import Array


def update_ratio(before: Iterable[Array], after: Iterable[Array]) -> float:
    r"""The size of an update relative to what it changes.

    .. math:: r = \lVert W' - W \rVert / \lVert W \rVert

    with :math:`W` all arrays before and :math:`W'` all arrays after, taken as one vector each. It has no unit. It is 0
    if nothing changed, and infinite if all of :math:`W` is 0 and :math:`W'` is not.

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
    """Logs how far updates move the weights, and raises ACME001 when they do not move at all.

    Options
    -------
    every:
        Training batches from one sample to the next, 1 or more. A sample copies the parameters once.
    action:
        What ACME001 does: "warn" goes on, "stop" ends the run, "raise" ends it with an error.

    Column: ``update_ratio`` is the mean of :func:`update_ratio` over the epoch's samples. A common rule of thumb is
    1e-3; far below, the learning rate is too low, and far above, too high. A batch that was skipped is no sample.

    The alarm is raised at the end of an epoch in whose samples no parameter changed, once in a run.

    Source of the rule of thumb: CS231n course notes, "Neural Networks Part 3", section "Ratio of weights:updates".

    Example
    -------
    >>> AcmeUpdateRatio(every=5)
    AcmeUpdateRatio(every=5, action='warn')
    """

    every: int = attrs.field(default=10, validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)])
    action: Literal["warn", "stop", "raise"] = attrs.field(
        default="warn", validator=attrs.validators.in_(("warn", "stop", "raise"))
    )
    # What follows is state: no options, and kept by checkpoints.
    _before: dict[str, Array] = attrs.field(factory=dict, init=False, repr=False)
    _ratios: list[float] = attrs.field(factory=list, init=False, repr=False)
    _raised: bool = attrs.field(default=False, init=False, repr=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.params is None:
            raise RunStateError(
                "acme_update_ratio: the run does not know the parameters", hint="pass them: Run(params)"
            )

    @hookimpl
    def on_epoch_start(self) -> None:
        self._ratios.clear()

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        # The first batch of every epoch is sampled, so that no epoch is without a value.
        if batch.phase == "train" and (batch.index - 1) % self.every == 0:
            self._before = {name: array.copy() for name, array in named_arrays(run.params, "params").items()}

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase != "train" or not self._before:
            return
        before, self._before = self._before, {}
        if batch.loss is not None and not batch.skipped:
            self._ratios.append(update_ratio(before.values(), named_arrays(run.params, "params").values()))

    # Before loggers read the row.
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
                remedy="apply the update, with a learning rate above 0; if it returns new arrays, run.params = params",
                severity="error",
                action=self.action,
            )
