"""The statements of a block that lead to the loss, as a function that computes it again."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable

import attrs

from rnncallbacks.doctor.hooking.hook_place import HookPlace
from rnncallbacks.doctor.hooking.hooked_loop import Function, assigned_names, names_in, own_statements

COPIED = "copied"
"""The name of ``copy.copy`` in the script."""


@attrs.frozen
class LossFunction:
    """A function that computes the loss again, and the number of statements of the block before it."""

    lines: list[str]
    before: int

    @property
    def copies(self) -> bool:
        """Whether it needs the function ``COPIED``: the script changes a value in place, which may be an array."""
        return f"={COPIED}(" in self.lines[0]


def loss_function(
    name: str,
    tree: ast.Module,
    body: list[ast.stmt],
    place: HookPlace,
    loss: str,
    parameters: list[str],
    targets: set[str],
) -> LossFunction | None:
    """The statements from the first that needs the parameters to the loss, as a function.

    It begins after the last random number that is drawn before, so that the data of the batch are the same. Names that
    the block assigns keep their values there, as defaults of arguments.

    Parameters
    ----------
    name:
        The name of the function.
    tree:
        The script.
    body:
        The statements of the block.
    place:
        The place of ``run.backward`` in it.
    loss:
        The expression of the loss.
    parameters:
        The expressions of the parameters.
    targets:
        Names that the loop itself assigns.

    Returns
    -------
    LossFunction or None
        None if the statements leave the block, or replace a parameter.
    """
    kept = {one for text in parameters for one in names_in(text)} - {"self"}
    needs = _functions_with(tree, kept, parameters)
    first = next((number for number, one in enumerate(body[: place.backward]) if needs(one)), 0)
    before = max((number for number in place.draws if number <= first), default=0)
    used = [one for one in body[before : place.backward] if not _only_reports(one)]
    nodes = list(own_statements(used))
    if any(isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Await | ast.Nonlocal) for node in nodes):
        return None
    if any(_leaves(one) for one in used) or assigned_names(used) & kept:
        return None
    used = [one for one in used if not isinstance(one, ast.Global)]
    if not used:
        return None
    first_read = _read_before_assigned(used) | (names_in(loss) - assigned_names(used))
    known = set(place.known) | assigned_names(body[:before]) | targets
    arguments = sorted(first_read & (assigned_names(body) | targets) & known - kept)
    added = {node.target.id for node in nodes if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)}
    values = {one: f"{COPIED}({one})" if one in added else one for one in arguments}
    head = f"def {name}({', '.join(f'{one}={value}' for one, value in values.items())}):"
    inner = [line for one in used for line in ast.unparse(_without_changes(one, set(arguments))).splitlines()]
    return LossFunction([head, *(f"    {line}" for line in inner), f"    return {loss}"], before)


def _without_changes(statement: ast.stmt, names: set[str]) -> ast.stmt:
    """A statement that assigns names where it would add to them: an array would be changed in place at each call."""
    copied: ast.stmt = _Assigning(names).visit(copy.deepcopy(statement))
    return ast.fix_missing_locations(copied)


class _Assigning(ast.NodeTransformer):
    def __init__(self, names: set[str]) -> None:
        self._names = names

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        if not isinstance(node.target, ast.Name) or node.target.id not in self._names:
            return node
        value = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return ast.copy_location(ast.Assign([node.target], value), node)


def _functions_with(tree: ast.Module, names: set[str], parameters: list[str]) -> Callable[[ast.AST], bool]:
    """Whether a statement reads a parameter, itself or in the functions that it calls by name."""
    attributes = {
        node.attr
        for text in parameters
        for node in ast.walk(ast.parse(text, mode="eval"))
        if isinstance(node, ast.Attribute)
    }
    functions: set[str] = set()

    def reads(node: ast.AST) -> bool:
        return any(
            (isinstance(one, ast.Name) and one.id in names | functions)
            or (isinstance(one, ast.Attribute) and one.attr in attributes | functions)
            for one in ast.walk(node)
        )

    definitions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    while True:
        more = {one.name for one in definitions if one.name not in functions and reads(one)}
        if not more:
            return reads
        functions |= more


def _only_reports(statement: ast.stmt) -> bool:
    """Whether a statement only prints, also under a condition, or is only a string."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True
    if not isinstance(statement, ast.Expr | ast.If):
        return False
    prints = any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for node in own_statements([statement])
    )
    return prints and not any(isinstance(node, ast.Break | ast.Continue) for node in own_statements([statement]))


def _leaves(statement: ast.AST) -> bool:
    """Whether a statement has a break or continue of the block's own loop."""
    if isinstance(statement, ast.Break | ast.Continue):
        return True
    if isinstance(statement, ast.For | ast.While | Function | ast.ClassDef):
        return False
    return any(_leaves(one) for one in ast.iter_child_nodes(statement))


def _read_before_assigned(statements: list[ast.stmt]) -> set[str]:
    """The names that a statement reads and that no earlier one certainly assigns."""
    assigned: set[str] = set()
    read: set[str] = set()
    for statement in statements:
        inside = {
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        } | {
            node.target.id
            for node in ast.walk(statement)
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
        }
        read |= inside - assigned
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.With | ast.For):
            assigned |= assigned_names([statement])
    return read
