"""Loops through literals, whose bodies are read once for each item: ``for k, d in (("i", di), ("f", df))``."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping

MOST_ITEMS = 12
"""Largest number of items of a literal whose loop is unrolled. Chosen by eye: the gates of two layers."""


def unrolled_bodies(loop: ast.For) -> list[ast.Module]:
    """The body of a loop through a literal, once for each item, with the item in place of the loop's variables.

    Empty if the loop goes through anything else, or if its body assigns one of its variables.

    Example
    -------
    >>> loop = ast.parse('for k, d in (("i", di), ("f", df)): g["W" + k] += d').body[0]
    >>> [ast.unparse(one) for one in unrolled_bodies(loop)]
    ["g['Wi'] += di", "g['Wf'] += df"]
    """
    items = _items(loop.iter)
    bound = [_bound(loop.target, one) for one in items]
    inside = (node for statement in loop.body for node in ast.walk(statement))
    assigned = {node.id for node in inside if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    found = [one for one in bound if one is not None and not assigned & one.keys()]
    if len(found) != len(items) or len(items) > MOST_ITEMS:
        return []
    return [ast.Module([_Items(one).visit(copy.deepcopy(part)) for part in loop.body], []) for one in found]


def assigned_items(node: ast.AST) -> list[ast.Module]:
    """The items of a dict that a statement assigns on several lines, as one statement each.

    Example
    -------
    >>> made = ast.parse("p = dict(\\n    W=rng.normal(size=3),\\n    b=np.zeros(3),\\n)").body[0]
    >>> [(one.lineno, ast.unparse(one)) for one in assigned_items(made)[0].body]
    [(2, "p['W'] = rng.normal(size=3)"), (3, "p['b'] = np.zeros(3)")]
    """
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return []
    (target,), value = node.targets, node.value
    items: list[tuple[object, ast.expr]] = []
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        items = [(key.value, one) for key, one in pairs if isinstance(key, ast.Constant)]
    elif isinstance(value, ast.Call) and ast.unparse(value.func) == "dict":
        items = [(one.arg, one.value) for one in value.keywords if one.arg is not None]
    made: list[ast.stmt] = []
    for key, one in items:
        if one.lineno > node.lineno and isinstance(key, str | int):
            text = f"{ast.unparse(target)}[{key!r}] = 0"
            made += [ast.increment_lineno(part, one.lineno - 1) for part in ast.parse(text).body]
            made[-1].value = one  # type: ignore[attr-defined]
    return [ast.Module(made, [])] if made else []


def _items(node: ast.expr) -> list[ast.expr]:
    """The expressions through which a loop goes, if they are written in it; empty otherwise."""
    if isinstance(node, ast.Tuple | ast.List):
        return [] if any(isinstance(one, ast.Starred) for one in node.elts) else node.elts
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [ast.Constant(one) for one in node.value]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        through = [_items(one) for one in node.args]
        if node.func.id == "zip" and through:
            return [ast.Tuple(list(one), ast.Load()) for one in zip(*through, strict=False)]
        if node.func.id == "enumerate" and len(through) == 1:
            return [ast.Tuple([ast.Constant(number), one], ast.Load()) for number, one in enumerate(through[0])]
        if node.func.id == "reversed" and len(through) == 1:
            return through[0][::-1]
    return []


def _bound(target: ast.expr, item: ast.expr) -> dict[str, ast.expr] | None:
    """The variables of a loop, with what an item gives them; None if the item cannot be taken apart."""
    if isinstance(target, ast.Name):
        return {target.id: item}
    parts = _items(item)
    if not isinstance(target, ast.Tuple | ast.List) or len(parts) != len(target.elts):
        return None
    inner = [_bound(one, part) for one, part in zip(target.elts, parts, strict=True)]
    return None if None in inner else dict(_pairs(inner))


def _pairs(bound: list[dict[str, ast.expr] | None]) -> Iterator[tuple[str, ast.expr]]:
    for one in bound:
        yield from (one or {}).items()


class _Items(ast.NodeTransformer):
    """Puts expressions in place of variables, and joins constant strings."""

    def __init__(self, items: Mapping[str, ast.expr]) -> None:
        self._items = items

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self._items.get(node.id, node))

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        joined = self.generic_visit(node)
        left, right = (one.value if isinstance(one, ast.Constant) else None for one in (node.left, node.right))
        if isinstance(node.op, ast.Add) and isinstance(left, str) and isinstance(right, str):
            return ast.Constant(left + right)
        return joined

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        joined = self.generic_visit(node)
        parts = [one.value if isinstance(one, ast.FormattedValue) else one for one in node.values]
        plain = all(one.format_spec is None for one in node.values if isinstance(one, ast.FormattedValue))
        texts = [str(one.value) for one in parts if isinstance(one, ast.Constant)]
        return ast.Constant("".join(texts)) if plain and len(texts) == len(parts) else joined
