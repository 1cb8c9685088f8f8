"""The settings of ``rnncallbacks train``: options of the command, and the table ``[train]`` of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import attrs
import click

from rnncallbacks import options
from rnncallbacks.cli.command_options import ClickCommand
from rnncallbacks.config.option_types import literals_of
from rnncallbacks.config.plugin_options import make_plugin, options_of
from rnncallbacks.errors import ConfigurationError

_HELP_KEY = "help"


def _setting(default: Any, validator: Any, help_text: str) -> Any:
    return attrs.field(default=default, validator=validator, metadata={_HELP_KEY: help_text})


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a run. The defaults suit half a megabyte of text, and take under a minute on two cores."""

    text: Path | None = None
    epochs: int = _setting(8, options.count(), "Passes over the text.")
    batch_size: int = _setting(16, options.count(), "Rows of a batch: parts of the text that are read in parallel.")
    seq_len: int = _setting(50, options.count(), "Characters per step of truncated backpropagation.")
    cell: Literal["vanilla", "lstm", "gru"] = _setting(
        "vanilla", options.one_of("vanilla", "lstm", "gru"), "The recurrent cell."
    )
    hidden_size: int = _setting(256, options.count(), "Units of each layer.")
    num_layers: int = _setting(1, options.count(), "Recurrent layers, one on top of the other.")
    dropout: float = _setting(
        0.0, options.number(at_least=0, below=1), "Probability of zeroing an output of a layer below the last."
    )
    learning_rate: float = _setting(3e-3, options.number(above=0), "The largest learning rate of the schedule.")
    seed: int = _setting(0, options.count(at_least=0), "Seed of the weights, of dropout and of the sample.")
    held_out: float = _setting(
        0.1, options.number(above=0, below=1), "Share of the text, at its end, that is not trained on."
    )
    threads: int = _setting(
        1, options.count(), "Threads for matrix products. More than one helps large networks on idle cores."
    )
    sample: int = _setting(400, options.count(at_least=0), "Characters to generate at the end.")
    temperature: float = _setting(
        0.7, options.number(above=0), "Temperature of the sample. Lower values prefer likely characters."
    )
    top_k: int | None = _setting(
        None,
        attrs.validators.optional(options.count()),
        "Sample from this many of the most likely characters. [default: from all]",
    )
    top_p: float = _setting(
        1.0,
        options.number(above=0, at_most=1),
        "Sample from the fewest characters whose probabilities add up to this value.",
    )


def settings_options(command: ClickCommand) -> ClickCommand:
    """Give a command one option for each setting but the text."""
    for option in reversed(options_of(Settings).values()):
        help_text = attrs.fields_dict(Settings)[option.name].metadata.get(_HELP_KEY)
        if help_text is None:
            continue
        words = literals_of(option.annotation)
        default = "" if option.default is None else f" [default: {option.default}]"
        command = click.option(
            f"--{option.name.replace('_', '-')}",
            option.name,
            type=click.Choice(words) if words else (get_args(option.annotation) or [option.annotation])[0],
            help=help_text + default,
        )(command)
    return command


def merge_settings(given: Mapping[str, Any], table: object, where: str) -> Settings:
    """The settings that the command line gives, else those of the table ``[train]``, else the defaults.

    ``where`` names the configuration in error messages.

    Raises
    ------
    ConfigurationError
        With every value that cannot be used.
    """
    problems = [f"--{name.replace('_', '-')}: {problem}" for name, problem in make_plugin(Settings, given)[1]]
    problems += check_table(table, where)
    if problems or not isinstance(table, Mapping):
        raise ConfigurationError(problems)
    settings, _ = make_plugin(Settings, {**table, **given})
    assert isinstance(settings, Settings)
    return settings


def check_table(table: object, where: str) -> list[str]:
    """The problems of a table ``[train]``, one line each."""
    if not isinstance(table, Mapping):
        return [f"{where}: train: expected a table [train], got {table!r}"]
    return [f"{where}: [train] {name}: {problem}" for name, problem in make_plugin(Settings, table)[1]]
