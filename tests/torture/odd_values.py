"""Values that nobody expects, and edits that put them into trees of JSON and into text."""

from __future__ import annotations

import copy
import math
from typing import Any

import attrs
import numpy as np

ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    -3,
    2**31,
    2**63,
    10**400,
    -(10**400),
    0.0,
    -0.0,
    0.5,
    1e308,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "0.1",
    "NaN",
    "a word",
    "\0",
    "\x1b[31m",
    "\ud800",
    "\uffff",
    "=1+1",
    "x" * 5000,
    [],
    [1],
    [[]],
    {},
    {"array": "none"},
    {"array": 3},
    {"tuple": 3},
    {"dict": {}},
    {"dict": []},
    {"": None},
    {"array": "a", "tuple": []},
]
FREE_NAMES = [("compared",), ("cannot_tell",), ("not_checked",)]
"""Keys of a checkpoint's JSON whose mapping need not have any name."""
CHARACTERS = "\0\t\n\r\x1b \"'\\{}[]:,=.#+-0179eE_aNtfu\u00e9\u2028\ufeff\U0001f600"


@attrs.frozen
class TreeEdit:
    """What was done to a tree.

    Attributes
    ----------
    path:
        The keys down to the place.
    what:
        The edit in words.
    breaks_types:
        Whether a value of a fixed type got another one, or a key of fixed keys is gone.
    """

    path: tuple[str | int, ...]
    what: str
    breaks_types: bool


def places(tree: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all values below the root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found.append((*path, key))
        found += places(value, (*path, key))
    return found


def edit_tree(generator: np.random.Generator, tree: Any) -> TreeEdit:
    """Change one place of a tree of dicts and lists, in place."""
    found = places(tree)
    if not found:
        if isinstance(tree, dict):
            tree["more"] = 1
        return TreeEdit((), "a key more", False)
    # The depth first, so that the few keys at the top are edited as often as the many below.
    depth = generator.choice(sorted({len(path) for path in found}))
    at_depth = [path for path in found if len(path) == depth]
    path = at_depth[generator.integers(len(at_depth))]
    holder = tree
    for key in path[:-1]:
        holder = holder[key]
    key = path[-1]
    where = ".".join(map(str, path))
    how = generator.integers(5)
    needed = isinstance(holder, dict) and len(path) != 2 and _is_name(key) and path[-2:-1] not in FREE_NAMES
    if how == 0:
        del holder[key]
        return TreeEdit(path, f"{where} deleted", needed)
    if how == 1 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
        return TreeEdit(path, f"{where} renamed", needed)
    before = holder[key]
    after = copy.deepcopy(ODD_VALUES[generator.integers(len(ODD_VALUES))])  # a later edit may change it
    if isinstance(before, int | float) and not isinstance(before, bool) and generator.random() < 0.3:
        after = before * -1 - 1
    holder[key] = after
    return TreeEdit(
        path, f"{where} = {str(after)[:40]!r} in place of {str(before)[:40]!r}", _kinds_differ(before, after)
    )


def _is_name(key: str | int) -> bool:
    return isinstance(key, str) and key.isidentifier()


def _kinds_differ(before: Any, after: Any) -> bool:
    """Whether a type that holds the one cannot hold the other; a place that holds None may hold anything."""
    if before is None or after is None:
        return False
    kinds = [
        "truth" if isinstance(one, bool) else "number" if isinstance(one, int | float) else type(one).__name__
        for one in (before, after)
    ]
    return kinds[0] != kinds[1]


def mutate_text(generator: np.random.Generator, text: str) -> str:
    """Insert, delete, replace, repeat or move characters."""
    for _ in range(int(generator.integers(1, 4))):
        place, other = (int(generator.integers(len(text) + 1)) for _ in range(2))
        some = CHARACTERS[generator.integers(len(CHARACTERS))]
        first, last = min(place, other), max(place, other)
        last = min(last, first + 200)
        how = generator.integers(6)
        if how == 0:
            text = text[:place] + some + text[place:]
        elif how == 1:
            text = text[:place] + text[place + 1 :]
        elif how == 2:
            text = text[:place] + some + text[place + 1 :]
        elif how == 3:
            text = text[:first] + text[last:]
        elif how == 4:
            text = text[:last] + text[first:last] + text[last:]
        else:
            text = text[:place]
    return text
