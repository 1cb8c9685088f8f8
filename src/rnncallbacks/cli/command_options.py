"""Options of several commands: the configuration file, the plugins to add or to take out, and their options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from rnncallbacks.config.configuration import Configuration, read_configuration
from rnncallbacks.config.overrides import parse_override
from rnncallbacks.errors import ConfigurationError

SWITCH_NAMES = ("-p", "-p", "-o")
"""The names in messages for the plugins to enable, those to disable, and the overrides."""
ClickCommand = TypeVar("ClickCommand", bound=Callable[..., Any])


@attrs.frozen
class PluginSwitches:
    """The names of the plugins that ``-p`` adds and takes out, and the options that ``-o`` sets."""

    enable: list[str]
    disable: list[str]
    override: dict[str, Any]

    @classmethod
    def from_words(cls, words: Iterable[str], overrides: Iterable[str] = ()) -> PluginSwitches:
        """Parse the values of the two options.

        Raises
        ------
        ConfigurationError
            A value of ``-o`` has no equals sign.

        Example
        -------
        >>> PluginSwitches.from_words(["warmup", "no:progress"], ["warmup.steps=100"])
        PluginSwitches(enable=['warmup'], disable=['progress'], override={'warmup.steps': 100})
        """
        words = list(words)
        disable = [word.removeprefix("no:") for word in words if word.startswith("no:")]
        try:
            override = dict(parse_override(text) for text in overrides)
        except ValueError as error:
            raise ConfigurationError([f"-o: {error}"]) from None
        return cls([word for word in words if not word.startswith("no:")], disable, override)

    def read(self, config: Path | None, **arguments: Any) -> Configuration:
        """The configuration with these switches; the arguments are those of ``read_configuration``."""
        arguments |= {"enable": self.enable, "disable": self.disable, "override": self.override}
        return read_configuration(config, argument_names=SWITCH_NAMES, **arguments)


def switches_option(command: ClickCommand) -> ClickCommand:
    """Give a command the options ``-p`` and ``-o``; the command gets both as the argument ``switches``."""

    @functools.wraps(command)
    def with_switches(
        *arguments: Any, plugin_words: tuple[str, ...], override_words: tuple[str, ...], **rest: Any
    ) -> Any:
        return command(*arguments, switches=PluginSwitches.from_words(plugin_words, override_words), **rest)

    with_switches = click.option(
        "-o",
        "override_words",
        multiple=True,
        metavar="NAME.OPTION=VALUE",
        help="Set an option of a plugin, as in -o gradient_clipping.max_norm=0.5. Repeatable.",
    )(with_switches)
    return click.option(
        "-p", "plugin_words", multiple=True, metavar="[no:]NAME", help="Add a plugin, or take one out. Repeatable."
    )(with_switches)  # type: ignore[return-value]


def config_option(command: ClickCommand) -> ClickCommand:
    """Give a command the option ``--config``."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="The configuration file. [default: the nearest one in this directory or above it]",
    )(command)
