"""Run: the one object that drives the hooks, in a script's own loop and in Trainer alike."""

from __future__ import annotations

import logging
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from rnncallbacks.alarms.alarm import Action, Alarm, AlarmRaised, make_alarm
from rnncallbacks.alarms.catalogue import Severity
from rnncallbacks.alarms.diagnosis import Diagnosis, Repair
from rnncallbacks.arrays import named_arrays
from rnncallbacks.core.arguments import as_count, as_loss, describe
from rnncallbacks.core.batch import Batch, EpochSummary
from rnncallbacks.core.hidden_state import HiddenStates, Zeros, zeros_of
from rnncallbacks.core.history import History, Value
from rnncallbacks.core.learning_rate import LearningRate
from rnncallbacks.core.plugin_manager import Plugins, PluginsGiven
from rnncallbacks.core.plugin_state import reset_state
from rnncallbacks.errors import ContainerError, DataError, OptionError, RunStateError
from rnncallbacks.gradients import Gradients

logger = logging.getLogger("rnncallbacks")

Item = TypeVar("Item")
Container = TypeVar("Container")
_END: Any = object()
_MISSPELT = {"entering_states": "entering_state"} | {
    name.removesuffix("s"): name for name in ("inputs", "targets", "hidden_states", "hidden_gradients", "logits")
}
TRAIN = "train"


class Run:
    """One training run: wraps a script's loop and calls the plugins' hooks around its body.

    Parameters
    ----------
    params:
        The parameters in the container that the script has (dict, list, tuple, nested, one array). Plugins that restore
        or save parameters need them.
    plugins:
        Plugins in the order in which they are called: an iterable, or a mapping from name to plugin.
    learning_rate:
        The base learning rate, above 0. ``run.learning_rate`` is this times the scales that schedules set.
    hidden_size:
        Makes ``run.hidden(batch_size)`` a state of shape ``(hidden_size, batch_size)``, in the dtype of the parameters.
    zeros:
        For another layout or an LSTM: a function from the batch size to a zero state (an array or a tuple of arrays).
    reset:
        For a state inside a model object: a function without arguments that zeroes it.
    optimizer_state:
        A container of the optimizer's own arrays, changed in place; checkpoints keep it beside the parameters.

    Example
    -------
    >>> params = {"w": np.array([4.0])}
    >>> with Run(params, learning_rate=0.25) as run:
    ...     for epoch in run.epochs(2):
    ...         for target in run.batches([1.0, 1.0]):
    ...             loss, grads = (params["w"] - target) ** 2, {"w": 2 * (params["w"] - target)}
    ...             grads = run.backward(loss.item(), grads)
    ...             params["w"] -= run.learning_rate * grads["w"]
    >>> params["w"]
    array([1.1875])
    """

    def __init__(
        self,
        params: Any = None,
        *,
        plugins: PluginsGiven = (),
        learning_rate: float | None = None,
        hidden_size: int | None = None,
        zeros: Zeros | None = None,
        reset: Callable[[], object] | None = None,
        optimizer_state: Any = None,
    ) -> None:
        self._params = params
        self._param_shapes = _shapes(params, "params")
        self.optimizer_state = optimizer_state
        _shapes(optimizer_state, "optimizer_state")
        self._rate = LearningRate(learning_rate)
        if zeros is None and hidden_size is not None:
            zeros = zeros_of(hidden_size, params)
        self._hidden = HiddenStates(zeros, reset)
        self.reset = reset
        self.history = History()
        self.diagnosis = Diagnosis()
        self.stop_reason: str | None = None
        self.epoch = 0
        self.step = 0
        self.max_epochs: int | None = None
        self.batch: Batch | None = None
        self._outer: list[Batch | None] = []  # what each open batch stands in: a validation, in a training batch
        self._looping = False
        self._summary: EpochSummary | None = None
        self._gradients: Gradients | None = None
        self._progress: str = "new"  # then "entered", "fitting" and "ended"
        self.plugins = Plugins(plugins, where=self.where)

    # The run itself -------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._check_progress("new", doing="enter it")
        self._progress = "entered"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress == "entered":
            self._progress = "ended"
            return
        first = error
        if first is None:
            try:
                self._close_epoch()
            except BaseException as closing:  # whatever it is, on_exception and on_fit_end still have to follow
                first = closing
        later = self.plugins.call_each("on_exception", run=self, error=first) if first is not None else []
        later += self.plugins.call_each("on_fit_end", run=self)
        self._progress = "ended"
        self.batch = self._summary = None
        if first is None and later:
            first = later.pop(0)
        if first is None:
            return
        for other in later:
            first.add_note(f"then {type(other).__name__}: {other}, {'; '.join(getattr(other, '__notes__', []))}")
        if first is not error:
            raise first

    def epochs(self, count: int | None) -> Iterator[int]:
        """Yield the numbers of the epochs, from 1 (or where a resumed run goes on) to ``count``; without end for None.

        Raises
        ------
        RunStateError
            Outside ``with Run(...) as run:``, inside another epoch, or after the run's end.
        OptionError
            ``count`` is neither None nor an integer of at least 0.
        """
        self._check_progress("entered", "fitting", doing="iterate run.epochs")
        if count is not None and (not isinstance(count, numbers.Integral) or isinstance(count, bool) or count < 0):
            raise OptionError(f"run.epochs: expected a number of epochs >= 0 or None, got {count!r}")
        if self._looping:
            raise RunStateError("run.epochs: an epoch is open already", hint="do not nest run.epochs")
        self._close_epoch()
        self.max_epochs = None if count is None else int(count)
        if self._progress == "entered":
            self._check_repairs()
            self._progress = "fitting"
            for plugin in self.plugins.values():
                reset_state(plugin, keep_saved=self.epoch > 0)
            self.plugins.call("on_fit_start", run=self)
        self._looping = True
        try:
            while self.stop_reason is None and (count is None or self.epoch < count):
                self._open_epoch()
                yield self.epoch
                self._close_epoch()
        finally:
            self._looping = False  # and no more: what a hook raises in a generator's finaliser is lost

    def batches(self, loader: Iterable[Item], phase: str = TRAIN) -> Iterator[Item]:
        """Yield the loader's batches unchanged, with the hooks around each.

        Parameters
        ----------
        loader:
            Any iterable. If it has a method ``set_epoch``, that is called with the epoch's number first, so that
            shuffling can follow it. A batch's attribute ``starts``, if any, says which of its sequences begin anew.
        phase:
            A name; the phase's average loss is the column ``<phase>_loss``. Only the phase "train" has backward passes.
            A validation may stand in the body of a training batch, which goes on after it.

        Raises
        ------
        RunStateError
            Outside an epoch.
        DataError
            The loader gave no batch.
        """
        self._check_progress("fitting", doing="iterate run.batches")
        if self._summary is None:
            raise RunStateError(
                "run.batches: no epoch is open", hint="put it inside: for epoch in run.epochs(...): (None: without end)"
            )
        if not isinstance(phase, str) or not phase.isidentifier():
            raise OptionError(f"run.batches: expected a phase name such as 'train' or 'val', got {phase!r}")
        if callable(set_epoch := getattr(loader, "set_epoch", None)):
            set_epoch(self.epoch)
        self._close_left()
        outer = self.batch
        try:
            remaining = iter(loader)
        except TypeError:
            raise DataError(
                f"run.batches: expected an iterable of batches for phase {phase!r}, got {type(loader).__name__}"
            ) from None
        count = _length(loader)
        index = 0
        while self.stop_reason is None:
            data = next(remaining, _END)
            if data is _END:
                break
            index += 1
            batch = Batch(data, phase, index, count, _starts(data))
            self._open_batch(batch)
            try:
                yield data
            except GeneratorExit:
                batch._left = True
                raise
            self._close_batches(outer)
        if index == 0 and self.stop_reason is None:
            raise DataError(
                f"run.batches: the loader of phase {phase!r} gave no batch",
                hint="a generator is used up after one epoch: pass a list, or an object whose __iter__ begins anew"
                if remaining is loader
                else "check that the data are not empty and the batch size is not larger than what drop_last leaves",
            )

    def where(self) -> str:
        """Where the run stands, in words."""
        if self.batch is not None:
            return f"epoch {self.epoch}, batch {self.batch.index} of {self.batch.phase}"
        return f"epoch {self.epoch}"

    def register(self, plugin: object, name: str | None = None) -> str:
        """Add a plugin behind the others and return its name: ``name``, or its class's name in snake_case.

        Plugins come before the run and between its batches. One that comes after the first epoch began starts at once.

        Raises
        ------
        PluginError
            The object cannot serve as a plugin; the message says what is wrong with which hook.
        RunStateError
            A batch is open, or the run has ended.
        """
        self._check_between_batches("register a plugin")
        name = self.plugins.register(plugin, name)
        if self._progress == "fitting":
            reset_state(plugin)
            self._raise_first(self.plugins.call_each("on_fit_start", only=plugin, run=self))
        return name

    def unregister(self, name: str) -> object:
        """Take a plugin out, ending it if the run has begun, and its learning-rate scale with it; return the plugin.

        Raises
        ------
        PluginError
            No plugin has this name.
        RunStateError
            A batch is open, or the run has ended.
        """
        self._check_between_batches("unregister a plugin")
        failures: list[BaseException] = []
        if self._progress == "fitting" and name in self.plugins:
            failures = self.plugins.call_each("on_fit_end", only=self.plugins[name], run=self)
        plugin = self.plugins.unregister(name)
        self.scales.pop(name, None)
        self._raise_first(failures)
        return plugin

    # What the script tells the run ----------------------------------------------------------------------------------

    def backward(
        self,
        loss: Any,
        grads: Container,
        *,
        closure: Callable[[], Any] | None = None,
        sequences: int | None = None,
        tokens: int | None = None,
    ) -> Container:
        """Give the batch's loss and gradients to the plugins, between backward pass and update.

        Returns ``grads`` itself; its arrays may have been changed in place. ``sequences`` and ``tokens`` count what the
        loss is a mean over; averages weighted by them need them. ``closure`` is a function without arguments that
        evaluates this batch's loss again, at the parameters as they are when it is called, and changes nothing; guards
        call it a bounded number of times, before and after the update.

        Raises
        ------
        RunStateError
            Outside a training batch, or a second time in one.
        OptionError
            The closure is no function.
        LossError
            The loss is not one number.
        ContainerError
            The gradients are no container of writable floating arrays, or not those of the batches before.
        """
        batch = self._require_batch("run.backward")
        if batch.phase != TRAIN:
            raise RunStateError(
                f"run.backward in the phase {batch.phase!r}: only the phase {TRAIN!r} has backward passes",
                hint="call run.record(loss) here, or iterate run.batches(loader) without a phase",
            )
        gradients = Gradients(grads)
        if self._gradients is None:
            gradients.check_shapes(self._param_shapes)
        else:
            gradients.check_same_structure(self._gradients)
        if closure is not None and not callable(closure):
            raise OptionError(
                f"run.backward: expected closure to be a function, got {describe(closure)}",
                hint="write closure=lambda: loss_of(batch), which evaluates the loss anew at each call",
            )
        self._take_loss(batch, loss, sequences, tokens, "run.backward")
        batch.closure = closure
        self._gradients = gradients
        self.plugins.call("on_backward", run=self, batch=batch, grads=gradients)
        if batch.skipped:
            for array in gradients.arrays:
                array[...] = 0.0
        return grads

    def record(self, loss: Any, *, sequences: int | None = None, tokens: int | None = None) -> None:
        """Give the loss of a batch without a backward pass."""
        self._take_loss(self._require_batch("run.record"), loss, sequences, tokens, "run.record")

    def hidden(self, batch_size: int) -> Any:
        """The state to enter the forward pass with: zeros where a reset is due, else what was carried.

        Each phase has a state of its own.

        Raises
        ------
        ShapeError
            The carried state has another batch size, and no reset is due.
        """
        batch = self._require_batch("run.hidden")
        state = self._hidden[batch.phase]
        entering = state.enter(as_count(batch_size, "run.hidden", "batch_size"))
        batch.batch_size, batch.entering_state = int(batch_size), state.carried
        return entering

    def carry(self, hidden: Any) -> None:
        """Keep a copy of the final state for the phase's next batch."""
        self._hidden[self._require_batch("run.carry").phase].carry(hidden)

    def reset_hidden(self, rows: npt.ArrayLike | None = None) -> None:
        """Reset the phase's state, or only the sequences where ``rows`` (one truth value each) is true.

        Raises
        ------
        RunStateError
            The run has no state to reset, or only some rows are to be reset by a function that resets all.
        OptionError
            ``rows`` holds something else than truth values.
        """
        batch = self._require_batch("run.reset_hidden")
        self._hidden.reset(batch.phase, rows)

    def observe(self, **values: Any) -> None:
        """Show plugins what only the script has; it lands in ``batch.observed``.

        Guards read ``inputs`` and ``targets`` where the loader does not yield them, ``entering_state`` where the script
        keeps its own, ``hidden_states`` (one a time step, the entering one first) and ``hidden_gradients`` (one a time
        step), and ``logits``. Other names are for other plugins. What takes time to compute may be a function without
        arguments instead. It is called when a plugin first looks: in ``on_backward`` at the parameters of the forward
        pass, in ``on_batch_end`` at the updated ones. What it returns is kept for the batch; if it fails, None.

        Raises
        ------
        OptionError
            A name is one of these without its s, or with one too many: nobody would read it.
        """
        for name in values.keys() & _MISSPELT.keys():
            raise OptionError(f"run.observe: no guard reads {name!r}", hint=f"did you mean {_MISSPELT[name]!r}?")
        self._require_batch("run.observe").observed |= values

    def log(self, **columns: Value) -> None:
        """Add columns to this epoch's history row.

        Raises
        ------
        RunStateError
            Outside an epoch.
        """
        if self._summary is None:
            self._check_progress("fitting", doing="call run.log")
            raise RunStateError("run.log: no epoch is open", hint="call it inside: for epoch in run.epochs(...):")
        for name, value in columns.items():
            if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
                value = value.item()
            if not isinstance(value, float | int | str):
                raise OptionError(f"run.log: expected a number or a word for {name!r}, got {describe(value)}")
            self._summary.logged[name] = value

    def stop(self, reason: str) -> None:
        """End the run: no further batch or epoch begins, and the open ones are closed as usual.

        Raises
        ------
        RunStateError
            The run has ended already.
        """
        self._check_progress("new", "entered", "fitting", doing="stop it")
        if not isinstance(reason, str) or not reason:
            raise OptionError(f"run.stop: expected the reason in words, got {describe(reason)}")
        if self.stop_reason is None:
            self.stop_reason = reason

    def skip_batch(self) -> None:
        """Take this batch out: its gradients become zero, and averages leave it out."""
        self._require_batch("run.skip_batch").skipped = True

    @property
    def skipped(self) -> bool:
        """Whether the open batch was taken out; leave its update out too."""
        self._close_left()
        return self.batch is not None and self.batch.skipped

    def raise_alarm(
        self,
        code: str,
        message: str,
        *,
        evidence: Mapping[str, float | int | str] | None = None,
        cause: str | None = None,
        remedy: str | None = None,
        severity: Severity | None = None,
        action: Action = "warn",
    ) -> Alarm:
        """Raise an alarm: list it in ``run.alarms``, log it, call ``on_alarm``, then do what ``action`` says.

        ``cause``, ``remedy`` and ``severity`` come from the catalogue if the code is in it. ``action`` is "warn" (no
        more), "stop" (:meth:`stop`), "raise" (:class:`~rnncallbacks.alarms.alarm.AlarmRaised`) or "repair" (the plugin
        ``self_repair`` must be there). A code that came before is counted, and not listed or logged again, unless it is
        louder now. A code that the selection leaves out does nothing at all.

        Raises
        ------
        OptionError
            A code that the catalogue lacks, without cause, remedy and severity; or an unknown action.
        AlarmRaised
            ``action`` is "raise".
        """
        self._check_progress("new", "entered", "fitting", doing="raise an alarm")
        alarm = make_alarm(
            code,
            message,
            evidence or {},
            cause=cause,
            remedy=remedy,
            severity=severity,
            action=action,
            epoch=self.epoch,
            step=self.step,
        )
        if not self.diagnosis.selection.selects(code):
            return alarm
        earlier = next((known.severity for known in self.alarms if known.code == code), None)
        alarm = self.diagnosis.add(self.diagnosis.selection.adjust(alarm))
        if alarm.severity != earlier:
            quiet = alarm.severity == "info" or alarm.explained_by is not None
            logger.log(logging.INFO if quiet else logging.WARNING, "%s", alarm)
        repairs = len(self.diagnosis.repairs)
        self.plugins.call("on_alarm", run=self, alarm=alarm)
        if len(self.diagnosis.repairs) > repairs:
            return alarm
        if action == "stop":
            self.stop(f"{code} {message}")
        elif action == "raise":
            raise AlarmRaised(alarm)
        return alarm

    def report_repair(self, alarm: Alarm, what: str) -> None:
        """Write down, from ``on_alarm``, what was done about an alarm: what its action says is then left undone."""
        self._check_progress("entered", "fitting", doing="report a repair")
        repair = Repair(code=alarm.code, what=what, epoch=self.epoch, step=self.step)
        self.diagnosis.repairs.append(repair)
        logger.warning("repaired %s", repair)
        if self._summary is not None:
            earlier = self._summary.logged.get("repairs")
            self._summary.logged["repairs"] = f"{earlier}; {repair}" if earlier else str(repair)

    @property
    def alarms(self) -> list[Alarm]:
        """The alarms, one a code, in the order in which they were first raised."""
        return self.diagnosis.alarms

    # Parameters and learning rate -----------------------------------------------------------------------------------

    @property
    def params(self) -> Any:
        """The parameters, in the script's own container. Assign to it when an update returns new arrays."""
        return self._params

    @params.setter
    def params(self, params: Any) -> None:
        shapes = _shapes(params, "params")
        if self._params is not None and shapes != self._param_shapes:
            raise ContainerError(f"run.params: expected arrays {self._param_shapes}, got {shapes}")
        self._params, self._param_shapes = params, shapes

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
        """Every scale by its name."""
        return self._rate.scales

    def scale_learning_rate(self, name: str, scale: float) -> None:
        """Set one named scale of the learning rate; a schedule uses its plugin's registered name.

        Raises
        ------
        OptionError
            The scale is negative or not finite.
        RunStateError
            The run has no learning rate to scale.
        """
        self._rate.set_scale(name, scale)

    # What a checkpoint takes and gives --------------------------------------------------------------------------------

    def hidden_states(self) -> dict[str, Any]:
        """The carried state of each phase, or None where nothing is carried."""
        return self._hidden.carried()

    def resume(
        self,
        *,
        epoch: int,
        step: int,
        scales: Mapping[str, float],
        rows: Iterable[Mapping[str, Value]],
        alarms: Iterable[Alarm],
        repairs: Iterable[Repair],
        hidden: Mapping[str, Any],
    ) -> None:
        """Stand where another run stood at the end of ``epoch``; parameters and plugins are put back by the caller.

        Raises
        ------
        RunStateError
            This run has begun an epoch already.
        """
        if self.epoch:
            raise RunStateError("cannot resume: this run has begun already", hint="resume before the first epoch")
        self.epoch, self.step = epoch, step
        self._rate.scales = dict(scales)
        for row in rows:
            self.history.append(row)
        self.diagnosis.alarms[:] = alarms
        self.diagnosis.repairs[:] = repairs
        for phase, carried in hidden.items():
            self._hidden[phase].carried = carried

    # Opening and closing --------------------------------------------------------------------------------------------

    def _open_epoch(self) -> None:
        self.epoch += 1
        self._summary = EpochSummary(epoch=self.epoch, learning_rate=None)
        self.plugins.call("on_epoch_start", run=self)

    def _close_epoch(self) -> None:
        """Close what a body that broke out left open, then the epoch; nothing happens if none is open."""
        if self._summary is None:
            return
        self._close_batches(None)
        summary = self._summary
        summary.learning_rate = None if self.base_learning_rate is None else self.learning_rate
        try:
            self.plugins.call("on_epoch_end", run=self, summary=summary)
            self.history.append(summary.row)
        finally:
            self._summary = None

    def _open_batch(self, batch: Batch) -> None:
        assert self._summary is not None
        self._outer.append(self.batch)
        self.batch, phase = batch, batch.phase
        self._summary.batches[phase] = self._summary.batches.get(phase, 0) + 1
        if phase == TRAIN:
            self.step += 1
        self.plugins.call("on_batch_start", run=self, batch=batch)

    def _close_batch(self, batch: Batch) -> None:
        batch._left = False
        try:
            self.plugins.call("on_batch_end", run=self, batch=batch)
        finally:
            self.batch = self._outer.pop()

    def _close_batches(self, outer: Batch | None) -> None:
        """Close the open batches from the innermost on, up to the one that goes on."""
        while self.batch is not None and self.batch is not outer:
            self._close_batch(self.batch)

    def _close_left(self) -> None:
        """Close the batches whose loop the body broke out of."""
        while self.batch is not None and self.batch._left:
            self._close_batch(self.batch)

    # Checks ---------------------------------------------------------------------------------------------------------

    def _check_progress(self, *allowed: str, doing: str) -> None:
        if self._progress in allowed:
            return
        if self._progress == "ended":
            raise RunStateError(f"cannot {doing}: the run has ended", hint="make a new Run")
        if self._progress == "new":
            raise RunStateError(f"cannot {doing}: the run was not entered", hint="write: with Run(...) as run:")
        if self._progress == "entered" and "fitting" in allowed:
            raise RunStateError(f"cannot {doing}: no epoch is open", hint="put it in: for epoch in run.epochs(...):")
        raise RunStateError(f"cannot {doing}: the run was entered already", hint="make a new Run")

    def _check_repairs(self) -> None:
        """Refuse a plugin that asks for repairs where none does them."""
        asking = [name for name, plugin in self.plugins.items() if getattr(plugin, "action", None) == "repair"]
        if asking and not any(getattr(plugin, "repairs", False) for plugin in self.plugins.values()):
            raise OptionError(
                f"{asking[0]}: action='repair' needs a plugin that repairs, and there is none",
                hint="add SelfRepair() to the plugins, or enable self_repair",
            )

    def _check_between_batches(self, doing: str) -> None:
        self._check_progress("new", "entered", "fitting", doing=doing)
        self._close_left()
        if self.batch is not None:
            raise RunStateError(f"cannot {doing} while a batch is open", hint="do it before or between batches")

    @staticmethod
    def _raise_first(failures: list[BaseException]) -> None:
        if failures:
            raise failures[0]

    def _require_batch(self, doing: str) -> Batch:
        self._close_left()
        if self.batch is None:
            self._check_progress("fitting", doing=f"call {doing}")
            raise RunStateError(f"{doing}: no batch is open", hint="call it inside: for ... in run.batches(loader):")
        return self.batch

    def _take_loss(self, batch: Batch, loss: Any, sequences: int | None, tokens: int | None, what: str) -> None:
        if batch.loss is not None:
            raise RunStateError(
                f"{what}: this batch has its loss already", hint="call run.backward or run.record once in a batch"
            )
        number = as_loss(loss, what)
        if sequences is not None:
            batch.sequences = as_count(sequences, what, "sequences")
        if tokens is not None:
            batch.tokens = as_count(tokens, what, "tokens")
        batch.loss = number


def _shapes(container: Any, what: str) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in named_arrays(container, what).items()}


def _starts(data: Any) -> npt.NDArray[np.bool_] | None:
    starts = getattr(data, "starts", None)
    return None if starts is None else np.asarray(starts)


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # what a loader of an endless stream says
        return None
