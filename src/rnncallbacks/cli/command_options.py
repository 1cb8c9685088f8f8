"""Options of several commands: the configuration file, and the plugins to add or to take out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

ClickCommand = TypeVar("ClickCommand", bound=Callable[..., Any])


@attrs.frozen
class PluginSwitches:
    """The names of the plugins that ``-p`` adds, and of those that it takes out."""

    enable: list[str]
    disable: list[str]

    @classmethod
    def from_words(cls, words: Iterable[str]) -> PluginSwitches:
        """Parse the values of the option.

        >>> PluginSwitches.from_words(["warmup", "no:progress"])
        PluginSwitches(enable=['warmup'], disable=['progress'])
        """
        words = list(words)
        disable = [word.removeprefix("no:") for word in words if word.startswith("no:")]
        return cls([word for word in words if not word.startswith("no:")], disable)


def switches_option(command: ClickCommand) -> ClickCommand:
    """Give a command the option ``-p``; the command gets it as the argument ``switches``."""
    return click.option(
        "-p",
        "switches",
        multiple=True,
        metavar="[no:]NAME",
        callback=lambda context, parameter, words: PluginSwitches.from_words(words),
        help="Add a plugin, or take one out. Repeatable.",
    )(command)


def config_option(command: ClickCommand) -> ClickCommand:
    """Give a command the option ``--config``."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="The configuration file. [default: the nearest one in this directory or above it]",
    )(command)
