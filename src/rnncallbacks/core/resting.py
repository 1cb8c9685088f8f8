"""Leaves plugins that have nothing to do in a training batch out of its hooks, and counts those batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks.core.hook_call import HookCall, is_ahead
from rnncallbacks.core.plugin_attributes import Rests
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import PluginError, short_repr

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

BATCH_HOOKS = ("on_batch_start", "on_backward", "on_batch_end")
LONGEST_REST = 1000
"""Training batches after which a guard that keeps missed losses sees a batch again. A bound on their number."""


def period_at(number: int, first: int) -> int:
    """The period of looks at batch ``number``: ``first`` up to twice that number, then doubled with it, three times.

    Example
    -------
    >>> [period_at(number, 100) for number in (50, 199, 200, 400, 800, 5000)]
    [100, 100, 200, 400, 800, 800]
    """
    return first << min(max((number // first).bit_length() - 1, 0), 3)


@attrs.define(eq=False)
class SeenBatches:
    """The training batches that a resting plugin has seen, and how many were left out between them.

    Example
    -------
    >>> seen = SeenBatches()
    >>> seen.see(1), seen.see(2), seen.see(10), seen.left_out(12)
    (0, 0, 7, 2)
    """

    last: int = state_field(0)

    def start(self, step: int) -> None:
        """Begin at a step of the run, unless a checkpoint has restored the last batch that was seen."""
        self.last = self.last or step

    def see(self, step: int) -> int:
        """Note that this batch is seen; the number of those left out before it."""
        count, self.last = self.left_out(step - 1), step
        return count

    def left_out(self, step: int) -> int:
        """The number of batches up to this one that were left out since the last one that was seen."""
        return step - self.last


class BatchHookCall:
    """One hook of a batch, without the plugins that rest in it.

    A plugin rests in the training batches before the step ``plugin.due_step``, except for the first and the last one of
    a pass over the loader. From ``on_backward`` on, a batch is seen by all plugins if its loss or gradient is not
    finite, and by those whose ``due_loss`` or ``due_norm``, if they have one, is below its loss or the norm of its
    gradient. With several processes, these are the loss and the gradient of the whole batch. Where a plugin has a list
    ``missed_losses``, the loss of each batch in which it rested is appended, unless the batch was skipped or had no
    finite loss; where it has ``missed_norms``, the norm of each gradient.

    Parameters
    ----------
    hook:
        The name of the hook.
    call:
        The call of all plugins.
    plugins:
        Those with an attribute ``due_step``.

    Attributes
    ----------
    implementations:
        Those of the hook, in the order in which they are called.
    """

    def __init__(self, hook: str, call: HookCall, plugins: Sequence[Any]) -> None:
        self.implementations = call.implementations
        self._hook = hook
        self._plugins = plugins
        self._ahead: HookCall | None = None
        others: HookCall | None = call
        ahead = [one.plugin for one in call.implementations if is_ahead(one)]
        if ahead and hook == "on_backward":  # they replace loss and gradients, on which it depends who rests
            self._ahead, others = call.only_ahead(then=self._call_others), call.without(ahead)
        self._call = others
        self._rests: dict[tuple[bool, ...], Rest] = {(): Rest(others)}

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        """Call the implementations of the plugins that do not rest; the result and the errors are those of the call."""
        return self._call_others(arguments) if self._ahead is None else self._ahead(arguments)

    def _call_others(self, arguments: Mapping[str, Any]) -> Any:
        batch: Batch = arguments["batch"]
        resting = batch.resting
        if resting is None:
            resting = batch.resting = self._resting(arguments["run"], batch)
        rest = self._rests.get(resting) or self._rest_of(resting)
        if resting:
            loss = batch.loss
            if self._hook == "on_backward":
                rest = self._interrupted(rest, batch, loss, arguments["grads"].norm)
            elif self._hook == "on_batch_end" and loss is not None:
                if not math.isfinite(loss):  # given to run.record
                    batch.resting, rest = (), self._rests[()]
                elif not batch.skipped:
                    for plugin in rest.keeping_losses:
                        plugin.missed_losses.append(loss)
        return [] if rest.call is None else rest.call(arguments)

    def _resting(self, run: Any, batch: Batch) -> tuple[bool, ...]:
        if batch.phase != "train" or batch.index in (1, batch.count):
            return ()
        step = run.step
        try:
            resting = tuple([plugin.due_step > step for plugin in self._plugins])
            return resting if True in resting else ()
        except (TypeError, ValueError):
            _check_steps(self._plugins)
            raise

    def _interrupted(self, rest: Rest, batch: Batch, loss: float | None, norm: float) -> Rest:
        """The rest in a batch with this loss and this norm of the gradient."""
        if loss is None or not math.isfinite(loss) or not math.isfinite(norm):
            batch.resting = ()
            return self._rests[()]
        woken = [plugin for plugin in rest.awaiting_loss if loss > plugin.due_loss]
        woken += [plugin for plugin in rest.awaiting_norm if norm > plugin.due_norm]
        if woken:
            still = set(map(id, rest.plugins)) - set(map(id, woken))
            resting = tuple([id(plugin) in still for plugin in self._plugins])
            batch.resting, rest = resting, self._rests.get(resting) or self._rest_of(resting)
        for plugin in rest.keeping_norms:
            plugin.missed_norms.append(norm)
        return rest

    def _rest_of(self, resting: tuple[bool, ...]) -> Rest:
        plugins = [plugin for plugin, rests in zip(self._plugins, resting, strict=True) if rests]
        rest = self._rests[resting] = Rest(None if self._call is None else self._call.without(plugins), plugins)
        return rest


class Rest:
    """The plugins that rest in a batch, those of them with each attribute, and the call of the others for one hook."""

    def __init__(self, call: HookCall | None, plugins: Sequence[Any] = ()) -> None:
        self.call = call
        self.plugins = plugins
        self.awaiting_loss, self.awaiting_norm, self.keeping_losses, self.keeping_norms = (
            [plugin for plugin in plugins if hasattr(plugin, name)]
            for name in ("due_loss", "due_norm", "missed_losses", "missed_norms")
        )


def by_hook(calls: Mapping[str, HookCall], plugins: Iterable[object]) -> dict[str, HookCall | BatchHookCall | None]:
    """The calls by hook; those of a batch leave out plugins that rest. None where no plugin implements the hook."""
    resters = [plugin for plugin in plugins if isinstance(plugin, Rests)]
    found: dict[str, HookCall | BatchHookCall | None] = {}
    for hook, call in calls.items():
        rests = resters and hook in BATCH_HOOKS
        found[hook] = None if not call.implementations else BatchHookCall(hook, call, resters) if rests else call
    return found


def _check_steps(plugins: Iterable[Rests]) -> None:
    for plugin in plugins:
        if not isinstance(plugin.due_step, Real):
            raise PluginError(
                f"{type(plugin).__name__}.due_step: expected a number, got {short_repr(plugin.due_step)}",
                hint="set it to the step of the next training batch that the plugin has to see; 0 for the next one",
            )
