"""The plugins that ``rnncallbacks doctor`` adds to the runs of a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rnncallbacks.cli.command_options import PluginSwitches
from rnncallbacks.config.configuration import Configuration
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.core.plugin_attributes import ConcludesChecks
from rnncallbacks.errors import PluginError, one_line

DISTRIBUTION = "rnncallbacks"
DIVERGENCE_ALARM = "divergence_alarm"
ALARM_SELECTION = "alarm_selection"


def guard_configuration(config: Path | None, switches: PluginSwitches) -> Configuration:
    """A configuration reduced to the plugins that diagnose, with every guard of this distribution added.

    Guards of other distributions and the options of all guards are those of the configuration file. Plugins that
    ``-p`` names are kept in any case.
    """
    guards: dict[str, dict[str, Any]] = {}
    for found in find_plugins():
        if found.distribution != DISTRIBUTION:
            continue
        try:
            if _is_guard(found.load()):
                guards[found.name] = {}
        except PluginError as error:
            click.echo(f"left out: {one_line(error)}", err=True)
    guards[DIVERGENCE_ALARM] = {"action": "warn"}
    configuration = switches.read(
        config,
        fallback={},
        additional=guards,
    )
    for name, table in list(configuration.tables.items()):
        if table.plugin in (DIVERGENCE_ALARM, ALARM_SELECTION) or table.reason == "-p" or not table.enabled:
            continue
        installed = configuration.installed.get(table.plugin)
        try:
            if installed is None or not _is_guard(installed.load()):
                del configuration.tables[name]
        except PluginError as error:
            click.echo(f"left out: {one_line(error)}", err=True)
            del configuration.tables[name]
    return configuration


def _is_guard(factory: Callable[..., object]) -> bool:
    return isinstance(factory, type) and issubclass(factory, ConcludesChecks)
