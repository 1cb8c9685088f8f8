"""The attributes that a plugin may have besides hooks, and that the library reads.

All of them are optional. A plugin that has none of them is an object with hooks and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

from rnncallbacks.alarms.alarm import Action
from rnncallbacks.alarms.registered_codes import find_entry
from rnncallbacks.errors import OptionError, PluginError, one_line

if TYPE_CHECKING:
    from rnncallbacks.alarms.finding import CheckResult


@runtime_checkable
class HasAction(Protocol):
    """A plugin that raises alarms with an action of its own.

    If ``action`` is ``"repair"``, the run must have a plugin that repairs.
    """

    @property
    def action(self) -> Action:
        """One of "warn", "stop", "raise" and "repair"."""
        ...


@runtime_checkable
class RepairsAlarms(Protocol):
    """A plugin that repairs: its ``on_alarm`` calls ``run.report_repair`` for the alarms that it acted on."""

    @property
    def repairs(self) -> bool:
        """True if the plugin repairs."""
        ...


@runtime_checkable
class ConcludesChecks(Protocol):
    """A guard, such as one that derives from :class:`~rnncallbacks.bases.Guard`: it concludes checks of the run.

    The doctor adds guards of its own to a script, and leaves out those of the script.
    """

    def conclude(self, run: Any, result: CheckResult) -> None:
        """Add a result to the diagnosis of the run, and raise the alarm for its finding if it has one."""
        ...


def check_codes(plugins: Mapping[str, object]) -> None:
    """Refuse a plugin with an alarm code whose registration is wrong.

    Raises
    ------
    PluginError
        Two packages register the code, or its entry cannot be loaded.
    """
    for name, plugin in plugins.items():
        codes = _attribute(name, plugin, "codes")
        for code in codes if isinstance(codes, tuple | list) else ():
            if isinstance(code, str):
                find_entry(code)


@runtime_checkable
class OfFirstRank(Protocol):
    """A plugin that is called in the first process only, if several processes train one network.

    It writes files, shows the run, or examines the rows of a batch, which differ between processes. All other plugins
    are called in each process. They see the same losses and gradients there, and must do the same.
    """

    @property
    def first_rank_only(self) -> bool:
        """True if the plugin is called in the first process only."""
        ...


@runtime_checkable
class Rests(Protocol):
    """A plugin that rests: its hooks of training batches are not called before a step.

    :class:`~rnncallbacks.core.resting.BatchHookCall` lists the batches that interrupt a rest.
    """

    @property
    def due_step(self) -> float:
        """The step of the first training batch that the plugin sees again."""
        ...


@runtime_checkable
class AdmitsPlugins(Protocol):
    """A plugin that decides which plugins of the run are called in this process."""

    def admits(self, plugin: object) -> bool:
        """Whether the hooks of ``plugin`` are called."""
        ...


def is_of_first_rank(plugin: object) -> bool:
    """Whether a plugin is called in the first process only."""
    return getattr(type(plugin), "first_rank_only", False) is True


def is_admitted(plugin: object, others: Iterable[object]) -> bool:
    """Whether all other plugins that have ``admits`` admit a plugin."""
    deciding = (one for one in others if one is not plugin and hasattr(type(one), "admits"))
    return all(one.admits(plugin) for one in deciding if isinstance(one, AdmitsPlugins))


def check_repairs(plugins: Mapping[str, object]) -> None:
    """Refuse a plugin with the action "repair" where no plugin repairs.

    Raises
    ------
    OptionError
        Names the first such plugin.
    PluginError
        An attribute of a plugin cannot be read.
    """
    if any(_attribute(name, plugin, "repairs") is True for name, plugin in plugins.items()):
        return
    for name, plugin in plugins.items():
        asking = (option for option in _action_options(plugin) if _asks(_attribute(name, plugin, option)))
        option = next(asking, None)
        if option is not None:
            raise OptionError(
                f"{name}: {option}='repair' needs a plugin that repairs, and the run has none",
                hint="add SelfRepair() to the plugins, or enable self_repair",
            )


def _asks(action: object) -> bool:
    return isinstance(action, str) and action == "repair"


def _action_options(plugin: object) -> list[str]:
    """The names of a plugin's actions: ``action``, and one for some of its codes, such as ``divergence_action``."""
    kind = type(plugin)
    fields = attrs.fields(kind) if attrs.has(kind) else ()
    more = [field.name for field in fields if field.name.endswith("_action")]
    return ["action", *more]


def _attribute(name: str, plugin: object, attribute: str) -> object:
    try:
        return getattr(plugin, attribute, None)
    except Exception as error:
        raise PluginError(f"plugin {name!r}: its attribute {attribute!r} cannot be read: {one_line(error)}") from error
