"""The reported loss and the validation loop of an epoch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import attrs

from rnncallbacks.doctor.hooking.hooked_loop import HookedLoop, own_statements, parents_of

APPEND = "append"
VALIDATION = re.compile(r"val.*(loss|cost|error)|(loss|cost|error).*val", re.IGNORECASE)
"""Names of lists of validation losses."""


@attrs.frozen
class ReportPlace:
    """The statement after which the loss of an epoch has been added to a list.

    Attributes
    ----------
    statement:
        The statement.
    logged:
        The expressions of the losses there, by the names under which they are logged.
    in_epoch:
        Whether it is in the loop of epochs around the training loop.
    """

    statement: ast.stmt
    logged: dict[str, str]
    in_epoch: bool


@attrs.frozen
class ValidationPlace:
    """A loop over validation batches, and the number of its statements after which the batch's loss is known.

    ``observed`` has the expressions that are assigned in it under the names that the training loop has.
    """

    loop: ast.For
    known: int
    observed: dict[str, str]


def report_place(tree: ast.Module, loop: HookedLoop, outer: list[ast.For | ast.While]) -> ReportPlace | None:
    """The place where the epoch loss is added to the list of the roles; None if no single statement does it."""
    if not loop.report:
        return None
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Expr))
    lists: list[tuple[ast.stmt, str]] = [(node, text) for node in nodes if (text := _appended_to(node))]
    found = [(node, text) for node, text in lists if _is_same(text, loop.report)]
    if len(found) != 1:
        return None
    statement, expression = found[0]
    logged = {"train_loss": f"{expression}[-1]"}
    block = next(
        body
        for parent in parents_of(tree, statement)
        for body in (getattr(parent, part, []) for part in ("body", "orelse"))
        if statement in body
    )
    for node, text in lists:
        if node in block and VALIDATION.search(text) and text != expression:
            logged["val_loss"] = f"{text}[-1]"
            statement = max(statement, node, key=block.index)
            break
    return ReportPlace(statement, logged, bool(outer) and outer[0] in parents_of(tree, statement))


def _appended_to(statement: ast.Expr) -> str:
    """The list to which a statement appends one value; empty if it does something else."""
    call = statement.value
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == APPEND:
        return ast.unparse(call.func.value)
    return ""


def _is_same(text: str, expression: str) -> bool:
    """Whether two expressions may be one value: an object has another name within its class."""
    return text == expression or (re.sub(r"^\w+\.", "", text) == re.sub(r"^\w+\.", "", expression) and "." in text)


def validation_places(
    training: ast.For | ast.While, loop: HookedLoop, outer: list[ast.For | ast.While]
) -> Iterator[ValidationPlace]:
    """The loops of the epoch in which the loss is computed as in the training loop, and nothing is updated.

    Parameters
    ----------
    training:
        The training loop.
    loop:
        It, with its roles.
    outer:
        The loops around it, the innermost first.
    """
    if not outer or loop.block is not None or not loop.loss.isidentifier():
        return
    body = loop.body_in(training)
    computing = _assigning(body, loop.loss)
    if computing is None or not isinstance(computing[1].value, ast.Call):
        return
    called = ast.unparse(computing[1].value.func)
    after = _called(body[computing[0] :])
    for node in own_statements(outer[0].body):
        if not isinstance(node, ast.For) or node is training or training in ast.walk(node):
            continue
        found = _assigning(node.body, loop.loss)
        if found is None or not isinstance(found[1].value, ast.Call) or ast.unparse(found[1].value.func) != called:
            continue
        if any(_updates(one, loop) for one in node.body) or _called(node.body) & after:
            continue
        assigned = {ast.unparse(target) for one in node.body for target in _targets(one)}
        observed = {name: text for name, text in loop.observed.items() if text in assigned}
        yield ValidationPlace(node, found[0], observed)


def _assigning(body: list[ast.stmt], name: str) -> tuple[int, ast.Assign] | None:
    for place, statement in enumerate(body, 1):
        if isinstance(statement, ast.Assign) and name in {ast.unparse(one) for one in _targets(statement)}:
            return place, statement
    return None


def _called(body: list[ast.stmt]) -> set[str]:
    """The functions that statements call, as they are written there; those that print left out."""
    return {ast.unparse(one.func) for one in own_statements(body) if isinstance(one, ast.Call)} - {"print"}


def _targets(statement: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def _updates(statement: ast.stmt, loop: HookedLoop) -> bool:
    """Whether a statement assigns a parameter, or changes one in place."""
    parameters = {re.split(r"[\[.]", one.expression)[0] for one in loop.parameters} - {"self"}
    whole = {one.expression for one in loop.parameters}
    for node in ast.walk(statement):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            single = [one for target in targets for one in getattr(target, "elts", [target])]
            texts = [ast.unparse(one) for one in single]
            if any(text in whole or re.split(r"[\[.]", text)[0] in parameters for text in texts):
                return True
    return False
