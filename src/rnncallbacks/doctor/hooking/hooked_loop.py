"""A training loop and the roles of its values, for the writer of hooked scripts."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import attrs

from rnncallbacks.doctor.other_threads import EPOCHS
from rnncallbacks.doctor.script_source import ScriptSource
from rnncallbacks.errors import DataError

Block = ast.For | ast.While | ast.FunctionDef
Function = ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class HookedParameter:
    """A parameter and its gradient.

    Attributes
    ----------
    name:
        Its name in the run.
    before_loop:
        The expression of the array where the loop begins.
    expression:
        The expression of the array where the gradient is known.
    gradient:
        The expression of the gradient.
    scale:
        The factor by which it is multiplied: -1.0 if the array is the negative gradient.
    """

    name: str
    before_loop: str
    expression: str
    gradient: str
    scale: float = 1.0


@attrs.frozen(kw_only=True)
class HookedLoop:
    """A training loop in a source, with expressions for its values.

    Attributes
    ----------
    source:
        The file that contains the loop.
    line:
        The line of ``for`` or ``while`` in the source's text.
    block:
        The line of the function in which the gradients are known, None for the body of the loop itself.
    loss_in_loop:
        Whether the loss is known in the body of the loop, although the gradients are known in a function.
    parameters:
        The parameters with their gradients.
    loss:
        The expression of the loss, in the block or in the loop.
    observed:
        Expressions of ``inputs``, ``targets`` and ``hidden_states`` where the loss is known, as far as they are known.
    observed_in:
        Of the same values that are known only in a function: the line of the function, and the expression there.
    learning_rate:
        The learning rate, if it is known.
    report:
        The expression of the list to which the loss of an epoch is added; empty if none is known.
    ignored:
        Codes that are not raised.
    """

    source: ScriptSource
    line: int
    parameters: tuple[HookedParameter, ...]
    loss: str
    block: int | None = None
    loss_in_loop: bool = False
    observed: dict[str, str] = attrs.field(factory=dict)
    observed_in: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    learning_rate: float | None = None
    report: str = ""
    ignored: tuple[str, ...] = ()

    def expressions(self) -> dict[str, str]:
        """The expressions that are evaluated in the block to find the place of the hook, by label."""
        found = {"loss": self.loss}
        for number, one in enumerate(self.parameters):
            found[f"parameter {number}"] = one.expression
            found[f"gradient {number}"] = one.gradient
        return found | {f"observed {name}": expression for name, expression in self.observed.items()}

    def body_in(self, block: Block) -> list[ast.stmt]:
        """The statements of a block between which the gradients, or the loss where there are none, may be known."""
        return body_with(block, [one.gradient for one in self.parameters] or [self.loss])


def loop_at(tree: ast.Module, source: ScriptSource, line: int) -> ast.For | ast.While:
    """The loop that begins in a line.

    Raises
    ------
    DataError
        There is none.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.While) and node.lineno == line:
            return node
    raise DataError(f"{source.location(line)}: expected a for or while loop, got {source.line_at(line)!r}")


def block_of(tree: ast.Module, loop: HookedLoop) -> Block:
    """The loop or the function in whose body loss and gradients are known."""
    if loop.block is None:
        return loop_at(tree, loop.source, loop.line)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.lineno == loop.block:
            return node
    where = loop.source.location(loop.block)
    raise DataError(f"{where}: expected a function, got {loop.source.line_at(loop.block)!r}")


def body_with(block: Block, expressions: list[str]) -> list[ast.stmt]:
    """The body of a block, or of the one ``try`` or ``with`` statement in it that contains all of the expressions.

    >>> (loop,) = ast.parse("while True:\\n  try:\\n    dw = slope()\\n    w -= dw\\n  finally:\\n    save()").body
    >>> [ast.unparse(one) for one in body_with(loop, ["dw"])]
    ['dw = slope()', 'w -= dw']
    """
    names = {name for text in expressions for name in _words(ast.parse(text, mode="eval"))}
    body = block.body
    while True:
        naming = [one for one in body if names & _words(one)]
        if len(naming) != 1 or not isinstance(naming[0], ast.Try | ast.With):
            return body
        if naming[0].body[0].lineno == naming[0].lineno:
            return body
        body = naming[0].body


def _words(node: ast.AST) -> set[str]:
    """The names and attributes in a syntax tree, without ``self``."""
    inside = list(ast.walk(node))
    names = {one.id for one in inside if isinstance(one, ast.Name)} - {"self"}
    return names | {one.attr for one in inside if isinstance(one, ast.Attribute)}


def parents_of(tree: ast.Module, node: ast.AST) -> list[ast.AST]:
    """The nodes around a node, the innermost first."""
    above = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    found = []
    while node in above:
        node = above[node]
        found.append(node)
    return found


def epoch_loops(around: list[ast.For | ast.While], source: ScriptSource) -> list[ast.For | ast.While]:
    """Of the loops around a training loop, the innermost first: the loop of epochs and those around it."""
    lines = source.text.splitlines()
    named = [place for place, one in enumerate(around) if EPOCHS.search(lines[one.lineno - 1])]
    return around[max(named, default=0) :]


def own_statements(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of a body, without those of functions and classes within it."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def assigned_names(nodes: list[ast.stmt]) -> set[str]:
    """The names that statements assign, imports and loop targets included."""
    found = set()
    for node in own_statements(nodes):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, Function | ast.ClassDef):
            found.add(node.name)
    return found


def own_names(function: ast.FunctionDef) -> set[str]:
    """The names of the arguments of a function, and those that it assigns."""
    return {one.arg for one in function.args.args} | assigned_names(function.body)


def is_called_in_loop(tree: ast.Module, name: str) -> bool:
    """Whether a loop calls a function or a method of this name."""
    loops = (node for node in ast.walk(tree) if isinstance(node, ast.For | ast.While))
    called = (node.func for one in loops for node in ast.walk(one) if isinstance(node, ast.Call))
    return any(getattr(one, "id", "") == name or getattr(one, "attr", "") == name for one in called)


def functions_within(body: list[ast.stmt], scope: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions of a body and those within them, by qualified name."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            name = f"{scope}.{node.name}" if scope else node.name
            if isinstance(node, ast.FunctionDef):
                yield name, node
            yield from functions_within(node.body, name)
        else:
            for part in ("body", "orelse", "finalbody"):
                yield from functions_within(getattr(node, part, []), scope)


def names_in(expression: str) -> set[str]:
    """The names that an expression reads.

    >>> sorted(names_in("grads[k] * model.scale"))
    ['grads', 'k', 'model']
    """
    return {node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)}


def is_expression(text: str) -> bool:
    """Whether a text is an expression of Python.

    >>> is_expression("grads[k]"), is_expression("<lambda>():x")
    (True, False)
    """
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True
