"""What ``rnncallbacks train`` can be told, on the command line or in the table ``[train]`` of a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.config.plugin_options import make_plugin
from rnncallbacks.errors import ConfigurationError


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a run. The defaults suit half a megabyte of text, and two cores for well under a minute."""

    text: Path | None = None
    epochs: int = attrs.field(default=8, validator=options.count())
    batch_size: int = attrs.field(default=16, validator=options.count())
    seq_len: int = attrs.field(default=50, validator=options.count())
    cell: Literal["vanilla", "lstm", "gru"] = attrs.field(
        default="vanilla", validator=options.one_of("vanilla", "lstm", "gru")
    )
    hidden_size: int = attrs.field(default=256, validator=options.count())
    num_layers: int = attrs.field(default=1, validator=options.count())
    dropout: float = attrs.field(default=0.0, validator=options.number(at_least=0, below=1))
    learning_rate: float = attrs.field(default=3e-3, validator=options.number(above=0))
    seed: int = attrs.field(default=0, validator=options.count(at_least=0))
    held_out: float = attrs.field(default=0.1, validator=options.number(above=0, below=1))
    threads: int = attrs.field(default=1, validator=options.count())
    sample: int = attrs.field(default=400, validator=options.count(at_least=0))
    temperature: float = attrs.field(default=0.7, validator=options.number(above=0))
    top_k: int | None = attrs.field(default=None, validator=attrs.validators.optional(options.count()))
    top_p: float = attrs.field(default=1.0, validator=options.number(above=0, at_most=1))


def settle(given: Mapping[str, Any], table: object, where: str) -> Settings:
    """The settings: what the command line gave, else what the table ``[train]`` says, else the defaults.

    Raises
    ------
    ConfigurationError
        With every value that will not do.
    """
    problems = [f"--{name.replace('_', '-')}: {problem}" for name, problem in make_plugin(Settings, given)[1]]
    problems += check_table(table, where)
    if problems or not isinstance(table, Mapping):
        raise ConfigurationError(problems)
    settings, _ = make_plugin(Settings, {**table, **given})
    assert isinstance(settings, Settings)
    return settings


def check_table(table: object, where: str) -> list[str]:
    """What is wrong with a table ``[train]``."""
    if not isinstance(table, Mapping):
        return [f"{where}: train: expected a table [train], got {table!r}"]
    return [f"{where}: [train] {name}: {problem}" for name, problem in make_plugin(Settings, table)[1]]


def toml_table(name: str, values: Mapping[str, Any]) -> str:
    """A table in TOML. What is None is left out, for TOML has no word for it.

    Example
    -------
    >>> print(toml_table("train", {"text": None, "epochs": 3, "betas": (0.9, 0.999)}))
    [train]
    epochs = 3
    betas = [0.9, 0.999]
    """
    return "\n".join(
        [f"[{name}]", *(f"{toml_key(key)} = {_toml(value)}" for key, value in values.items() if value is not None)]
    )


def toml_key(key: str) -> str:
    """A key, in quotes if it needs them."""
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _toml(key)


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{toml_key(key)} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, float):
        return repr(value)  # inf and nan are words of TOML too
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    # A string of JSON is one of TOML, but for this one control character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
