"""Statements that may change an array in place, or replace it by a function of itself."""

from __future__ import annotations

import ast

import attrs

from rnncallbacks.doctor.loss_names import UPDATE_RATES

ADDITIVE = (ast.Add, ast.Sub)
CHANGING_METHODS = frozenset({"fill", "sort", "put", "itemset", "clip", "partition"})
"""Methods of arrays that change them; ``clip`` does with ``out=``."""
CHANGING_FUNCTIONS = frozenset({"copyto", "put", "place", "putmask", "fill_diagonal"})
"""Functions of NumPy that change their first argument."""
MOST_OPERANDS = 6
"""Largest number of operands of a statement that are passed to the watcher. Chosen by eye."""


def changes_of(statement: ast.stmt) -> list[tuple[ast.stmt, ast.expr]]:
    """The arrays that a statement may change in place, or replace by a function of themselves.

    Each comes with the statement that assigns it alone: ``a, b = 2 * a, 3 * b`` assigns ``a`` and ``b``.

    Example
    -------
    >>> (halved, target), _ = changes_of(ast.parse("a, b = a / 2, b / 2").body[0])
    >>> ast.unparse(halved), ast.unparse(target)
    ('a = a / 2', 'a')
    """
    if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Tuple | ast.List)):
        target = _changed_target(statement)
        return [] if target is None else [(statement, target)]
    targets, value = statement.targets[0].elts, statement.value
    paired = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(targets)
    values = value.elts if paired and isinstance(value, ast.Tuple | ast.List) else [value] * len(targets)
    single = [
        ast.copy_location(ast.Assign([target], one), statement) for target, one in zip(targets, values, strict=True)
    ]
    return [(one, one.targets[0]) for one in single if _mentions(one.value, one.targets[0])]


def _changed_target(statement: ast.stmt) -> ast.expr | None:
    if isinstance(statement, ast.AugAssign):
        return statement.target
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Subscript):
            return target
        if isinstance(target, ast.Name | ast.Attribute) and _mentions(statement.value, target):
            return target
    value = getattr(statement, "value", None)
    if isinstance(statement, ast.Assign | ast.Expr) and isinstance(value, ast.Call):
        out = next((keyword.value for keyword in value.keywords if keyword.arg == "out"), None)
        if out is not None:
            return out
        if isinstance(statement, ast.Expr) and isinstance(value.func, ast.Attribute):
            if value.func.attr in CHANGING_FUNCTIONS and value.args:
                return value.args[0]
            if _is_indexed_sum(value):
                return value.args[0]
            if value.func.attr in CHANGING_METHODS or _updates_from_itself(value, value.func):
                return value.func.value
    return None


def adds_to(statement: ast.stmt, changed: str) -> bool:
    """Whether a statement only adds to the array that it changes: ``g += dg`` or ``g = g + dg``."""
    if isinstance(statement, ast.AugAssign):
        return isinstance(statement.op, ADDITIVE)
    term = getattr(statement, "value", None)
    if isinstance(statement, ast.Expr) and isinstance(term, ast.Call):
        return _is_indexed_sum(term)
    while isinstance(term, ast.BinOp) and isinstance(term.op, ADDITIVE):
        if isinstance(term.op, ast.Add) and ast.unparse(term.right) == changed:
            return True
        term = term.left
    return isinstance(statement, ast.Assign) and term is not None and ast.unparse(term) == changed


def _updates_from_itself(call: ast.Call, method: ast.Attribute) -> bool:
    """Whether a call replaces the values of a dict by functions of them, as ``d.update({k: v / 2 for ...})``."""
    return method.attr == "update" and any(_mentions(one, method.value) for one in call.args)


def _is_indexed_sum(call: ast.Call) -> bool:
    """Whether a call is ``np.add.at(g, indices, dg)``, or the same with ``subtract``."""
    return len(call.args) == 3 and ast.unparse(call.func).rpartition(".")[0].endswith((".add", ".subtract"))


def operands_of(statement: ast.stmt, changed: str) -> list[ast.expr]:
    """The names, attributes and items from which a statement computes the new value of an array, without the array."""
    value = getattr(statement, "value", None)
    if not isinstance(statement, ast.AugAssign | ast.Assign) or value is None:
        return []
    found: dict[str, ast.expr] = {}
    waiting: list[ast.AST] = [value]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Lambda | ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp):
            continue
        if isinstance(node, ast.Call):
            waiting += [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
        elif isinstance(node, ast.expr) and _is_item(node):
            found.setdefault(ast.unparse(node), node)
        else:
            waiting += ast.iter_child_nodes(node)
    return [node for text, node in found.items() if text != changed][:MOST_OPERANDS]


@attrs.frozen
class RatedTerm:
    """A product that a statement adds to an array: a learning rate times an expression, such as ``np.outer(d, h)``.

    Attributes
    ----------
    holder, field:
        The node of the product, and the name of its field.
    rate:
        The learning rate.
    text:
        The product without it.
    """

    holder: ast.AST
    field: str
    rate: ast.expr
    text: str


def rated_term(statement: ast.stmt) -> RatedTerm | None:
    """The product that a statement adds, if the gradient in it has no name; None otherwise.

    >>> terms = ("b -= lr * d.sum()", "w = w - 0.1 * x.T @ d", "w -= lr * dw", "w -= lr * v[i, k]", "w -= np.outer(d)")
    >>> [term.text if (term := rated_term(ast.parse(one).body[0])) else None for one in terms]
    ['d.sum()', 'x.T @ d', None, None, None]
    """
    holder: ast.AST = statement
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ADDITIVE):
        field, product = "value", statement.value
    elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.BinOp):
        holder, field, product = statement.value, "right", statement.value.right
        if not isinstance(statement.value.op, ADDITIVE) or not _is_same(statement.value.left, statement.targets):
            return None
    else:
        return None
    factors: list[tuple[ast.operator | None, ast.expr]] = []
    node = product
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.MatMult | ast.Div):
        factors.insert(0, (node.op, node.right))
        node = node.left
    factors.insert(0, (None, node))
    rates = [one for one in factors if not isinstance(one[0], ast.Div | ast.MatMult) and _is_rate(one[1])]
    rest = [one for one in factors if one not in rates]
    if len(rates) != 1 or not rest or isinstance(rest[0][0], ast.Div):
        return None
    root = rest[0][1]
    while isinstance(root, ast.Attribute | ast.Subscript):
        root = root.value
    if isinstance(root, ast.Name) and all(isinstance(op, ast.Div) for op, _ in rest[1:]):
        return None  # it has a name
    without = rest[0][1]
    for op, factor in rest[1:]:
        assert op is not None
        without = ast.BinOp(without, op, factor)
    rate = rates[0][1]
    return RatedTerm(holder, field, rate.operand if isinstance(rate, ast.UnaryOp) else rate, ast.unparse(without))


def _is_same(node: ast.expr, targets: list[ast.expr]) -> bool:
    return len(targets) == 1 and ast.unparse(node) == ast.unparse(targets[0])


def _is_rate(node: ast.expr) -> bool:
    """Whether a factor may be a learning rate: a number, or one named so."""
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float)
    return _is_item(node) and bool(UPDATE_RATES.search(ast.unparse(node)))


def _is_item(node: ast.AST) -> bool:
    """Whether an expression is a name, or an attribute or one item of such an expression."""
    if isinstance(node, ast.Subscript):
        return _is_item(node.value) and isinstance(node.slice, ast.Name | ast.Attribute | ast.Constant)
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_item(node.value))


def _mentions(value: ast.expr, target: ast.expr) -> bool:
    text = ast.unparse(target)
    return any(isinstance(node, type(target)) and ast.unparse(node) == text for node in ast.walk(value))


def can_be_read_twice(node: ast.expr) -> bool:
    """Whether reading an expression a second time has no effect: it calls nothing and awaits nothing."""
    effects = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.Starred)
    return isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and not any(
        isinstance(inner, effects) for inner in ast.walk(node)
    )


def loaded(node: ast.expr) -> ast.expr:
    """A copy of an expression that reads it."""
    return ast.parse(ast.unparse(node), mode="eval").body
