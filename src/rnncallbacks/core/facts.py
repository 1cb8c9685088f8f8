"""The facts of a run: the settings that a logger writes next to its curves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

import numpy as np

from rnncallbacks.config.plugin_options import options_in
from rnncallbacks.core.arguments import describe
from rnncallbacks.errors import OptionError

Fact: TypeAlias = bool | int | float | str
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # another one in each process: a resumed run would have other facts


class Facts(MutableMapping[str, Fact]):
    """The settings of a run by name: numbers, strings and truth values.

    A setting that belongs to an object has a name with a dot, such as ``model.cell`` or ``gradient_clipping.max_norm``.
    Options of plugins have their current values. Options that are None are left out, and values of other types are
    converted to text.

    Parameters
    ----------
    given:
        The facts of the script, by name.
    derived:
        A function that returns the facts of the run itself. Given facts replace derived ones of the same name.

    Raises
    ------
    OptionError
        A value is not a number, a string or a truth value, or a name is not a string.

    Example
    -------
    >>> facts = Facts({"data": "text8"}, lambda: {"learning_rate": 0.5})
    >>> facts["batch_size"] = 32
    >>> dict(facts)
    {'learning_rate': 0.5, 'data': 'text8', 'batch_size': 32}
    """

    def __init__(self, given: Mapping[str, object], derived: Callable[[], Mapping[str, Fact]] = dict) -> None:
        self._given: dict[str, Fact] = {}
        self._derived = derived
        if not isinstance(given, Mapping):
            raise OptionError(f"facts: expected a mapping from names to values, got {describe(given)}")
        for name, value in given.items():
            self[name] = value  # type: ignore[assignment]

    def __getitem__(self, name: str) -> Fact:
        return self._given[name] if name in self._given else self._derived()[name]

    def __setitem__(self, name: str, value: Fact) -> None:
        if not isinstance(name, str) or not name:
            raise OptionError(f"facts: expected a name as a non-empty string, got {name!r}")
        plain = _plain(value)
        if plain is None:
            raise OptionError(
                f"facts: {name!r}: expected a number, a string or a truth value, got {describe(value)}",
                hint="write str(value) for anything else",
            )
        self._given[name] = plain

    def __delitem__(self, name: str) -> None:
        del self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._derived(), **self._given})

    def __len__(self) -> int:
        return len({**self._derived(), **self._given})

    def __repr__(self) -> str:
        return f"Facts({dict(self)})"


def facts_of(name: str, described: object) -> dict[str, Fact]:
    """The options of an object as facts, each with the name before it.

    Example
    -------
    >>> from rnncallbacks.rnn.optimizers import SGD
    >>> facts_of("optimizer", SGD(momentum=0.9))
    {'optimizer.momentum': 0.9, 'optimizer.nesterov': False, 'optimizer.weight_decay': 0.0}
    """
    return {
        f"{name}.{option}": _ADDRESS.sub("", str(value)) if plain is None else plain
        for option, value in options_in(described).items()
        if value is not None
        for plain in [_plain(value)]
    }


def plugin_facts(plugins: Mapping[str, object]) -> dict[str, Fact]:
    """The names of the plugins in one fact, ``plugins``, and the options of each."""
    found: dict[str, Fact] = {"plugins": ", ".join(plugins)} if plugins else {}
    for name, plugin in plugins.items():
        found |= facts_of(name, plugin)
    return found


def _plain(value: Any) -> Fact | None:
    """The value as a built-in type, or None if it cannot be a fact."""
    if isinstance(value, np.generic):
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None
