"""Guard: parameters change after run.backward, in training batches, and at no other time."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.resting import SeenBatches
from rnncallbacks.core.run import TRAIN
from rnncallbacks.detectors.outside_changes import OutsideChangeDetector
from rnncallbacks.detectors.protocol import ProtocolDetector

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

PASS_PARAMETERS = "pass the parameters: Run(params, ...)"


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class ProtocolGuard(Guard):
    """Checks when the parameters change: after run.backward in a training batch, and at no other time.

    RNN701 is one of these violations, in several batches in a row:

    - Parameters change before run.backward and never after it, from the first batch on. Plugins see the gradients after
      the update, too late to clip them or to skip the batch.
    - Parameters change between two batches, in the loader, and never after run.backward.
    - Parameters change in batches of another phase than "train": the network trains on its validation data.
    - Parameters change in training batches that do not call run.backward, or no training batch calls it. If losses are
      recorded and no parameter changes, that is an info.

    Parameters that change while no batch is open, as in a validation loop that is not given to ``run.batches``, are no
    alarm, as they may be averaged or pruned there. RNN701 has not passed then.

    Changes made by a repair do not count, nor does a single batch without gradients: loops skip batches, and accumulate
    gradients over several. The parameters are those of ``Run(params)``, compared by fingerprints.

    Options
    -------
    action:
        "warn" continues, "stop" ends the run, "raise" ends it with an error, "repair" leaves it to ``self_repair``.

    Example
    -------
    >>> ProtocolGuard(action="raise")
    ProtocolGuard(action='raise')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN701",)

    _protocol: ProtocolDetector = state_field(factory=ProtocolDetector)
    _outside: OutsideChangeDetector = state_field(factory=OutsideChangeDetector)
    _seen: SeenBatches = state_field(factory=SeenBatches)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._seen.start(run.step)
        if run.step == 0:  # a run that resumes knows how many it has taken into account
            self._protocol.start_run(repairs=len(run.diagnosis.repairs))

    @hookimpl(trylast=True)
    def on_epoch_start(self, run: Run) -> None:
        self._protocol.start_epoch()
        self._outside.start_epoch(run.params, len(run.diagnosis.repairs))

    @hookimpl(wrapper=True)
    def on_batch_start(self, run: Run, batch: Batch) -> Generator[None]:
        """Surrounds all other plugins, to separate their changes from those of the loader and the script."""
        if batch.phase == TRAIN:
            self._protocol.skip(self._seen.see(run.step))
        self._outside.open_batch(run.params)
        inspected = self._protocol.open_batch(batch.phase, run.params)
        yield
        if inspected:
            self._protocol.start_batch(batch.phase, run.params)

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch) -> None:
        self._protocol.call_backward(batch.phase, run.params)

    @hookimpl(trylast=True)
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        self._outside.end_batch(batch, run.params)
        self.conclude(run, self._protocol.count_backward(batch))
        self.conclude(run, self._protocol.end_batch(batch, run.params, len(run.diagnosis.repairs)))
        if batch.phase == TRAIN:
            next_compared = self._seen.last + self._protocol.batches_to_next
            self.due_step = min(next_compared, run.step + self._outside.batches_to_last(batch.index))

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        if run.params is None:
            run.diagnosis.cannot_check("RNN701", PASS_PARAMETERS)
        for result in self._protocol.end_epoch(run.params):
            self.conclude(run, result)
        batches = summary.batches.get(TRAIN, 0)
        self.conclude(run, self._outside.end_epoch(run.params, len(run.diagnosis.repairs), batches))
