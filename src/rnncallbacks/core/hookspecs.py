"""The hooks: where a plugin can look into a run, and what it may change there.

The loop, with each hook in its place::

    on_fit_start(run)
    for each epoch:
        on_epoch_start(run)
        for each batch of each phase ("train", "val", ...):
            on_batch_start(run, batch)
            ... the script computes loss and gradients ...
            on_backward(run, batch, grads)          # training batches only, inside run.backward
            ... the script updates its parameters ...
            on_batch_end(run, batch)
        on_epoch_end(run, summary)
    on_fit_end(run)

    on_alarm(run, alarm)          # whenever a plugin raises an alarm
    on_exception(run, error)      # an error or Ctrl-C leaves the run; on_fit_end follows

An implementation names just the arguments that it needs. Hooks return nothing: what may be changed is changed in place,
and each hook says what that is. Plugins are called in the order in which they are listed; ``@hookimpl(tryfirst=True)``
and ``@hookimpl(trylast=True)`` move one implementation ahead of or behind the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import pluggy

if TYPE_CHECKING:
    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run
    from rnncallbacks.gradients import Gradients

PROJECT = "rnncallbacks"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def on_fit_start(run: Run) -> None:
    """The first epoch is about to begin; open files here, and check that the run has what the plugin needs."""


@hookspec
def on_epoch_start(run: Run) -> None:
    """Epoch ``run.epoch`` begins; the learning rate may be scaled here."""


@hookspec
def on_batch_start(run: Run, batch: Batch) -> None:
    """A batch came from the loader, and nothing is computed yet; reset the state or scale the learning rate here."""


@hookspec
def on_backward(run: Run, batch: Batch, grads: Gradients) -> None:
    """Loss and gradients are there, the update is not; the arrays of ``grads`` may be changed in place."""


@hookspec
def on_batch_end(run: Run, batch: Batch) -> None:
    """The batch is done, its update included; ``batch.loss`` is None if the script gave no loss."""


@hookspec
def on_epoch_end(run: Run, summary: EpochSummary) -> None:
    """All batches of the epoch are done; add averages and columns to ``summary`` here, before the history takes it."""


@hookspec
def on_alarm(run: Run, alarm: Alarm) -> None:
    """A plugin raised ``alarm``, for the first time if ``alarm.count`` is 1; it stands in ``run.alarms`` already."""


@hookspec
def on_exception(run: Run, error: BaseException) -> None:
    """``error`` is leaving the run, Ctrl-C included; every plugin is told, even if another fails here."""


@hookspec
def on_fit_end(run: Run) -> None:
    """The run is over, in whatever way; close files here. Every plugin is told, even if another fails here."""


Hook: TypeAlias = Literal[
    "on_fit_start",
    "on_epoch_start",
    "on_batch_start",
    "on_backward",
    "on_batch_end",
    "on_epoch_end",
    "on_alarm",
    "on_exception",
    "on_fit_end",
]
"""The name of a hook."""

HOOKS: Mapping[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in list(globals().items())
    if name.startswith("on_")
}
"""The names of a hook's arguments by the name of the hook."""
