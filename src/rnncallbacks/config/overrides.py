"""Overrides: options of a configuration's plugins for one run, such as ``gradient_clipping.max_norm=0.5``."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rnncallbacks.config.plugin_table import Table
from rnncallbacks.errors import closest, short_repr

OVERRIDE_VARIABLE = "RNNCALLBACKS_OVERRIDE"
FORM = "expected NAME.OPTION=VALUE, such as gradient_clipping.max_norm=0.5"


def parse_override(text: str) -> tuple[str, Any]:
    """The key and the value of one override. The value is read as TOML, or as text if it is not valid TOML.

    Raises
    ------
    ValueError
        There is no equals sign.

    Example
    -------
    >>> parse_override("gradient_clipping.max_norm=0.5"), parse_override("early_stopping.mode=max")
    (('gradient_clipping.max_norm', 0.5), ('early_stopping.mode', 'max'))
    """
    key, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"{FORM}, got {short_repr(text)}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return key.strip(), value.strip()


def overrides_in_environment() -> tuple[dict[str, Any], list[str]]:
    """The overrides of the environment variable ``RNNCALLBACKS_OVERRIDE``, and its problems."""
    found: dict[str, Any] = {}
    problems = []
    for text in filter(str.strip, os.environ.get(OVERRIDE_VARIABLE, "").split(";")):
        try:
            found |= [parse_override(text.strip())]
        except ValueError as error:
            problems.append(f"{OVERRIDE_VARIABLE}: {error}")
    return found, problems


def apply_overrides(
    overrides: Mapping[str, Any],
    where: str,
    matching: Callable[[str], list[Table]],
    names: Iterable[str],
) -> list[str]:
    """Set options of tables, and return the problems.

    Parameters
    ----------
    overrides:
        Values by ``NAME.OPTION``; ``NAME.OPTION.KEY`` sets one key of an option that is a table.
    where:
        The source of the overrides, for messages.
    matching:
        A function that returns the tables for a name.
    names:
        The names of all tables, for the nearest match.
    """
    problems = []
    for key, value in overrides.items():
        name, _, option = str(key).partition(".")
        place = f"{where}: {key}"
        tables = matching(name)
        if not option:
            problems.append(f"{where}: {FORM}, got {short_repr(key)}")
        elif not tables:
            near = closest(name, names) or "enable it, or add a table for it"
            problems.append(f"{place}: no plugin {name!r} is in this configuration; {near}")
        for table in tables if option else ():
            first, *rest = option.split(".")
            table.options[first] = _with(table.options.get(first), rest, value)
            table.overridden[first] = place
    return problems


def _with(earlier: Any, keys: list[str], value: Any) -> Any:
    """The earlier value of an option with one of its keys changed, at any depth; the value itself without keys."""
    if not keys:
        return value
    table = dict(earlier) if isinstance(earlier, Mapping) else {}
    table[keys[0]] = _with(table.get(keys[0]), keys[1:], value)
    return table
