"""The order in which the plugins of a run are called, and what an implementation of each hook may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs
import pluggy

from rnncallbacks.core.hook_call import is_ahead, is_wrapper
from rnncallbacks.core.hookspecs import Hook
from rnncallbacks.core.plugin_manager import Plugins

Place: TypeAlias = Literal["ahead", "around", "first", "as listed", "last"]
"""Where an implementation is called: the places, in the order of the calls."""

MAY_CHANGE: Mapping[Hook, Mapping[Place, str]] = {
    "on_fit_start": {
        "ahead": "the parameters, in place; the position of the run, with run.resume",
        "as listed": "the parameters, in place",
    },
    "on_epoch_start": {"as listed": "the learning rate, with run.scale_learning_rate"},
    "on_batch_start": {
        "ahead": "the rows that the script gets, batch.data and batch.starts",
        "as listed": "the hidden state, with run.reset_hidden; the learning rate; run.skip_batch",
    },
    "on_backward": {
        "ahead": "the gradients, in place; batch.loss, batch.sequences, batch.tokens and batch.closure",
        "first": "nothing but run.skip_batch: it sees the gradients of the script",
        "as listed": "the gradients, in place; run.skip_batch",
        "last": "nothing: it sees the gradients of the update",
    },
    "on_batch_end": {"as listed": "the columns, with run.log"},
    "on_epoch_end": {
        "ahead": "summary.losses; the columns, with run.log",
        "first": "the columns, with run.log",
        "as listed": "the columns; the learning rate; the parameters, in place",
        "last": "nothing: it sees the complete row",
    },
    "on_alarm": {"as listed": "a repair, reported with run.report_repair"},
    "on_exception": {"as listed": "nothing"},
    "on_fit_end": {"as listed": "the parameters, in place"},
}
"""What an implementation in a place may change in a hook. A place that is missing has the entry of "as listed"."""


@attrs.frozen
class HookPosition:
    """One implementation of a hook in the order of the calls.

    Attributes
    ----------
    plugin:
        The name of the plugin.
    place:
        Where it is called; "around" for a wrapper that is not ahead.
    wraps:
        Whether it is a wrapper, whose second half follows the implementations after it.
    may_change:
        What it may change.
    """

    plugin: str
    place: Place
    wraps: bool
    may_change: str


def call_order(plugins: Plugins, hook: Hook) -> list[HookPosition]:
    """The implementations of a hook in the order in which they are called.

    Example
    -------
    >>> from rnncallbacks.plugins import GradientClipping, LossAveraging
    >>> for position in call_order(Plugins([GradientClipping(), LossAveraging()]), "on_epoch_end"):
    ...     print(position.plugin, position.place)
    loss_averaging ahead
    gradient_clipping first
    """
    changes = MAY_CHANGE[hook]
    found = []
    for one in plugins.implementations(hook):
        place = _place(one)
        found.append(HookPosition(one.plugin_name, place, is_wrapper(one), changes.get(place, changes["as listed"])))
    return found


def _place(implementation: pluggy.HookImpl) -> Place:
    if is_ahead(implementation):
        return "ahead"
    if is_wrapper(implementation):
        return "around"
    if implementation.tryfirst:
        return "first"
    return "last" if implementation.trylast else "as listed"
