"""From a configuration to plugins: tables in TOML, two environment variables, and what a caller adds or takes out.

A configuration is ``rnncallbacks.toml``, or the table ``[tool.rnncallbacks]`` of ``pyproject.toml``::

    preset = "recommended"             # the plugins of recommended(); or "guards"

    [plugins.gradient_clipping]
    max_norm = 1.0

    [plugins.slow_plateau]             # a second instance of one plugin, under a name of its own
    plugin = "plateau_alarm"
    patience = 50

    [plugins.acme]
    enabled = false                    # taken out, and not even imported

Plugins are called in the order of their tables, those of the preset first.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from rnncallbacks.config.discovery import Found, find_own_plugin, find_plugins
from rnncallbacks.config.plugin_options import make_plugin, one_line
from rnncallbacks.errors import ConfigurationError, PluginError, closest

FILE = "rnncallbacks.toml"
PYPROJECT = "pyproject.toml"
ENABLE_VARIABLE = "RNNCALLBACKS_PLUGINS"
DISABLE_VARIABLE = "RNNCALLBACKS_DISABLE"
GUARDS = (
    "protocol_guard",
    "loss_report_guard",
    "hidden_state_guard",
    "loss_function_guard",
    "gradient_guard",
    "update_guard",
    "progress_guard",
)
RECOMMENDED = ("hidden_state_reset", "divergence_alarm", *GUARDS, "gradient_clipping", "loss_averaging")
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "guards": {"divergence_alarm": {"action": "warn"}} | {name: {} for name in GUARDS},
    "recommended": {name: {} for name in RECOMMENDED},
}
"""The plugins of each preset, in their order, with what differs from their default options."""
KEYS = ("preset", "plugins", "train")
REPAIR = "self_repair"
PROGRESS = "progress"

Source = str | os.PathLike[str] | Mapping[str, Any] | None


@attrs.define(eq=False)
class Table:
    """One plugin of a configuration.

    ``name`` is the plugin's name in the run, ``plugin`` its entry point's. ``where`` and ``reason`` say in words where
    the table stands, and what enables or disables it.
    """

    name: str
    plugin: str
    options: dict[str, Any]
    where: str
    enabled: bool
    reason: str


@attrs.define(eq=False)
class Configuration:
    """A configuration as it was read: its tables by name, in order, and what is wrong with it so far.

    ``where`` names the file, or says that there is none. ``settings`` is its table ``[train]``, which is for the
    command of that name alone.
    """

    where: str
    settings: Any
    tables: dict[str, Table] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)
    installed: dict[str, Found] = attrs.field(factory=dict)

    def enabled(self) -> list[Table]:
        """The tables of the plugins that run, in order."""
        return [table for table in self.tables.values() if table.enabled]

    def make(self) -> dict[str, object]:
        """Import and make the enabled plugins.

        Raises
        ------
        ConfigurationError
            With every problem of the configuration.
        """
        self._add_repair()
        problems = list(self.problems)
        plugins: dict[str, object] = {}
        for table in self.enabled():
            plugin, wrong = self._make(table)
            plugins[table.name] = plugin
            problems += wrong
        if problems:
            raise ConfigurationError(problems)
        return plugins

    def _make(self, table: Table) -> tuple[object, list[str]]:
        found = self.installed.get(table.plugin)
        if found is None:
            return None, [f"{table.where}: {_not_installed(table.plugin, self.installed)}"]
        try:
            factory = found.load()
        except PluginError as error:
            return None, [f"{table.where}: {one_line(error)}"]
        plugin, problems = make_plugin(factory, table.options)
        return plugin, [f"{table.where}{' ' if key else ''}{key}: {problem}" for key, problem in problems]

    def _add_repair(self) -> None:
        """Whoever asks for a repair gets the plugin that does it, for the alarms that ask, unless it was taken out."""
        asking = next((table for table in self.enabled() if table.options.get("action") == "repair"), None)
        if asking is not None and not self.matching(REPAIR):
            where = f'{asking.where} action = "repair"'
            self.tables[REPAIR] = Table(REPAIR, REPAIR, {"when": "asked"}, where, True, where)

    def matching(self, name: str) -> list[Table]:
        """The table of this name; if there is none, all tables of the plugin of this name."""
        if name in self.tables:
            return [self.tables[name]]
        return [table for table in self.tables.values() if table.plugin == name]


def load_plugins(
    source: Source = None, *, enable: Iterable[str] = (), disable: Iterable[str] = ()
) -> dict[str, object]:
    """The plugins of a configuration, by name, in the order in which they are to be called.

    The environment variables ``RNNCALLBACKS_PLUGINS`` and ``RNNCALLBACKS_DISABLE``, names with commas between them, add
    plugins and take them out. They win over the file, and ``enable`` and ``disable`` win over them; of the two,
    disabling wins. A plugin that is disabled is not imported.

    Parameters
    ----------
    source:
        None: ``rnncallbacks.toml``, or a ``pyproject.toml`` that has ``[tool.rnncallbacks]``, in the working directory
        or the nearest directory above it. A path: that file. A mapping: what such a file would hold.
    enable:
        Names of plugins to add with default options behind the others, or to enable where their tables say
        ``enabled = false``.
    disable:
        Names of plugins to take out.

    Raises
    ------
    ConfigurationError
        With all problems, each on a line that says where, what was expected, what came, and the nearest match; or there
        is no configuration.

    Example
    -------
    >>> load_plugins({"plugins": {"gradient_clipping": {"max_norm": 1.0}}})
    {'gradient_clipping': GradientClipping(max_norm=1.0, mode='global')}
    >>> load_plugins({"plugins": {"gradient_cliping": {}, "loss_averaging": {"weight": 3}}})
    Traceback (most recent call last):
    rnncallbacks.errors.ConfigurationError: configuration: [plugins.gradient_cliping]: no plugin ...
    configuration: [plugins.loss_averaging] weight: expected Literal['batch', 'sequence', 'token'], got 3
    """
    return read_configuration(source, enable=enable, disable=disable).make()


def recommended() -> dict[str, object]:
    """Remedies and guards in one word, with default options.

    The remedies are state reset, divergence alarm, clipping and loss averaging; guards name the cause of a sick run.

    The environment variables that add plugins and take them out hold here too.

    Example
    -------
    >>> list(recommended())
    ['hidden_state_reset', 'divergence_alarm', 'protocol_guard', ..., 'gradient_clipping', 'loss_averaging']
    """
    return load_plugins({"plugins": {name: {} for name in RECOMMENDED}})


def default_progress() -> object | None:
    """The plugin ``progress`` with default options, or None if ``RNNCALLBACKS_DISABLE`` names it."""
    return None if PROGRESS in _names_in(DISABLE_VARIABLE) else find_own_plugin(PROGRESS).load()()


def read_configuration(
    source: Source = None,
    *,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    otherwise: Mapping[str, Any] | None = None,
    behind: Mapping[str, Mapping[str, Any]] | None = None,
) -> Configuration:
    """Read a configuration without importing a plugin; its arguments are those of :func:`load_plugins`.

    ``otherwise`` is the configuration if there is none. ``behind`` holds tables of plugins that come behind all others,
    each unless there is one for that plugin.

    Raises
    ------
    ConfigurationError
        There is no configuration, or it cannot be read. Other problems wait in ``problems``.
    """
    installed = {found.name: found for found in find_plugins()}
    enable, disable = list(enable), list(disable)
    variables = _names_in(ENABLE_VARIABLE), _names_in(DISABLE_VARIABLE)
    if otherwise is None and (enable or variables[0]):
        otherwise = {}
    where, prefix, content = _read(source, otherwise)
    configuration = Configuration(where, settings=content.get("train", {}), installed=installed)
    _add_tables(configuration, content, prefix)
    for name, options in (behind or {}).items():
        if not configuration.matching(name):
            configuration.tables[name] = Table(name, name, dict(options), name, True, "always enabled here")
    _switch(configuration, variables[0], True, ENABLE_VARIABLE, ENABLE_VARIABLE)
    _switch(configuration, variables[1], False, DISABLE_VARIABLE, DISABLE_VARIABLE)
    _switch(configuration, enable, True, "enable", "-p")
    _switch(configuration, disable, False, "disable", "-p no:")
    return configuration


def _switch(configuration: Configuration, names: Iterable[str], enabled: bool, where: str, reason: str) -> None:
    tables, installed = configuration.tables, configuration.installed
    for name in names:
        matching = configuration.matching(name)
        for table in matching:
            table.enabled, table.reason = enabled, reason
        if not matching and name not in installed:
            configuration.problems.append(f"{where}: {_not_installed(name, {*tables, *installed})}")
        elif not matching and enabled:
            tables[name] = Table(name, name, {}, f"{where}: {name}", True, reason)


def _add_tables(configuration: Configuration, content: Mapping[str, Any], prefix: str) -> None:
    where, problems = configuration.where, configuration.problems
    for key in content:
        if key not in KEYS:
            near = closest(str(key), KEYS)
            if key in configuration.installed:
                near = f"did you mean [{prefix}plugins.{key}]?"
            problems.append(f"{where}: {key!r}: there is no such key; {near or f'expected [{prefix}plugins.NAME]'}")
    preset, tables = content.get("preset"), content.get("plugins", {})
    if preset is not None and preset not in PRESETS:
        near = closest(str(preset), PRESETS) or f"expected {' or '.join(map(repr, PRESETS))}"
        problems.append(f"{where}: preset: there is no preset {preset!r}; {near}")
        preset = None
    if not isinstance(tables, Mapping):
        problems.append(f"{where}: plugins: expected tables [{prefix}plugins.NAME], got {tables!r}")
        return
    in_preset = PRESETS[preset] if preset else {}
    for name, options in {**in_preset, **tables}.items():
        place = f"{where}: [{prefix}plugins.{name}]"
        if not isinstance(options, Mapping):
            problems.append(f"{place}: expected a table, got {options!r}")
            continue
        rest = {**in_preset.get(name, {}), **options}
        enabled, plugin = rest.pop("enabled", True), rest.pop("plugin", name)
        for key, value, kind in (("enabled", enabled, bool), ("plugin", plugin, str)):
            if not isinstance(value, kind):
                problems.append(f"{place} {key}: expected {kind.__name__}, got {value!r} ({type(value).__name__})")
        if isinstance(enabled, bool) and isinstance(plugin, str):
            reason = where if enabled else f"{where}: enabled = false"
            configuration.tables[name] = Table(name, plugin, rest, place, enabled, reason)


def _read(source: Source, otherwise: Mapping[str, Any] | None) -> tuple[str, str, Mapping[str, Any]]:
    """Where the configuration stands in words, what precedes its keys there, and its content."""
    if isinstance(source, Mapping):
        return "configuration", "", source
    if source is not None:
        found = _read_file(Path(source))
        if found is None:
            raise ConfigurationError([f"{source}: there is no table [tool.rnncallbacks]"], hint=_what_to_write())
        return found
    here = Path.cwd()
    for directory in (here, *here.parents):
        for path in (directory / FILE, directory / PYPROJECT):
            if path.is_file() and (found := _read_file(path)) is not None:
                return found
    if otherwise is not None:
        return "no configuration file", "", otherwise
    raise ConfigurationError(
        [f"no configuration: looked for {FILE}, and {PYPROJECT} with [tool.rnncallbacks], in {here} and above it"],
        hint=_what_to_write(),
    )


def _read_file(path: Path) -> tuple[str, str, Mapping[str, Any]] | None:
    here = Path.cwd()
    where = str(path.relative_to(here) if path.is_relative_to(here) else path)
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError([f"{where}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{where}: expected UTF-8 text: {error}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{where}: not valid TOML: {error}"]) from None
    if path.name != PYPROJECT:
        return where, "", content
    tool = content.get("tool", {})
    if not isinstance(tool, Mapping) or "rnncallbacks" not in tool:
        return None
    if not isinstance(tool["rnncallbacks"], Mapping):
        raise ConfigurationError([f"{where}: tool.rnncallbacks: expected a table, got {tool['rnncallbacks']!r}"])
    return where, "tool.rnncallbacks.", tool["rnncallbacks"]


def _names_in(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _not_installed(name: str, known: Iterable[str]) -> str:
    near = closest(name, known) or "run 'rnncallbacks plugins' for those that are"
    return f"no plugin {name!r} is installed; {near}"


def _what_to_write() -> str:
    return f"write a line [plugins.{RECOMMENDED[0]}] into {FILE}, or pass plugins=recommended()"
