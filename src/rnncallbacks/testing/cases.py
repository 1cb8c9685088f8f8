"""Runs a case: a training run with a fault, under plugins, and the alarms that they raise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import attrs
import numpy as np

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.config.configuration import PRESETS
from rnncallbacks.config.discovery import find_own_plugin
from rnncallbacks.core.batch import Batch
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.testing.fault import HEALTHY, Fault
from rnncallbacks.testing.faults import FAULTS
from rnncallbacks.testing.run_setup import run_setup
from rnncallbacks.testing.setups import LoopKind, healthy
from rnncallbacks.testing.tasks import TASKS
from rnncallbacks.testing.traps import TRAPS


def shipped_guards(names: Iterable[str] = tuple(PRESETS["guards"])) -> dict[str, object]:
    """The guards of the preset "guards" in its order, or those of these names; each with the action "warn"."""
    return {name: find_own_plugin(name).load()(action="warn") for name in names}


@attrs.frozen
class FiredAlarm:
    """An alarm of a case.

    ``batch`` is the training batch, counted from 1, in which the alarm was first raised. ``explained_by`` is the code
    of its cause, None if the alarm is a cause itself.
    """

    code: str
    severity: str
    batch: int
    explained_by: str | None

    @classmethod
    def of(cls, alarm: Alarm) -> FiredAlarm:
        return cls(alarm.code, alarm.severity, alarm.step, alarm.explained_by)


@attrs.frozen(kw_only=True)
class CaseOutcome:
    """The result of a case.

    Parameters
    ----------
    fault, task, cell, optimizer, seed, loop:
        The case.
    alarms:
        All alarms of the run, causes and consequences.
    repairs:
        Descriptions of the repairs.
    batches:
        Number of training batches.
    first_loss, train_loss:
        Loss of the first training batch, and mean over the last 20, as the script reports them.
    true_loss:
        Mean loss of the trained network on held-out data, computed outside the run: the negative log-likelihood in
        nats, or the squared error of a regression.
    """

    fault: str
    task: str
    cell: str
    optimizer: str
    seed: int
    loop: LoopKind
    alarms: tuple[FiredAlarm, ...]
    repairs: tuple[str, ...]
    batches: int
    first_loss: float
    train_loss: float
    true_loss: float

    @property
    def causes(self) -> tuple[FiredAlarm, ...]:
        """The alarms that no other alarm explains."""
        return tuple(alarm for alarm in self.alarms if alarm.explained_by is None)

    @property
    def reported(self) -> tuple[FiredAlarm, ...]:
        """The causes of severity "warning" or "error"."""
        return tuple(alarm for alarm in self.causes if alarm.severity != "info")

    @property
    def diverged(self) -> bool:
        """Whether the network's loss is not finite, or above 1.5 times ln V, that of a uniform prediction."""
        return not self.true_loss < 1.5 * math.log(TASKS[self.task].vocab_size)


@attrs.define(eq=False)
class LossRecorder:
    """Plugin that keeps the losses of the training batches."""

    losses: list[float] = attrs.field(factory=list)

    @hookimpl
    def on_batch_end(self, batch: Batch) -> None:
        if batch.phase == "train" and batch.loss is not None:
            self.losses.append(batch.loss)


def run_case(
    fault: Fault | str,
    task: str,
    cell: str,
    optimizer: str,
    seed: int,
    loop: LoopKind = "trainer",
    plugins: Mapping[str, object] | Iterable[object] | None = None,
    *,
    max_epochs: int | None = None,
) -> CaseOutcome:
    """Trains a network with a fault under plugins, and returns the alarms and losses of the run.

    Parameters
    ----------
    fault:
        A fault, or the name of one of ``FAULTS`` or ``TRAPS``, or "healthy".
    task, cell, optimizer:
        Names from ``TASKS``, ``CELLS`` and ``OPTIMIZERS``. ``Fault.combinations`` lists those that fit a fault. The
        trainer also has the cells "lstm" and "gru".
    seed:
        Seed of the data and of the initial weights.
    loop:
        "trainer", "loop" or "plain_loop", see ``LOOPS``.
    plugins:
        The plugins under test, by name or in order; by default the shipped guards.
    max_epochs:
        Largest number of epochs, for tests of the first batches. None: no limit.

    Raises
    ------
    KeyError
        There is no fault, task or optimizer of this name.

    Example
    -------
    A guard should raise an alarm in a faulty run and none in a healthy run:

    >>> from rnncallbacks.core.hookspecs import hookimpl
    >>> class TinyUpdates:
    ...     @hookimpl
    ...     def on_batch_start(self, run, batch):
    ...         if run.learning_rate < 1e-4:
    ...             run.raise_alarm("RNN502", f"the learning rate is {run.learning_rate:g}")
    >>> [[alarm.code for alarm in run_case(fault, "echo", "tanh", "adam", seed=1, plugins=[TinyUpdates()]).causes]
    ...  for fault in ("rate_x0.001", "healthy")]
    [['RNN502'], []]
    """
    chosen = {"healthy": HEALTHY, **FAULTS, **TRAPS}[fault] if isinstance(fault, str) else fault
    setup = healthy(task, cell, optimizer, seed, loop)
    chosen.change(setup)
    if max_epochs is not None:
        setup.epochs = min(setup.epochs, max_epochs)
    recorder = LossRecorder()
    given = shipped_guards() if plugins is None else plugins
    named = dict(given) if isinstance(given, Mapping) else {f"plugin_{n}": one for n, one in enumerate(given)}
    run, network = run_setup(setup, {"loss_recorder": recorder} | named)
    losses = np.array(recorder.losses)
    held_out = TASKS[task].make(seed).held_out
    with np.errstate(all="ignore"):
        true_loss = network.true_loss(held_out)
    return CaseOutcome(
        fault=chosen.name,
        task=task,
        cell=cell,
        optimizer=optimizer,
        seed=seed,
        loop=loop,
        alarms=tuple(FiredAlarm.of(alarm) for alarm in run.diagnosis.alarms),
        repairs=tuple(str(repair) for repair in run.diagnosis.repairs),
        batches=len(losses),
        first_loss=float(losses[0]) if len(losses) else math.nan,
        train_loss=float(losses[-20:].mean()) if len(losses) else math.nan,
        true_loss=true_loss,
    )
