"""The hooks: when they are called, and what a plugin may change there.

The loop with its hooks::

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

    on_alarm(run, alarm)          # whenever an alarm is raised
    on_exception(run, error)      # an exception or Ctrl-C leaves the run; on_fit_end follows

An implementation takes any of the hook's arguments. Its return value is ignored; where a hook may change something, it
changes it in place. Plugins are called in the order in which they are listed; the options of :func:`hookimpl` move an
implementation before the others or after them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

import pluggy

if TYPE_CHECKING:
    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

PROJECT = "rnncallbacks"
HOOKS_VERSION = 1
"""The version of the hooks, which a plugin can require. It grows by one whenever a hook or an argument is added."""
hookspec = pluggy.HookspecMarker(PROJECT)
Implementation = TypeVar("Implementation", bound=Callable[..., Any])


@overload
def hookimpl(function: Implementation) -> Implementation: ...


@overload
def hookimpl(
    *,
    ahead: bool = False,
    tryfirst: bool = False,
    trylast: bool = False,
    wrapper: bool = False,
    hookwrapper: bool = False,
    optionalhook: bool = False,
    specname: str | None = None,
) -> Callable[[Implementation], Implementation]: ...


def hookimpl(function: Any = None, *, ahead: bool = False, **options: Any) -> Any:
    """Mark a function or a method as the implementation of a hook.

    Parameters
    ----------
    ahead:
        Call it before all implementations without this option, wrappers included. It is for work on which the others
        rely: completing the gradients, computing averages, restoring a run.
    tryfirst, trylast:
        Call it before, or after, the others; among those with ``ahead`` if it has ``ahead``, else among those without.
    wrapper:
        The function is a generator with one ``yield``. It begins before the implementations that are not wrappers, and
        ends after them.
    specname:
        The hook, if the function has another name.

    The options ``hookwrapper`` and ``optionalhook`` are those of ``pluggy.HookimplMarker``.

    Raises
    ------
    TypeError
        What is marked is not a function.

    Example
    -------
    >>> class Halves:
    ...     @hookimpl(ahead=True)
    ...     def on_backward(self, grads):
    ...         for array in grads.arrays:
    ...             array *= 0.5
    """

    if function is not None and not callable(function):
        raise TypeError(
            f"@hookimpl: expected a function, got {function!r}; the hook is the name of the function, or write "
            "@hookimpl(specname=...)"
        )

    def mark(implementation: Implementation) -> Implementation:
        pluggy.HookimplMarker(PROJECT)(**options)(implementation)
        getattr(implementation, f"{PROJECT}_impl")["ahead"] = ahead
        return implementation

    return mark if function is None else mark(function)


@hookspec
def on_fit_start(run: Run) -> None:
    """Before the first epoch: open files, and check that the run has what the plugin needs."""


@hookspec
def on_epoch_start(run: Run) -> None:
    """Epoch ``run.epoch`` begins: the learning rate may be scaled."""


@hookspec
def on_batch_start(run: Run, batch: Batch) -> None:
    """Before the script's body: the state may be reset and the learning rate scaled."""


@hookspec
def on_backward(run: Run, batch: Batch, grads: Gradients) -> None:
    """Between backward pass and update: the arrays of ``grads`` may be changed in place."""


@hookspec
def on_batch_end(run: Run, batch: Batch) -> None:
    """After the script's body and its update; ``batch.loss`` is None if the script gave no loss."""


@hookspec
def on_epoch_end(run: Run, summary: EpochSummary) -> None:
    """After the last batch of the epoch, before the history gets its row: averages and columns may be added."""


@hookspec
def on_alarm(run: Run, alarm: Alarm) -> None:
    """An alarm was raised, the first time for its code if ``alarm.count`` is 1; it is in ``run.alarms`` already."""


@hookspec
def on_exception(run: Run, error: BaseException) -> None:
    """An exception leaves the run, Ctrl-C included; called for every plugin, even if one of them raises here."""


@hookspec
def on_fit_end(run: Run) -> None:
    """The end of the run, also after an exception: close files; called for every plugin, even if one raises here."""


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
