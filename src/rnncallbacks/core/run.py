"""Run: the object that drives the hooks, in a script's own loop and in Trainer alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy.typing as npt

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.arguments import (
    as_batch_value,
    as_closure,
    as_count,
    as_epochs,
    as_phase,
    check_floating,
    check_not_parameters,
    log_unmatched_names,
)
from rnncallbacks.core.batch import Batch, EpochSummary
from rnncallbacks.core.hidden_state import Zeros
from rnncallbacks.core.plugin_manager import PluginsGiven, raise_first
from rnncallbacks.core.run_alarms import RunAlarms
from rnncallbacks.core.script_function import ClosureTrust
from rnncallbacks.errors import RunStateError

Item = TypeVar("Item")
Container = TypeVar("Container")
TRAIN = "train"


class Run(RunAlarms):
    """One training run: wraps a script's loop and calls the plugins' hooks around its body.

    Parameters
    ----------
    params:
        The parameters in the script's own container: a dict, list or tuple of arrays, nested to any depth, or one
        array. Plugins that restore or save parameters need them.
    plugins:
        Plugins in the order in which they are called: an iterable, or a mapping from name to plugin.
    learning_rate:
        The base learning rate, above 0. ``run.learning_rate`` is its product with the scales that schedules set.
    hidden_size:
        Makes ``run.hidden(batch_size)`` a state of shape ``(hidden_size, batch_size)``, in the dtype of the parameters.
    zeros:
        For other layouts and an LSTM: a function from the batch size to a zero state, an array or a tuple of arrays.
    reset:
        For a state that a model object keeps: a function without arguments that sets it to zero.
    optimizer_state:
        A container of the optimizer's arrays, which the optimizer changes in place. Checkpoints include it.
    rng:
        The random number generators that the script draws from, which checkpoints save: one, or a dict or list of
        them. ``numpy.random`` and ``random`` stand for their global generators.
    state:
        What else checkpoints save: arrays that are changed in place, generators, and objects with ``state_dict`` and
        ``load_state_dict``; one, or a dict or list of them. ``state={}`` says that there is nothing, and no generator.
    directory:
        The folder of the run's files. Plugins that write files, such as ``history_log`` and ``checkpoint``, use it
        unless they have a path of their own. It is made with the first file.
    facts:
        Settings by name, for loggers: numbers, strings and truth values, such as ``{"hidden_size": 64}``.
    profile_plugins:
        Whether to measure the time of each plugin in each hook, ``run.plugin_seconds``.

    Example
    -------
    >>> import numpy as np
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
        rng: Any = None,
        state: Any = None,
        directory: str | os.PathLike[str] | None = None,
        facts: Mapping[str, object] | None = None,
        profile_plugins: bool = False,
    ) -> None:
        state_arguments = params, optimizer_state, learning_rate, hidden_size, zeros, reset, rng, state
        super().__init__(*state_arguments, plugins, directory, facts, profile_plugins)
        self._looping = False
        self._leaving = False
        self._closures = ClosureTrust()
        self._gradients: Gradients | None = None

    # The loop -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._cycle.require("new", doing="enter it")
        self._cycle.stage = "entered"
        return self

    def epochs(self, count: int | None, *, max_steps: int | None = None) -> Iterator[int]:
        """Yield the numbers of the epochs, from 1 to ``count``, or without end for None.

        A run that resumes begins after the checkpoint's epoch, or with the rest of it if it was open.

        Parameters
        ----------
        count:
            The number of epochs in all, or None.
        max_steps:
            The number of training batches in all after which the run is stopped, or None. If it falls on the last batch
            of an epoch, and the loader has a length, the epoch is ended as usual.

        Raises
        ------
        RunStateError
            Outside ``with Run(...) as run:``, inside another epoch, after the end of the run, or if a second loop has
            no epoch left: ``count`` is the total.
        OptionError
            ``count`` is neither None nor an integer of at least 0, or ``max_steps`` is not one of at least 1.
        """
        self._cycle.require("entered", "fitting", doing="iterate run.epochs")
        if self._looping:
            raise RunStateError("run.epochs: an epoch is open already", hint="do not nest run.epochs")
        count = as_epochs(count, trained=0 if self.stop_reason or self.resumed else self.epoch)
        self._close_epoch()
        self.max_epochs = count
        self.max_steps = None if max_steps is None else as_count(max_steps, "run.epochs", "max_steps")
        if self._cycle.stage == "entered":
            self.plugins.check_usable()
            self._cycle.stage = "fitting"
            self.plugins.start(self)
        if self._resumed_epoch is None:
            self._stop_at_max_steps()
        self._looping = True
        try:
            while self.stop_reason is None and (count is None or self._epochs_done < count):
                self._open_epoch()
                yield self.epoch
                self._close_epoch()
        finally:
            self._looping = False  # calls no hook here: Python drops an error that is raised while a generator closes

    def batches(self, loader: Iterable[Item], phase: str = TRAIN) -> Iterator[Item]:
        """Yield the loader's batches unchanged, and call the hooks around each; none once the run was stopped.

        Parameters
        ----------
        loader:
            Any iterable. Its method ``set_epoch``, if any, is called with the number of the epoch first. A batch may
            have an attribute ``starts``, one truth value for each sequence: whether the sequence begins here.
        phase:
            A name. The average loss of the phase is the column ``<phase>_loss``. Only the phase "train" has backward
            passes. A validation may run inside the body of a training batch.

        Raises
        ------
        RunStateError
            Outside an epoch.
        DataError
            The loader is not iterable, or yields no batch.
        """
        self._require_epoch("run.batches", doing="iterate run.batches")
        phase = as_phase(phase)
        outer = self._batches.close_abandoned()
        if self.stop_reason is not None:
            self._passes.refuse(nested=outer is not None)
            return
        items = self._passes.begin(loader, phase, self.epoch, nested=outer is not None)
        while self._stop is None:
            if self.max_steps is not None and phase == TRAIN and not items.is_at_its_end:
                self._stop_at_max_steps()
            if self._stop is not None or (batch := next(items, None)) is None:
                break
            self._open_batch(batch)
            try:
                yield batch.data
            except GeneratorExit:
                self._batches.abandon(batch)
                items.left = True
                # A script that stops the run leaves the loop for that reason, and otherwise because it had enough.
                self._passes.end(items, stopped=self._stopped_in is batch)
                raise
            self._batches.close_down_to(outer)
        if self.stop_reason is None:
            items.check_not_empty()
        else:
            items.exhaust()
        self._passes.end(items, stopped=self.stop_reason is not None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leaving and self._cycle.stage == "fitting":
            raise RunStateError("cannot leave the run: it is being left", hint="call run.stop to end it in order")
        self._leaving = True
        started, errors = self._cycle.stage == "fitting", [] if error is None else [error]
        if started and error is None:
            try:
                self._close_epoch(left=True)
            except BaseException as closing:  # of any kind: on_exception and on_fit_end have to follow
                errors.append(closing)
        self._record_outcome(errors[0] if errors else None)
        if started:
            errors += self.plugins.end(self, errors[0] if errors else None)
        self._batches.clear()
        self._end()
        raise_first(errors, unless=error)

    # Calls of the script ----------------------------------------------------------------------------------------------

    def backward(
        self,
        loss: Any,
        grads: Container,
        *,
        closure: Callable[[], Any] | None = None,
        sequences: int | None = None,
        tokens: int | None = None,
    ) -> Container:
        """Give the batch's loss and gradients to the plugins, between backward pass and update; return ``grads``.

        Parameters
        ----------
        loss:
            One number: the mean over the batch.
        grads:
            The gradients in any container of arrays. Plugins change the arrays in place.
        closure:
            A function without arguments that evaluates this batch's loss at the current parameters. Guards call it a
            bounded number of times, before and after the update. Arrays, containers, attributes and random number
            generators that it changes are restored bit for bit. A function that changes something else, or returns
            another loss at a second call, is reported and not called again.
        sequences, tokens:
            Numbers of sequences and tokens that the loss is a mean over, for averages weighted by them.

        Raises
        ------
        RunStateError
            Outside a training batch, or a second time in one.
        OptionError, LossError
            The closure is not a function, a count is not an integer of at least 1, or the loss is not one number.
        ContainerError
            The gradients are not a container of writable floating arrays, or have other names or shapes than before.
        """
        batch = self._require_batch("run.backward")
        if batch.phase != TRAIN:
            raise RunStateError(
                f"run.backward in the phase {batch.phase!r}: only the phase {TRAIN!r} has backward passes",
                hint="call run.record(loss) here, or iterate run.batches(loader) without a phase",
            )
        gradients = Gradients(grads, self._gradients)
        if self._gradients is None:
            gradients.check_shapes(self._param_shapes)
            check_floating(self.params, gradients)
            check_not_parameters(self.params, gradients)
            log_unmatched_names(self.params, gradients)
        closure = as_closure(closure)
        batch.take_loss(loss, sequences, tokens, "run.backward")
        if closure is not None:
            self._closures.give_closure(batch, closure, lambda: self._roots(grads))
        self._gradients = gradients
        self.plugins.call("on_backward", run=self, batch=batch, grads=gradients)
        if batch.skipped:
            for array in gradients.arrays:
                array[...] = 0.0
        return grads

    def record(self, loss: Any, *, sequences: int | None = None, tokens: int | None = None) -> None:
        """Give the loss of a batch without a backward pass; the arguments are those of :meth:`backward`."""
        self._require_batch("run.record").take_loss(loss, sequences, tokens, "run.record")

    def hidden(self, batch_size: int) -> Any:
        """The state to enter the forward pass with: zeros where a reset is due, else the carried state.

        Each phase has its own state.

        Raises
        ------
        ShapeError
            The carried state has another batch size, and no reset is due.
        """
        batch = self._require_batch("run.hidden")
        state = self._hidden[batch.phase]
        entering = state.enter(size := as_count(batch_size, "run.hidden", "batch_size"))
        batch.batch_size, batch.entering_state = size, state.carried
        return entering

    def carry(self, hidden: Any) -> None:
        """Keep a copy of the final state for the next batch of the phase."""
        self._hidden[self._require_batch("run.carry").phase].carry(hidden)

    def reset_hidden(self, rows: npt.ArrayLike | None = None) -> None:
        """Reset the state of the phase, or only the sequences where ``rows`` (one truth value each) is true.

        Raises
        ------
        RunStateError
            The run has no state to reset; or ``rows`` selects some sequences, and ``reset=`` can only reset all.
        OptionError
            ``rows`` does not hold truth values.
        """
        self._hidden.reset(self._require_batch("run.reset_hidden").phase, rows)

    def require_hidden_state(self) -> None:
        """Check that the run has a hidden state to reset.

        Raises
        ------
        RunStateError
            It got none of ``hidden_size``, ``zeros`` and ``reset``.
        """
        self._hidden.require()

    def observe(self, **values: Any) -> None:
        """Pass values that only the script has to the plugins, in ``batch.observed``.

        Guards read ``inputs`` and ``targets`` (if the loader does not yield them), ``entering_state`` (if the script
        keeps its own), ``hidden_states`` (one for each time step, after the entering one; of an array, time is the
        first or second axis), ``hidden_gradients`` (one for each time step) and ``logits``. A value that is slow to
        compute may be a function without arguments, called when a plugin first reads it: in ``on_backward`` at the
        parameters of the forward pass, in ``on_batch_end`` at the updated ones. Its side effects are undone, as for a
        closure.

        Raises
        ------
        OptionError
            A name differs from one that the guards read by a missing or an added s.
        """
        self._require_batch("run.observe").observed.add(self._closures.observable(values, self._roots))

    def log_batch(self, **values: float) -> None:
        """Add numbers to this training batch, as :meth:`log` adds columns to the epoch.

        The plugin ``history_log`` writes them with the loss of the batch, and ``rnncallbacks report`` draws them.

        Raises
        ------
        RunStateError
            Outside a training batch.
        OptionError
            A value is not a number.
        """
        batch = self._require_batch("run.log_batch")
        if batch.phase != TRAIN:
            raise RunStateError(
                f"run.log_batch in the phase {batch.phase!r}: only batches of the phase {TRAIN!r} have values",
                hint="call run.log(name=value) for a number of the whole epoch",
            )
        for name, value in values.items():
            batch.logged[name] = as_batch_value(name, value)

    def skip_batch(self) -> None:
        """Take this batch out: its gradients become zero, and averages leave it out."""
        self._require_batch("run.skip_batch").skipped = True

    @property
    def skipped(self) -> bool:
        """Whether the open batch was taken out; the script should not update then."""
        batch = self._batches.close_abandoned()
        return batch is not None and batch.skipped

    # Opening and closing --------------------------------------------------------------------------------------------

    @property
    def _epochs_done(self) -> int:
        return self.epoch if self._resumed_epoch is None else self.epoch - 1

    def _open_epoch(self) -> None:
        resumed, self._resumed_epoch = self._resumed_epoch, None
        if resumed is not None:  # on_epoch_start was called before the checkpoint was saved
            self.epoch_summary = EpochSummary(
                epoch=self.epoch,
                learning_rate=None,
                losses=dict(resumed.losses),
                logged=dict(resumed.logged),
                batches=dict(resumed.batches),
                seconds_before=resumed.seconds,
            )
            self.history.follow(self.epoch_summary)
            self._passes.begin_epoch(resumed)
            return
        self.epoch += 1
        self.epoch_summary = EpochSummary(epoch=self.epoch, learning_rate=None)
        self.history.follow(self.epoch_summary)
        self._passes.begin_epoch()
        self.plugins.call("on_epoch_start", run=self)

    def _close_epoch(self, *, left: bool = False) -> None:
        """Close the open batches and the open epoch, if there are any; ``left`` says that the script left the epoch."""
        summary = self.epoch_summary
        if summary is None:
            return
        self._batches.close_down_to(None)
        if left and self._passes.reopen_left():
            self._keep_position()
        self._passes.end_epoch()
        self._stop_at_max_steps()
        if self.epoch_was_cut:
            summary.log({"stopped_after": summary.batches.get(TRAIN, 0)})
        summary.seconds = summary.elapsed
        summary.learning_rate = None if self.base_learning_rate is None else self.learning_rate
        try:
            self.plugins.call("on_epoch_end", run=self, summary=summary)
            self.history.append(summary.row)
        finally:
            self.epoch_summary = None
            self.history.follow(None)

    def _open_batch(self, batch: Batch) -> None:
        self._batches.open(batch)
        if self.epoch_summary is not None:
            self.epoch_summary.count_batch(batch.phase)
        if batch.phase == TRAIN:
            self.step += 1
        self.plugins.call("on_batch_start", run=self, batch=batch)

    def _roots(self, *more: object) -> Iterable[object]:  # what a function of the script may change through the run
        return vars(self), self._rate.scales, self._hidden, self.batch, self.epoch_summary, *more

    # Checks of calls --------------------------------------------------------------------------------------------------

    def _require_batch(self, call: str) -> Batch:
        batch = self._batches.close_abandoned()
        if batch is None:
            self._cycle.require("fitting", doing=f"call {call}")
            raise RunStateError(f"{call}: no batch is open", hint="call it inside: for ... in run.batches(loader):")
        return batch
