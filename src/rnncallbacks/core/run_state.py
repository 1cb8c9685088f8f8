"""The state of a run: stage and position, parameters, learning rate, carried states, history and diagnosis."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, SupportsIndex

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.diagnosis_content import DiagnosisContent
from rnncallbacks.arrays.containers import named_arrays, named_shapes
from rnncallbacks.arrays.dlpack import with_views
from rnncallbacks.core.arguments import as_reason, check_numbers
from rnncallbacks.core.batch import Batch, EpochSummary
from rnncallbacks.core.epoch_passes import EpochPasses
from rnncallbacks.core.facts import Fact, plugin_facts
from rnncallbacks.core.hidden_state import HiddenStates, Zeros, zeros_of
from rnncallbacks.core.history import History, Value
from rnncallbacks.core.learning_rate import LearningRate
from rnncallbacks.core.life_cycle import LifeCycle
from rnncallbacks.core.open_batches import OpenBatches
from rnncallbacks.core.plugin_manager import Plugins, PluginsGiven
from rnncallbacks.core.plugin_times import PluginTimes
from rnncallbacks.core.position import Position
from rnncallbacks.core.run_outcome import MAX_STEPS
from rnncallbacks.core.run_record import RunRecord
from rnncallbacks.core.script_function import ScriptClosure
from rnncallbacks.core.script_state import ScriptState
from rnncallbacks.errors import CheckpointError, ContainerError, RunStateError


class RunState(RunRecord):
    """The state of a run, and the calls that need no batch.

    Attributes
    ----------
    epoch, step:
        The number of epochs and of training batches that began.
    resumed:
        Whether the run continues an earlier one.
    script:
        The generators and objects of ``rng=`` and ``state=``, which checkpoints save.
    optimizer_state:
        The container of the optimizer's arrays, or None.
    max_epochs, max_steps:
        The arguments of ``run.epochs``; None for no limit, and before the call.
    epoch_summary:
        The averages and columns of the open epoch, or None if no epoch is open.
    history:
        One row for each epoch that ended.
    diagnosis:
        Alarms, checks and repairs.
    """

    def __init__(
        self,
        params: Any,
        optimizer_state: Any,
        learning_rate: float | None,
        hidden_size: int | None,
        zeros: Zeros | None,
        reset: Callable[[], object] | None,
        rng: Any = None,
        state: Any = None,
        plugins: PluginsGiven = (),
        directory: str | os.PathLike[str] | None = None,
        facts: Mapping[str, object] | None = None,
        profile_plugins: bool = False,
    ) -> None:
        super().__init__(directory, facts, self._known_facts)
        check_numbers(params)
        self._params = with_views(params, "params")
        self._param_shapes = named_shapes(params, "params")
        named_shapes(optimizer_state, "optimizer_state")  # refuses anything but a container of arrays
        self.optimizer_state = with_views(optimizer_state, "optimizer_state")
        self._rate = LearningRate(learning_rate)
        if zeros is None and hidden_size is not None:
            zeros = zeros_of(hidden_size, params)
        self._hidden = HiddenStates(zeros, reset)
        self.reset = reset
        self._cycle = LifeCycle()
        self.script = ScriptState(rng, state)
        self._passes = EpochPasses(self.script)
        self._resumed_epoch: Position | None = None
        self.resumed = False
        self._stopped_in: Batch | None = None
        self.epoch = 0
        self.step = 0
        self.max_epochs: int | None = None
        self.max_steps: int | None = None
        self.epoch_summary: EpochSummary | None = None
        self.history = History()
        self.diagnosis = Diagnosis()
        self._batches = OpenBatches(end=self._end_batch)
        self.plugins = Plugins(plugins, self.where, PluginTimes() if profile_plugins else None)

    @property
    def params(self) -> Any:
        """The parameters, in the script's own container. Assign to it when an update returns new arrays."""
        return self._params

    @params.setter
    def params(self, params: Any) -> None:
        shapes = named_shapes(params, "params")
        if self._params is not None and shapes != self._param_shapes:
            raise ContainerError(f"run.params: expected arrays {self._param_shapes}, got {shapes}")
        self._params, self._param_shapes = with_views(params, "params"), shapes

    @property
    def learning_rate(self) -> float:
        """The base learning rate times every scale."""
        return self._rate.value

    @property
    def base_learning_rate(self) -> float | None:
        """The learning rate before any scale, or None."""
        return self._rate.base

    @property
    def scales(self) -> dict[str, float]:
        """The scales of the learning rate by name."""
        return self._rate.scales

    def scale_learning_rate(self, name: str, scale: float) -> None:
        """Set one named scale of the learning rate; a schedule uses the name under which it is registered.

        Raises
        ------
        OptionError
            The scale is negative or not finite.
        RunStateError
            The run has no learning rate.
        """
        self._rate.set_scale(name, scale)

    @property
    def alarms(self) -> list[Alarm]:
        """The alarms, one for each code, in the order in which they were first raised."""
        return self.diagnosis.alarms

    @property
    def plugin_seconds(self) -> dict[str, dict[str, float]]:
        """The seconds of each plugin by name and hook, with ``profile_plugins=True``; empty otherwise."""
        return {} if self.plugins.times is None else self.plugins.times.seconds

    def log(self, **columns: Value) -> None:
        """Add columns to the history row of this epoch.

        Raises
        ------
        RunStateError
            Outside an epoch.
        OptionError
            A value is neither a number nor a string.
        """
        self._require_epoch("run.log", doing="call run.log").log(columns)

    def mean_loss(self, phase: str = "train") -> float:
        """The average loss of the phase in this epoch so far, as the plugin ``loss_averaging`` computes it.

        It averages the batches that have ended. At the end of the epoch it becomes the column ``<phase>_loss``.

        Raises
        ------
        RunStateError
            Outside an epoch; use ``run.history`` there.
        DataError
            No batch of the phase has ended in this epoch, or no plugin averages losses.
        """
        return self._require_epoch("run.mean_loss", doing="call run.mean_loss").value(f"{phase}_loss")

    def stop(self, reason: str, *, code: str | None = None) -> None:
        """End the run: no further batch or epoch begins, and those that are open are closed as usual.

        Passes that follow in the same epoch, such as its validation, yield no batch. Check ``run.stop_reason`` before a
        mean over them.

        ``run.outcome`` names the plugin in whose hook it was called, and ``code``, that of the alarm if there is one.

        Raises
        ------
        RunStateError
            The run has ended.
        OptionError
            The reason is not a string, or is empty.
        """
        self._cycle.require("new", "entered", "fitting", doing="stop it")
        self._stop_at(as_reason(reason), code)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise RunStateError(
            "a run cannot be copied or pickled: its plugins, files and generators belong to it alone",
            hint="copy run.params, run.history or run.diagnosis; the plugin checkpoint saves a run to resume it",
        )

    @property
    def batch(self) -> Batch | None:
        """The innermost open batch, or None."""
        return self._batches.innermost

    @property
    def outermost_batch(self) -> Batch | None:
        """The open batch that is inside no other, or None."""
        return self._batches.outermost

    def where(self) -> str:
        """The position of the run in words: ``epoch 3, batch 12 of train``."""
        if self.batch is not None:
            return f"epoch {self.epoch}, batch {self.batch.index} of {self.batch.phase}"
        return f"epoch {self.epoch}"

    @property
    def hidden_states(self) -> HiddenStates:
        """The hidden states of all phases, for plugins that inspect, save or restore them."""
        return self._hidden

    @property
    def epoch_was_cut(self) -> bool:
        """Whether the epoch ended before the script was through with it: the run was stopped in it, or left."""
        return self._passes.stopped_at is not None

    @property
    def resumes_exactly(self) -> bool:
        """Whether a run that resumes here continues as if it had not ended.

        It does not if it was stopped in a training batch without a loss, or in a pass inside a batch: the body of that
        batch did less than it would have done.
        """
        return not self._passes.cut_inside

    def position(self, *, epoch_done: bool) -> Position:
        """The position of the run for a checkpoint: the end of the epoch, a batch, or where the epoch was cut."""
        if self._resumed_epoch is not None:  # nothing was done since
            return self._resumed_epoch
        if epoch_done:
            return self._passes.position(None)
        return self._passes.stopped_at or self._passes.position(self.epoch_summary)

    def resume(
        self,
        *,
        epoch: int,
        step: int,
        scales: Mapping[str, float],
        rows: Iterable[Mapping[str, Value]],
        diagnosis: DiagnosisContent,
        hidden: Mapping[str, Any],
        position: Position,
    ) -> None:
        """Continue where another run was, in ``epoch`` or at its end. The caller restores parameters and plugins.

        Raises
        ------
        RunStateError
            An epoch of this run has begun.
        CheckpointError
            The script's generators and objects do not accept their states. The run is unchanged.
        """
        if self.epoch:
            raise RunStateError("cannot resume: this run has begun already", hint="resume before the first epoch")
        before = self.script.capture()
        try:
            for one in position.passes:
                self.script.restore(one.state)
            self.script.restore(position.state)
        except CheckpointError:
            self.script.restore(before)
            raise
        self._passes.resume(position)
        self._resumed_epoch = position if position.in_epoch else None
        self.resumed = True
        self.epoch, self.step = epoch, step
        self._rate.restore(scales)
        self.history.restore(rows)
        self.diagnosis.restore(diagnosis)
        self._hidden.restore(hidden)

    def _end_batch(self, batch: Batch) -> None:
        try:
            self.plugins.call("on_batch_end", run=self, batch=batch)
        finally:
            batch.network_loss = None  # it holds the batch: both, with the gradients, would wait for the collector
            if isinstance(batch.closure, ScriptClosure):
                batch.closure.release()
            if self.stop_reason is not None:
                self._passes.cut_inside |= batch.phase == "train" and batch.loss is None
                self._keep_position(ended=batch)

    def _keep_position(self, ended: Batch | None = None) -> None:
        """Keep where the run was stopped, once no batch is open but the one that ``ended``: what follows is skipped."""
        if self._passes.in_epoch and not self.epoch_was_cut and self.outermost_batch is ended:
            self._passes.stopped_at = self._passes.position(self.epoch_summary)

    def _stop_at(self, reason: str, code: str | None, by: str | None = None) -> None:
        if self.stop_reason is None:
            self._record_stop(reason, code, by)
            self._stopped_in = self.batch
            self._keep_position()

    def _stop_at_max_steps(self) -> None:
        if self.max_steps is not None and self.step >= self.max_steps:
            self._stop_at(f"{MAX_STEPS}: {self.step} training batches", None, by=MAX_STEPS)

    def _known_facts(self) -> dict[str, Fact]:
        found: dict[str, Fact] = {}
        if self.params is not None:
            found["parameters"] = sum(array.size for array in named_arrays(self.params, "params").values())
        if self.base_learning_rate is not None:
            found["learning_rate"] = self.base_learning_rate
        return found | plugin_facts(self.plugins)

    def _end(self) -> None:
        self._cycle.stage = "ended"
        self.epoch_summary = None
        self._files.release()

    def _require_epoch(self, call: str, *, doing: str) -> EpochSummary:
        self._cycle.require("fitting", doing=doing)
        if self.epoch_summary is None:
            raise RunStateError(f"{call}: no epoch is open", hint="put it inside: for epoch in run.epochs(...):")
        return self.epoch_summary
