"""One case: a fault in a training, run under some plugins, and what came of it."""

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
from rnncallbacks.testing.setups import Through, healthy
from rnncallbacks.testing.tasks import TASKS
from rnncallbacks.testing.training import run_setup
from rnncallbacks.testing.traps import TRAPS


def shipped_guards(names: Iterable[str] = tuple(PRESETS["guards"])) -> dict[str, object]:
    """The guards of the preset "guards" in its order, or those of these names; each with the action "warn"."""
    return {name: find_own_plugin(name).load()(action="warn") for name in names}


@attrs.frozen
class Fired:
    """An alarm of a case: its code, its severity, the training batch at which it came first, and what explains it."""

    code: str
    severity: str
    batch: int
    explained_by: str | None

    @classmethod
    def of(cls, alarm: Alarm) -> Fired:
        return cls(alarm.code, alarm.severity, alarm.step, alarm.explained_by)


@attrs.frozen(kw_only=True)
class CaseOutcome:
    """What came of a case.

    ``alarms`` is what was found, causes and consequences. ``first_loss`` is that of the first training batch, and
    ``train_loss`` the mean of the last twenty, both as the script saw them. ``true_loss`` is the mean negative
    log-likelihood of the trained network on held-out data, computed aside.
    """

    fault: str
    task: str
    cell: str
    optimizer: str
    seed: int
    through: Through
    alarms: tuple[Fired, ...]
    repairs: tuple[str, ...]
    batches: int
    first_loss: float
    train_loss: float
    true_loss: float

    @property
    def causes(self) -> tuple[Fired, ...]:
        """The alarms that no other explains."""
        return tuple(alarm for alarm in self.alarms if alarm.explained_by is None)

    @property
    def loud(self) -> tuple[Fired, ...]:
        """The causes that are more than a note."""
        return tuple(alarm for alarm in self.causes if alarm.severity != "info")

    @property
    def diverged(self) -> bool:
        """Whether the network ended worse than one that knows nothing, or beyond all numbers."""
        return not self.true_loss < 1.5 * math.log(TASKS[self.task].vocab_size)


@attrs.define(eq=False)
class Watcher:
    """Keeps the losses of the training batches."""

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
    through: Through = "trainer",
    plugins: Mapping[str, object] | Iterable[object] | None = None,
) -> CaseOutcome:
    """Train with a fault, under the library's guards or the given plugins, and say what was found.

    Example
    -------
    A guard of one's own is scored by what it finds in faulty runs, and does not find in healthy ones:

    >>> from rnncallbacks.core.hookspecs import hookimpl
    >>> class TinyUpdates:
    ...     @hookimpl
    ...     def on_batch_start(self, run, batch):
    ...         if run.learning_rate < 1e-4:
    ...             run.raise_alarm("RNN502", f"the learning rate is {run.learning_rate:g}")
    >>> [[fired.code for fired in run_case(fault, "echo", "tanh", "adam", seed=1, plugins=[TinyUpdates()]).causes]
    ...  for fault in ("rate_x0.001", "healthy")]
    [['RNN502'], []]
    """
    chosen = _named(fault) if isinstance(fault, str) else fault
    setup = healthy(task, cell, optimizer, seed, through)
    chosen.change(setup)
    watcher = Watcher()
    given = shipped_guards() if plugins is None else plugins
    named = dict(given) if isinstance(given, Mapping) else {f"plugin_{n}": one for n, one in enumerate(given)}
    run, network = run_setup(setup, {"watcher": watcher} | named)
    losses = np.array(watcher.losses)
    held_out = TASKS[task].make(seed).held_out
    with np.errstate(all="ignore"):
        true_loss = network.true_loss(held_out)
    return CaseOutcome(
        fault=chosen.name,
        task=task,
        cell=cell,
        optimizer=optimizer,
        seed=seed,
        through=through,
        alarms=tuple(Fired.of(alarm) for alarm in run.diagnosis.alarms),
        repairs=tuple(str(repair) for repair in run.diagnosis.repairs),
        batches=len(losses),
        first_loss=float(losses[0]) if len(losses) else math.nan,
        train_loss=float(losses[-20:].mean()) if len(losses) else math.nan,
        true_loss=true_loss,
    )


def _named(name: str) -> Fault:
    return {"healthy": HEALTHY, **FAULTS, **TRAPS}[name]
