"""``rnncallbacks plugins``: the installed plugins, with their options and whether a configuration enables them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from rnncallbacks.cli.command_options import PluginSwitches, config_option, switches_option
from rnncallbacks.config.configuration import RECOMMENDED, Configuration
from rnncallbacks.config.discovery import Found, find_plugins
from rnncallbacks.config.plugin_options import Option, make_plugin, options_of
from rnncallbacks.config.plugin_table import Table
from rnncallbacks.core.call_order import call_order
from rnncallbacks.core.hookspecs import HOOKS, Hook
from rnncallbacks.core.plugin_checks import hooks_of
from rnncallbacks.core.plugin_manager import Plugins
from rnncallbacks.errors import PluginError, one_line
from rnncallbacks.files import printable

OWN = "rnncallbacks"
STATE_STYLES = {"enabled": "green", "disabled": "yellow", "failed": "bold red", "not enabled": "dim"}


@click.command(short_help="List the installed plugins.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="One line for each option, with its type. Also imports plugins of other packages that are not enabled.",
)
@click.option(
    "--order",
    "hook",
    type=click.Choice(list(HOOKS)),
    metavar="HOOK",
    help="List the enabled plugins in the order in which a hook, such as on_backward, is called, and what each may "
    "change there.",
)
@config_option
@switches_option
def plugins(verbose: bool, hook: Hook | None, config: Path | None, switches: PluginSwitches) -> None:
    """List the installed plugins: what each does, its hooks and options, and why it is enabled or not.

    A disabled plugin is never imported. A plugin of another package that no configuration enables is imported only with
    -v: without it, its hooks and options are not listed.
    """
    if hook is not None:
        _show_order(hook, config, switches)
        return
    configuration = switches.read(config, fallback={})
    console = Console(highlight=False, soft_wrap=False)
    console.print(Text.assemble("configuration: ", (configuration.where, "bold")), soft_wrap=True)
    for found in find_plugins():
        console.print()
        _show(console, configuration, found, verbose)
    for table in configuration.tables.values():
        if table.plugin not in configuration.installed:
            console.print()
            state = ("disabled", f"by {table.reason}") if not table.enabled else ("failed", "it is not installed")
            console.print(_head(table.name, "", *state))
    for problem in configuration.problems:
        console.print(Text.assemble("\n", ("problem", "bold red"), f" {printable(problem)}"), soft_wrap=True)


def _show_order(hook: Hook, config: Path | None, switches: PluginSwitches) -> None:
    recommended: dict[str, Any] = {"plugins": {name: {} for name in RECOMMENDED}}
    configuration = switches.read(config, fallback=recommended)
    positions = call_order(Plugins(configuration.make()), hook)
    console = Console(highlight=False, soft_wrap=False)
    console.print(Text.assemble("configuration: ", (configuration.where, "bold")), soft_wrap=True)
    console.print(Text.assemble((hook, "bold"), "" if positions else ": no plugin implements it"))
    numbered = enumerate(positions, 1)
    for place, group in itertools.groupby(numbered, key=lambda one: one[1].place):
        members = list(group)
        changes = Text(f"{place}: may change {members[0][1].may_change}", "dim")
        console.print(Padding(changes, (0, 0, 0, 4), expand=False))
        for number, position in members:
            around = "  around those that follow" if position.wraps else ""
            console.print(Text.assemble(f"{number:3} ", (printable(position.plugin), "bold"), (around, "dim")))


def _show(console: Console, configuration: Configuration, found: Found, verbose: bool) -> None:
    tables = [table for table in configuration.tables.values() if table.plugin == found.name]
    package = f"{found.distribution} {found.version}"
    if tables and not any(table.enabled for table in tables):
        console.print(_head(found.name, package, "disabled", f"by {tables[0].reason}; not imported"))
        return
    if not tables and not verbose and found.distribution != OWN:
        console.print(_head(found.name, package, "not enabled", "and not imported (-v lists its options)"))
        return
    try:
        factory = found.load()
        options = options_of(factory)
    except (PluginError, TypeError, ValueError) as error:
        console.print(_head(found.name, package, "failed", ""))
        console.print(Padding(Text(printable(one_line(error))), (0, 0, 0, 4)))
        return
    if not tables:
        console.print(_head(found.name, package, "not enabled", ""))
        console.print(_facts(found, factory, options, {}, verbose))
    for table in tables:
        name = found.name if table.name == found.name else f"{table.name} ({found.name})"
        problems = _problems(factory, table)
        state = "failed" if problems else "enabled" if table.enabled else "disabled"
        console.print(_head(name, package, state, f"by {table.reason}" if not problems else ""))
        for problem in problems:
            console.print(Padding(Text(printable(problem)), (0, 0, 0, 4)))
        console.print(_facts(found, factory, options, table.options, verbose))


def _problems(factory: Callable[..., object], table: Table) -> list[str]:
    if not table.enabled:
        return []
    return [f"{name}: {problem}" if name else problem for name, problem in make_plugin(factory, table.options)[1]]


def _head(name: str, package: str, state: str, why: str) -> Text:
    return Text.assemble(
        (printable(name), "bold"),
        f"  {package}  " if package else "  ",
        (state, STATE_STYLES[state]),
        f" {why}" if why else "",
    )


def _facts(
    found: Found, factory: Callable[..., object], options: dict[str, Option], given: dict[str, Any], verbose: bool
) -> Padding:
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    # The hooks of a plugin that a function makes are not known before it is made.
    implemented = hooks_of(factory) if isinstance(factory, type) else None
    hooks = "known when it is made" if implemented is None else ", ".join(hook for hook in HOOKS if hook in implemented)
    grid.add_row("does", _summary(factory))
    grid.add_row("hooks", hooks or "none")
    first_required = sorted(options.values(), key=lambda option: not option.required)
    described = [_option(option, given, verbose) for option in first_required]
    if verbose:
        grid.add_row("from", found.entry_point.value)
    grid.add_row("options", Text(("\n" if verbose else ", ").join(described) or "none"))
    return Padding(grid, (0, 0, 0, 4), expand=False)


def _option(option: Option, given: dict[str, Any], verbose: bool) -> str:
    typed = f": {option.type}" if verbose else ""
    # No-break spaces keep a name and its value on one line.
    default = "required" if option.required else f"default {_value(option.default)}"
    if option.name in given:
        text = f"{option.name}{typed} = {_value(given[option.name])} ({default})"
    else:
        text = f"{option.name}{typed} " + ("(required)" if option.required else f"= {_value(option.default)}")
    return text.replace(" ", "\u00a0")


def _value(value: Any) -> str:
    """The value as a configuration has it: a path is a string, and a tuple a list."""
    if isinstance(value, Path):
        return repr(str(value))
    return repr(list(value) if isinstance(value, tuple) else value)


def _summary(factory: Callable[..., object]) -> str:
    """The first line of the docstring."""
    lines = (factory.__doc__ or "").strip().splitlines()
    return lines[0].replace("``", "") if lines else "no description"
