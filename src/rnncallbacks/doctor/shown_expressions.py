"""The expressions whose values a statement prints or logs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

OUTPUT_CALLS = frozenset({"print", "write", "info", "debug", "warning", "log", "set_postfix", "set_description"})
"""Last names of functions that show values."""
FORMATTING_CALLS = frozenset({"round", "float", "str", "repr", "format"})
"""Last names of functions whose arguments are shown in another form."""
NUMBERS = ast.Name | ast.Attribute | ast.Subscript | ast.BinOp | ast.Call


def replace_shown(statement: ast.stmt, replace: Callable[[ast.expr], ast.expr]) -> None:
    """Replace the expressions that a statement shows, in place.

    Example
    -------
    >>> statement = ast.parse("print(f'{epoch} {total / n:.4f}', '%d' % hits, round(np.mean(losses), 3))").body[0]
    >>> replace_shown(statement, lambda shown: ast.Call(ast.Name("seen", ast.Load()), [shown], []))
    >>> ast.unparse(statement)
    "print(f'{seen(epoch)} {seen(total / n):.4f}', '%d' % seen(hits), round(seen(np.mean(losses)), 3))"
    >>> statement = ast.parse("print('loss ' + str(loss), a + b)").body[0]
    >>> replace_shown(statement, lambda shown: ast.Call(ast.Name("seen", ast.Load()), [shown], []))
    >>> ast.unparse(statement)
    "print('loss ' + str(seen(loss)), seen(a + b))"
    """
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or called_name(call) not in OUTPUT_CALLS:
        return
    for parent, field, place in list(_places(call)):
        holder = getattr(parent, field)
        shown = holder if place is None else holder[place]
        if place is None:
            setattr(parent, field, replace(shown))
        else:
            holder[place] = replace(shown)


def _places(call: ast.Call) -> Iterator[tuple[ast.AST, str, int | None]]:
    """The places of the expressions that a call shows: the node, its field, and the item if the field is a list."""
    for place, argument in enumerate(call.args):
        yield from _within(call, "args", place, argument)
    for keyword in call.keywords:
        yield from _within(keyword, "value", None, keyword.value)


def _within(
    parent: ast.AST, field: str, place: int | None, node: ast.expr
) -> Iterator[tuple[ast.AST, str, int | None]]:
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _within(part, "value", None, part.value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
        yield from _within(node, "right", None, node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and _is_text(node):
        yield from _within(node, "left", None, node.left)
        yield from _within(node, "right", None, node.right)
    elif isinstance(node, ast.Tuple):
        for item, element in enumerate(node.elts):
            yield from _within(node, "elts", item, element)
    elif isinstance(node, ast.Call) and called_name(node) in FORMATTING_CALLS:
        yield from _places(node)
    elif isinstance(node, NUMBERS):
        yield parent, field, place


def _is_text(node: ast.expr) -> bool:
    """Whether an expression is a string, or a sum in which one is."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return _is_text(node.left) or (isinstance(node.op, ast.Add) and _is_text(node.right))
    if isinstance(node, ast.Call):
        return called_name(node) in ("str", "repr", "format", "join", "ljust", "rjust")
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def called_name(call: ast.Call) -> str:
    """The name of a called function or method; empty if it has none."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
