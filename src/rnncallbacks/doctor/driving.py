"""Drives a ``Run`` with the recorded iterations of a script, so that guards observe the same as in a wrapped loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.core.plugin_manager import PluginsGiven
from rnncallbacks.core.run import Run
from rnncallbacks.core.script_function import PureFunction
from rnncallbacks.doctor.crash_advice import CrashAdvice
from rnncallbacks.doctor.iteration_record import IterationRecord, numbers_of, recorded_key, same_bits
from rnncallbacks.doctor.lacking_evidence import closures_without_warnings
from rnncallbacks.doctor.roles.data_pair import whole_numbers_of
from rnncallbacks.doctor.roles.epoch_report import EpochReport
from rnncallbacks.doctor.roles.input_terms import joined_bits
from rnncallbacks.doctor.roles.role_table import Confidence, ParameterRole, Roles
from rnncallbacks.doctor.roles.shifted_sequence import split_shifted
from rnncallbacks.doctor.validation_phase import give_validation
from rnncallbacks.doctor.value_walk import IntegerList, Key, Steps
from rnncallbacks.doctor.watch_messages import ReplayRequest
from rnncallbacks.doctor.watched_script import FrozenIteration, ScriptOverError, ScriptTimeoutError, WatchedScript

IGNORED_FOR_ANOTHER_NUMBER = ("RNN404", "RNN405")
"""Codes that compare gradients with the loss, where the gradients are those of another number than the loss."""


@attrs.frozen(kw_only=True)
class WholeEpochThresholds:
    """Limits of epochs that are seen to their end after the last batch that is replayed. Chosen by eye."""

    seconds: float = 5.0
    """Time for the rest of the first epoch, and for the second one."""
    rounding: float = 1e-5
    """Largest relative difference between a reported mean and that of the batch losses."""


WHOLE_EPOCH = WholeEpochThresholds()


@attrs.define(eq=False)
class RecordedBatches:
    """The iterations of a script: those from which the roles were inferred, then the later ones.

    Attributes
    ----------
    waiting:
        Recorded iterations, with their frozen copies.
    over:
        The reason why no more iterations follow; empty while they do.
    error:
        The explanation of the script's error, if it ended with one.
    seen:
        Number of yielded iterations.
    report:
        The list to which the script adds the epoch's loss, or the number, once it is found.
    validation:
        The same of the validation loss.
    epochs:
        Number of epochs that ended.
    wanted_epochs:
        Number of epochs that are seen to their end.
    finish_until:
        The time at which waiting for the end of these epochs ends, without replays; 0 while it has not begun.
    """

    script: WatchedScript
    roles: Roles
    max_batches: int
    until: float
    waiting: deque[tuple[IterationRecord, FrozenIteration | None]]
    over: str = ""
    error: CrashAdvice | None = None
    seen: int = 0
    report: Key | None = None
    validation: Key | None = None
    epochs: int = 0
    wanted_epochs: int = 1
    finish_until: float = 0.0

    @property
    def progress(self) -> str:
        """The number of the current iteration, and that of the last one as far as it is known.

        >>> RecordedBatches(None, None, max_batches=80, until=0.0, waiting=deque(), seen=12).progress
        'batch 12 of 80'
        """
        last = f"of {self.max_batches}" if self.seen <= self.max_batches else "to the end of the epoch"
        return f"batch {self.seen} {last}"

    def next(self) -> tuple[IterationRecord, FrozenIteration | None] | None:
        """The next iteration; None at the end.

        Once the time is over, those that were recorded for the roles are left out too, but the first: guards take time.
        """
        if self.seen and self.waiting and time.monotonic() > self.until:
            self.over = self.over or "time"
            self.waiting.clear()
        if not self.waiting and not self.over:
            if self.seen >= self.max_batches and not self._finishes_epoch():
                self.over = "batches"
            elif time.monotonic() > self.until:
                self.over = "time"
            else:
                self._record()
        if not self.waiting:
            return None
        self.seen += 1
        return self.waiting.popleft()

    def _finishes_epoch(self) -> bool:
        """Whether the epoch is to be seen to its end, for the loss that the script reports of it."""
        if self.epochs >= self.wanted_epochs or not self.script.is_nested:
            return False
        now = time.monotonic()
        self.finish_until = self.finish_until or now + WHOLE_EPOCH.seconds
        return now < self.finish_until

    def _record(self) -> None:
        freeze = self.roles.exact and self.seen < self.max_batches
        try:
            frozen = self.script.go_on(freeze=freeze, wanted=self.roles.wanted)
            self.waiting.append((self.script.record(), frozen))
        except ScriptOverError as ended:
            self.over, self.error = "script", ended.advice
        except ScriptTimeoutError:
            self.over = "time"

    def epoch(self, first: tuple[IterationRecord, FrozenIteration | None]) -> Iterator[Any]:
        """The iterations of one epoch, beginning with ``first``."""
        current: tuple[IterationRecord, FrozenIteration | None] | None = first
        while current is not None:
            yield current
            if current[1] is not None:
                self.script.release(current[1])
            following = self.next()
            if following is not None and following[0].epoch != first[0].epoch:
                self.waiting.appendleft(following)
                self.seen -= 1
                self.epochs += 1
                return
            current = following


@attrs.define(eq=False)
class ReplayedLoss:
    """The loss of a recorded iteration at the current values of the shadow parameters."""

    record: IterationRecord
    frozen: FrozenIteration
    loss: Key
    shadows: dict[str, Any]
    keys: dict[str, Key]

    def __call__(self) -> float:
        pushes = {
            key: self.shadows[name].copy()
            for name, key in self.keys.items()
            if not same_bits(self.shadows[name], self.record.start[key])
        }
        only = frozenset([recorded_key(self.loss)])
        wanted = self.record if not pushes else self.frozen.replay(ReplayRequest(pushes, only=only))
        return number_at(wanted, self.loss)


def number_at(record: IterationRecord, key: Key) -> float:
    """The number under a key.

    Raises
    ------
    KeyError
        It has none in this iteration.
    """
    return numbers_of({key: record.get(key)})[key]


def shadowed_run(batches: RecordedBatches, plugins: PluginsGiven) -> Run:
    """A run whose parameters are copies of the script's, as they were before the first iteration."""
    record = batches.waiting[0][0]
    shadows = {one.name: np.array(record.start[one.key]) for one in batches.roles.with_gradient}
    return Run(shadows, plugins=plugins, learning_rate=batches.roles.learning_rate)


def drive(run: Run, batches: RecordedBatches) -> None:
    """Pass the iterations to the run of :func:`shadowed_run`."""
    roles, shadows = batches.roles, run.params
    with_gradient = roles.with_gradient
    keys = {one.name: one.key for one in with_gradient}
    first = batches.next()
    report, validation = EpochReport(), EpochReport("val")
    with closures_without_warnings(), run:
        for _ in run.epochs(None):
            assert first is not None
            losses = []
            for record, frozen in run.batches(batches.epoch(first)):
                _give(run, record, frozen, roles, with_gradient, shadows, keys)
                losses.append(record.get(roles.loss))
            first = batches.next()
            if first is None:
                run.stop(f"doctor: {batches.over}")
                continue
            reported = report.read(np.array(losses, dtype=float).reshape(len(losses), -1)[:, 0].tolist(), first[0])
            batches.report = report.key
            if reported is not None:
                run.log(train_loss=reported)
                if not np.isclose(reported, np.mean(losses), rtol=WHOLE_EPOCH.rounding):
                    batches.wanted_epochs = 2  # a count that has no name is reported if two epochs agree
                give_validation(run, validation, roles, first[0], keys)
                batches.validation = validation.key
            for name, key in keys.items():  # as the script has changed them between the epochs
                shadows[name][...] = first[0].start[key]


def limit_severity(diagnosis: Diagnosis, confidence: Confidence) -> None:
    """Turn errors into warnings if the loss is not certain."""
    if confidence != "certain":
        alarms = [attrs.evolve(one, severity="warning") if one.severity == "error" else one for one in diagnosis.alarms]
        diagnosis.replace_alarms(alarms)


def attribute_kept_gradients(diagnosis: Diagnosis) -> None:
    """Make RNN406 a consequence of RNN503 if as many gradients are never set to zero as arrays do not change.

    They are those of arrays that the optimizer does not have, and it sets the gradients to zero.
    """
    by_code = {one.code: one for one in diagnosis.alarms}
    still, kept = by_code.get("RNN503"), by_code.get("RNN406")
    if still is None or kept is None or kept.evidence.get("arrays") != still.evidence.get("still_arrays"):
        return
    explained = attrs.evolve(kept, explained_by=still.code)
    diagnosis.replace_alarms([explained if one is kept else one for one in diagnosis.alarms])


def _give(
    run: Run,
    record: IterationRecord,
    frozen: FrozenIteration | None,
    roles: Roles,
    with_gradient: tuple[ParameterRole, ...],
    shadows: dict[str, Any],
    keys: dict[str, Key],
) -> None:
    """Pass one iteration to the run: the parameters before it, loss, gradients, then the updated parameters."""
    assert roles.loss is not None
    for name, key in keys.items():
        shadows[name][...] = record.start[key]
    gradients = {one.name: _gradient(one, record) for one in with_gradient}
    if roles.loss not in numbers_of({roles.loss: record.get(roles.loss)}) or any(
        gradient is None for gradient in gradients.values()
    ):
        run.skip_batch()
        return
    run.observe(**observed_values(record, roles))
    closure = None
    if frozen is not None:
        closure = PureFunction(ReplayedLoss(record, frozen, roles.early_loss or roles.loss, shadows, keys))
    sequences = _length_along(record.get(roles.inputs) if roles.inputs else None, roles.batch_axis)
    run.backward(number_at(record, roles.loss), gradients, closure=closure, sequences=sequences)
    for name, key in keys.items():
        shadows[name][...] = record.end[key]


def observed_values(record: IterationRecord, roles: Roles) -> dict[str, Any]:
    """What an iteration shows besides the loss and the gradients, as ``run.observe`` takes it."""
    observed = {
        name: _listed(value)
        for name, key in (("inputs", roles.inputs), ("targets", roles.targets), ("hidden_states", roles.hidden))
        if key is not None and (value := record.get(key)) is not None
    }
    if roles.other_inputs and "inputs" in observed:
        observed["inputs"] = joined_bits([observed["inputs"], *map(record.get, roles.other_inputs)])
    if roles.shifted_axis is not None and "inputs" in observed:
        sequence = np.asarray(observed["inputs"])
        if sequence.ndim > roles.shifted_axis:
            observed["inputs"], observed["targets"] = split_shifted(sequence, roles.shifted_axis)
    observed |= _as_one_sequence(observed)
    if roles.entering is None:
        return observed
    if roles.entering in roles.carried:
        before, after = record.start.get(roles.entering), record.end.get(roles.entering)
        if before is not None and after is not None:
            observed |= {"entering_state": before, "hidden_states": [before, after]}
    elif (entering := record.get(roles.entering)) is not None:
        observed["entering_state"] = entering
    return observed


def _as_one_sequence(observed: dict[str, Any]) -> dict[str, Any]:
    """Inputs as tokens where each step has a one-hot column, and targets are one token a step."""
    columns, given = np.asarray(observed.get("inputs", 0.0)), np.asarray(observed.get("targets", 0.0))
    if columns.ndim != 3 or columns.shape[2] != 1 or given.ndim != 1:
        return {}
    inputs, targets = whole_numbers_of(columns), whole_numbers_of(given)
    if inputs is None or targets is None or inputs.shape != given.shape != ():
        return {}
    return {"inputs": inputs, "targets": targets.reshape(given.shape)}


def _gradient(one: ParameterRole, record: IterationRecord) -> Any:
    for key in (one.gradient, one.fallback):
        value = None if key is None else record.get(key)
        if isinstance(value, np.ndarray) and value.shape == record.start[one.key].shape:
            return one.scale * value
    return None


def _length_along(value: Any, axis: int | None) -> int | None:
    array = value.stacked if isinstance(value, Steps) else value
    known = axis is not None and isinstance(array, np.ndarray) and -array.ndim <= axis < array.ndim
    return int(array.shape[axis]) if known else None


def _listed(value: Any) -> Any:
    if isinstance(value, int | float):
        return np.array([value])
    if isinstance(value, IntegerList):
        return value.view(np.ndarray).astype(np.intp)
    return list(value.stacked) if isinstance(value, Steps) else value
