"""The items of data that a loop reads by its own variables, such as ``X[i]``, and has no other names for.

An item that is read in an inner loop over a range is a part of its array: ``X[i, t]`` in ``for t in range(n)`` is
``X[i, 0:n]``.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections import ChainMap
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, TypeAlias

import attrs
import numpy as np

from rnncallbacks.doctor.value_walk import Key, is_array_sequence, is_number_list

MOST_ITEMS = 16
"""Largest number of items of a loop that are evaluated. Chosen by eye."""
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
Ranges: TypeAlias = Mapping[str, tuple[ast.expr, ast.expr] | None]
"""First and last bound of each variable of an inner loop over a range; None for variables of other ones."""


@attrs.frozen
class LoopItems:
    """Expressions of the items that a loop reads.

    Attributes
    ----------
    texts:
        The expressions.
    names:
        The variables in their indices that an iteration changes after it has read the items, or finds changed.
    late:
        Those in which an iteration assigns an index before it reads the item.
    """

    texts: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()


NO_ITEMS = LoopItems()


@attrs.define
class ItemReader:
    """Reads the items of a loop at the start and at the end of an iteration.

    Their indices are those that the iteration began with, and the values are kept until the next one begins: their
    identities remain valid.
    """

    _indices: dict[str, Any] = attrs.field(factory=dict)
    _kept: list[Any] = attrs.field(factory=list)

    def values(self, items: LoopItems, frame: FrameType, scope: str, *, at_start: bool) -> Iterator[tuple[Key, Any]]:
        """Key and value of the items that are arrays, numbers or lists of them."""
        names = frame.f_locals
        if at_start:
            self._kept.clear()
            self._indices = {name: names[name] for name in items.names if name in names}
        for text in items.texts:
            known = not (at_start and text in items.late)
            value = value_of(text, ChainMap(self._indices, names, frame.f_globals)) if known else None
            if _is_data(value):
                self._kept.append(value)
                yield ("end", scope, text), value


def _is_data(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiub" and value.size > 0
    return isinstance(value, int | float | np.number) or is_number_list(value) or is_array_sequence(value)


def items_of(loop: ast.For | ast.While) -> LoopItems:
    """The items that a loop reads.

    Example
    -------
    >>> loop = "for i in range(9):\\n  for t in range(4):\\n    a(X[i, t], Z[t])\\n  y = Y[rows[i]]"
    >>> items_of(ast.parse(loop).body[0]).texts
    ('X[i, 0:4]', 'Y[rows[i]]', 'rows[i]')
    """
    targets = stored_names(loop.target) if isinstance(loop, ast.For) else {}
    stores: dict[str, list[int]] = {}
    for one in loop.body:
        for name, lines in stored_names(one).items():
            stores.setdefault(name, []).extend(lines)
    once = {
        name
        for one in loop.body
        if isinstance(one, ast.Assign | ast.AnnAssign)
        for name in stored_names(one)
        if len(stores[name]) == 1
    }
    found: dict[str, frozenset[str]] = {}
    for node, names in (each for one in loop.body for each in _reads(one, {})):
        used = {one.id: one.lineno for one in ast.walk(node) if isinstance(one, ast.Name)}
        root = next(one for one in _chain(node) if isinstance(one, ast.Name)).id
        varying = {name for name in names if name in targets or name in stores}
        late = {name for name in varying if name in once and min(stores[name]) < min(used.values())}
        known = all(name in late or min(stores.get(name, [10**9])) > max(used.values()) for name in varying)
        if root not in stores and root not in targets and varying and known and len(found) < MOST_ITEMS:
            found.setdefault(ast.unparse(node), frozenset(late))
    every = {one.id for text in found for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Name)}
    late = {name for names in found.values() for name in names}
    kept = (every & (targets.keys() | stores.keys())) - late
    return LoopItems(tuple(found), frozenset(kept), frozenset(text for text, names in found.items() if names))


def stored_names(node: ast.AST) -> dict[str, list[int]]:
    """The names that a statement assigns, each with the lines, those of inner loops and comprehensions as well."""
    found: dict[str, list[int]] = {}
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            found.setdefault(one.id, []).append(one.lineno)
    return found


def _chain(node: ast.expr) -> Iterator[ast.expr]:
    """An expression, what it is an item or an attribute of, and so on."""
    yield node
    if isinstance(node, ast.Subscript | ast.Attribute):
        yield from _chain(node.value)


def _reads(node: ast.AST, ranges: Ranges) -> Iterator[tuple[ast.Subscript, set[str]]]:
    """The items that a statement reads, with the names in their indices."""
    if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
        return
    inner = [node] if isinstance(node, ast.For | ast.comprehension) else getattr(node, "generators", [])
    for one in inner:
        bounds = _bounds(one.iter) if isinstance(one.target, ast.Name) else None
        ranges = {**ranges, **dict.fromkeys(stored_names(one.target), bounds)}
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        item = _item(node, ranges)
        if item is not None:
            indices = [one.slice for one in _chain(item) if isinstance(one, ast.Subscript)]
            yield item, {one.id for index in indices for one in ast.walk(index) if isinstance(one, ast.Name)}
    for child in ast.iter_child_nodes(node):
        yield from _reads(child, ranges)


def _bounds(iterated: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """The bounds of ``range(first, last)`` in either direction."""
    if isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name) and not iterated.keywords:
        if iterated.func.id == "reversed" and len(iterated.args) == 1:
            return _bounds(iterated.args[0])
        if iterated.func.id == "range" and len(iterated.args) in (1, 2):
            return (iterated.args[0] if len(iterated.args) == 2 else ast.Constant(0)), iterated.args[-1]
    return None


def _item(node: ast.expr, ranges: Ranges) -> Any:
    """An expression without the variables of inner loops; None if it cannot do without them."""
    if isinstance(node, ast.Name):
        return None if node.id in ranges else node
    if isinstance(node, ast.Attribute):
        base = _item(node.value, ranges)
        return None if base is None else ast.copy_location(ast.Attribute(base, node.attr, ast.Load()), node)
    if isinstance(node, ast.Subscript):
        base = _item(node.value, ranges)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        indices = [_index(part, ranges) for part in parts]
        if base is None or any(one is None for one in indices):
            return None
        index = ast.Tuple(indices, ast.Load()) if isinstance(node.slice, ast.Tuple) else indices[0]
        return ast.copy_location(ast.Subscript(base, index, ast.Load()), node)
    return None


def _index(node: ast.expr, ranges: Ranges) -> Any:
    """An index in which a variable of an inner loop is replaced by the slice of its range."""
    inner = [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and one.id in ranges]
    if not inner:
        return node
    bounds = ranges[inner[0]]
    if len(inner) > 1 or bounds is None:
        return None
    if isinstance(node, ast.Name):
        return ast.Slice(*bounds)
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add | ast.Sub):
        return None
    if isinstance(node.left, ast.Name) and node.left.id == inner[0]:
        return ast.Slice(*(_sum(bound, node.op, node.right) for bound in bounds))
    if isinstance(node.op, ast.Add) and isinstance(node.right, ast.Name) and node.right.id == inner[0]:
        return ast.Slice(*(_sum(node.left, node.op, bound) for bound in bounds))
    return None


def _sum(one: ast.expr, sign: ast.operator, other: ast.expr) -> ast.expr:
    if isinstance(one, ast.Constant) and one.value == 0 and isinstance(sign, ast.Add):
        return other
    return one if isinstance(other, ast.Constant) and other.value == 0 else ast.BinOp(one, sign, other)


@functools.lru_cache(maxsize=1000)
def _parsed(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def value_of(expression: str, names: Mapping[str, Any]) -> Any:
    """The value of a name with attributes and items; None if there is none, or if it may run code of the script.

    Example
    -------
    >>> value_of("batch['x'][1]", {"batch": {"x": [3, 4]}}), value_of("batch.y", {"batch": 1})
    (4, None)
    >>> value_of("X[i, :n - 1]", {"X": np.eye(3), "i": 1, "n": 3})
    array([0., 1.])
    """
    try:
        return _value(_parsed(expression), names)
    except (SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        return None


def replace_item(expression: str, names: Mapping[str, Any], value: Any) -> bool:
    """Assign to an item, if the expression is one; an item that is a number gets the one of another row in its place.

    Example
    -------
    >>> data = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> replace_item("data[i, -1]", {"data": data, "i": 1}, 4.0), data[1, 1]
    (True, np.float64(2.0))
    """
    node = _parsed(expression)
    if not isinstance(node, ast.Subscript):
        return False
    base, index = _value(node.value, names), _value(node.slice, names)
    if isinstance(base, tuple) or (isinstance(base, np.ndarray) and not base.flags.writeable):
        return False
    if isinstance(value, np.ndarray | list):
        base[index] = value
        return True
    rows = ([*base[-shift:], *base[:-shift]] for shift in range(1, len(base)))
    others = (row[index] if isinstance(base, list) else np.array(row)[index] for row in rows)
    other = next((one for one in others if one != value), value)
    base[index] = other
    return bool(other != value)


def _value(node: ast.expr | None, names: Mapping[str, Any]) -> Any:
    if node is None:
        return None
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, names)
        return vars(owner)[node.attr] if hasattr(owner, "__dict__") else getattr(owner, node.attr)
    if isinstance(node, ast.Tuple):
        return tuple(_value(one, names) for one in node.elts)
    if isinstance(node, ast.Slice):
        return slice(*(_value(one, names) for one in (node.lower, node.upper, node.step)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, names)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "len" and len(node.args) == 1:
        return len(_value(node.args[0], names))
    if isinstance(node, ast.Subscript):
        base = _value(node.value, names)
        if isinstance(base, np.ndarray | list | tuple | dict):
            return base[_value(node.slice, names)]
    raise ValueError(ast.unparse(node))
