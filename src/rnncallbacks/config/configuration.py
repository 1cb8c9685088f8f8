"""Configurations: which plugins a run has, from tables in TOML, environment variables and the caller's arguments.

A configuration is ``rnncallbacks.toml``, or the table ``[tool.rnncallbacks]`` of ``pyproject.toml``::

    preset = "recommended"             # the plugins of recommended(); or "guards"

    [plugins.gradient_clipping]
    max_norm = 1.0

    [plugins.slow_plateau]             # a second instance of a plugin, under another name
    plugin = "plateau_alarm"
    patience = 50

    [plugins.acme]
    enabled = false                    # neither imported nor run

Plugins are called in the order of their tables, those of the preset first.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from rnncallbacks.config.configuration_file import Source, read_source
from rnncallbacks.config.discovery import Found, find_own_plugin, find_plugins
from rnncallbacks.config.overrides import OVERRIDE_VARIABLE, apply_overrides, overrides_in_environment
from rnncallbacks.config.plugin_options import make_plugin
from rnncallbacks.config.plugin_table import Table
from rnncallbacks.errors import ConfigurationError, PluginError, closest, one_line, short_repr

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
"""The plugins of each preset in order, with the options that differ from the defaults."""
KEYS = ("preset", "plugins", "train")
MOST_TABLES = 1000
"""Most tables that are read: more plugins than any run uses. Messages about more of them would take seconds."""
REPAIR = "self_repair"
PROGRESS = "progress"


@attrs.define(eq=False)
class Configuration:
    """A configuration as it was read, before a plugin is imported.

    Attributes
    ----------
    where:
        The file, or a description if there is none.
    settings:
        The table ``[train]``, which only the command ``train`` reads.
    tables:
        The tables of plugins by name, in order.
    problems:
        The problems found so far.
    installed:
        The installed plugins by the name of their entry point.
    """

    where: str
    settings: Any
    tables: dict[str, Table] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)
    installed: dict[str, Found] = attrs.field(factory=dict)

    def enabled(self) -> list[Table]:
        """The tables of the enabled plugins, in order."""
        return [table for table in self.tables.values() if table.enabled]

    def make(self) -> dict[str, object]:
        """Import and make the enabled plugins.

        Raises
        ------
        ConfigurationError
            Lists all problems of the configuration.
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
        return plugin, [f"{table.place_of(key)}: {problem}" for key, problem in problems]

    def _add_repair(self) -> None:
        """Add ``self_repair`` if a table has ``action = "repair"`` and no table is for ``self_repair``."""
        asking = next(((table, key) for table in self.enabled() for key in _asking_for_repair(table.options)), None)
        if asking is not None and not self.matching(REPAIR):
            where = f'{asking[0].where} {asking[1]} = "repair"'
            self.tables[REPAIR] = Table(REPAIR, REPAIR, {"when": "asked"}, where, True, where)

    def matching(self, name: str) -> list[Table]:
        """The table of this name, or if there is none all tables whose entry point has the name."""
        if name in self.tables:
            return [self.tables[name]]
        return [table for table in self.tables.values() if table.plugin == name]


def load_plugins(
    source: Source = None,
    *,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    override: Mapping[str, Any] | None = None,
) -> dict[str, object]:
    """The plugins of a configuration by name, in the order in which they are called.

    The environment variables ``RNNCALLBACKS_PLUGINS`` and ``RNNCALLBACKS_DISABLE`` hold names separated by commas: of
    plugins to add and to take out. They override the file, and the arguments ``enable`` and ``disable`` override them.
    At each level, disabling overrides enabling. A disabled plugin is not imported.

    Parameters
    ----------
    source:
        None: ``rnncallbacks.toml``, or a ``pyproject.toml`` that has ``[tool.rnncallbacks]``, in the working directory
        or the nearest directory above it. A path: that file. A mapping: the content of such a file.
    enable:
        Names of plugins to add after the others with default options, or to enable if their tables have
        ``enabled = false``.
    disable:
        Names of plugins to take out.
    override:
        Options for this run by plugin and option, such as ``{"gradient_clipping.max_norm": 0.5}``. They override the
        file, and the environment variable ``RNNCALLBACKS_OVERRIDE``, which holds ``NAME.OPTION=VALUE`` separated by
        semicolons.

    Raises
    ------
    ConfigurationError
        There is no configuration, or it has problems. Each has a line with the place, the expected and
        the given value, and the closest match.

    Example
    -------
    >>> load_plugins({"plugins": {"gradient_clipping": {"max_norm": 1.0}}})
    {'gradient_clipping': GradientClipping(max_norm=1.0, mode='global')}
    >>> load_plugins({"plugins": {"gradient_cliping": {}, "loss_averaging": {"weight": 3}}})
    Traceback (most recent call last):
    rnncallbacks.errors.ConfigurationError: configuration: [plugins.gradient_cliping]: no plugin ...
    configuration: [plugins.loss_averaging] weight: expected 'batch' or 'sequence' or 'token', got 3
    """
    return read_configuration(source, enable=enable, disable=disable, override=override).make()


def recommended() -> dict[str, object]:
    """The recommended remedies and guards, with default options.

    The remedies are state reset, divergence alarm, clipping and loss averaging. The guards find the cause of a run that
    does not learn. The environment variables apply as in :func:`load_plugins`.

    Example
    -------
    >>> list(recommended())
    ['hidden_state_reset', 'divergence_alarm', 'protocol_guard', ..., 'gradient_clipping', 'loss_averaging']
    """
    return load_plugins({"plugins": {name: {} for name in RECOMMENDED}})


def plugin_for_evaluation(name: str, given: Mapping[str, object] | Iterable[object]) -> Any:
    """A copy of the plugin of this class among those given, or the library's plugin with default options."""
    return given_plugin(name, given) or find_own_plugin(name).load()()


def given_plugin(name: str, given: Mapping[str, object] | Iterable[object]) -> Any:
    """A copy of the plugin of this class among those given, or None."""
    kind = type(find_own_plugin(name).load()())
    plugins = given.values() if isinstance(given, Mapping) else given
    return next((copy.deepcopy(plugin) for plugin in plugins if isinstance(plugin, kind)), None)


def default_progress() -> object | None:
    """The plugin ``progress`` with default options, or None if ``RNNCALLBACKS_DISABLE`` names it."""
    return None if PROGRESS in _names_in(DISABLE_VARIABLE) else find_own_plugin(PROGRESS).load()()


def read_configuration(
    source: Source = None,
    *,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    override: Mapping[str, Any] | None = None,
    fallback: Mapping[str, Any] | None = None,
    additional: Mapping[str, Mapping[str, Any]] | None = None,
    argument_names: tuple[str, str, str] = ("enable", "disable", "override"),
) -> Configuration:
    """Read a configuration without importing a plugin.

    Parameters
    ----------
    source, enable, disable, override:
        As in :func:`load_plugins`.
    fallback:
        The configuration to use if there is no file.
    additional:
        Tables of plugins to add after the others, except for plugins that have a table.
    argument_names:
        The names of the arguments ``enable``, ``disable`` and ``override`` in messages.

    Raises
    ------
    ConfigurationError
        There is no configuration, or the file cannot be read. Other problems are listed in ``problems``.
    """
    installed = {found.name: found for found in find_plugins()}
    enable, disable = list(enable), list(disable)
    variables = _names_in(ENABLE_VARIABLE), _names_in(DISABLE_VARIABLE)
    if fallback is None and (enable or variables[0]):
        fallback = {}
    file = read_source(source, fallback)
    configuration = Configuration(file.where, settings=file.content.get("train", {}), installed=installed)
    _add_tables(configuration, file.content, file.prefix)
    for name, options in (additional or {}).items():
        if not configuration.matching(name):
            configuration.tables[name] = Table(name, name, dict(options), name, True, "always enabled here")
    _switch(configuration, variables[0], True, ENABLE_VARIABLE, ENABLE_VARIABLE)
    _switch(configuration, variables[1], False, DISABLE_VARIABLE, DISABLE_VARIABLE)
    enabling, disabling, overriding = argument_names
    _switch(configuration, enable, True, enabling, "-p")
    _switch(configuration, disable, False, disabling, "-p no:")
    if override is not None and not isinstance(override, Mapping):
        raise ConfigurationError(
            [f"override: expected a mapping such as {{'gradient_clipping.max_norm': 0.5}}, got {short_repr(override)}"]
        )
    from_environment, wrong = overrides_in_environment()
    configuration.problems += wrong
    for overrides, where in ((from_environment, OVERRIDE_VARIABLE), (override or {}, overriding)):
        configuration.problems += apply_overrides(overrides, where, configuration.matching, configuration.tables)
    return configuration


def _switch(configuration: Configuration, names: Iterable[str], enabled: bool, where: str, reason: str) -> None:
    tables, installed = configuration.tables, configuration.installed
    for name in names:
        matching = configuration.matching(name)
        for table in matching:
            table.enabled, table.reason = enabled, reason
        if not matching and name not in installed:
            configuration.problems.append(f"{where}: {_not_installed(name, {*tables, *installed})}")
        elif not matching:
            tables[name] = Table(name, name, {}, f"{where}: {name}", enabled, reason)


def _add_tables(configuration: Configuration, content: Mapping[str, Any], prefix: str) -> None:
    where, problems = configuration.where, configuration.problems
    unknown = [key for key in content if key not in KEYS]
    if len(unknown) > MOST_TABLES:
        problems.append(f"{where}: expected the keys {', '.join(KEYS)}, got {len(unknown)} others")
        unknown = []
    for key in unknown:
        near = closest(str(key), KEYS)
        if key in configuration.installed:
            near = f"did you mean [{prefix}plugins.{key}]?"
        places = f"[{prefix}plugins.NAME], or [{prefix}train] for those of the command train"
        problems.append(f"{where}: {short_repr(key)}: there is no such key; {near or f'options belong into {places}'}")
    preset, tables = content.get("preset"), content.get("plugins", {})
    if preset is not None and not (isinstance(preset, str) and preset in PRESETS):
        near = closest(str(preset), PRESETS) or f"expected {' or '.join(map(repr, PRESETS))}"
        problems.append(f"{where}: preset: there is no preset {short_repr(preset)}; {near}")
        preset = None
    if not isinstance(tables, Mapping):
        problems.append(f"{where}: plugins: expected tables [{prefix}plugins.NAME], got {short_repr(tables)}")
        return
    if len(tables) > MOST_TABLES:
        problems.append(f"{where}: plugins: expected at most {MOST_TABLES} tables, got {len(tables)}")
        return
    in_preset = PRESETS[preset] if preset else {}
    for name, options in {**in_preset, **tables}.items():
        place = f"{where}: [{prefix}plugins.{name}]"
        if not isinstance(options, Mapping):
            problems.append(f"{place}: expected a table, got {short_repr(options)}")
            continue
        rest = {**in_preset.get(name, {}), **options}
        enabled, plugin = rest.pop("enabled", True), rest.pop("plugin", name)
        for key, value, kind in (("enabled", enabled, bool), ("plugin", plugin, str)):
            if not isinstance(value, kind):
                problems.append(
                    f"{place} {key}: expected {kind.__name__}, got {short_repr(value)} ({type(value).__name__})"
                )
        if isinstance(enabled, bool) and isinstance(plugin, str):
            reason = where if enabled else f"{where}: enabled = false"
            configuration.tables[name] = Table(name, plugin, rest, place, enabled, reason)


def _asking_for_repair(table_options: Mapping[str, Any]) -> list[str]:
    """The keys of a plugin's actions that are "repair": ``action``, and others such as ``divergence_action``."""
    return [key for key, value in table_options.items() if key.endswith("action") and value == "repair"]


def _names_in(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _not_installed(name: str, known: Iterable[str]) -> str:
    near = closest(name, known) or "run 'rnncallbacks plugins' for those that are"
    return f"no plugin {name!r} is installed; {near}"
