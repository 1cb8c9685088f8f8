"""Translates the roles of a loop's values into expressions for lines of the script."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence

import attrs

from rnncallbacks.doctor.driving import IGNORED_FOR_ANOTHER_NUMBER
from rnncallbacks.doctor.hooking.hooked_loop import (
    Block,
    HookedLoop,
    HookedParameter,
    functions_within,
    is_expression,
    loop_at,
    names_in,
    own_names,
    own_statements,
)
from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.roles.role_table import ParameterRole, Roles
from rnncallbacks.doctor.script_source import Location, ScriptSource
from rnncallbacks.doctor.shown_expressions import called_name
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.errors import DataError

LOOP_BODY = 0
"""The body of the loop, in place of the line of a function."""


@attrs.frozen
class _Known:
    """An expression, and the block in whose body it is valid: the line of a function, or ``LOOP_BODY``.

    It is exact if its value was observed, and not inferred from calls and return statements.
    """

    block: int
    expression: str
    exact: bool = True


def loops_from_roles(source: ScriptSource, site: Site, roles: Roles, report: Key | None = None) -> Iterator[HookedLoop]:
    """The loop for the writer of hooked scripts, for each block in which the gradients have names; the best first.

    Parameters
    ----------
    source:
        The file that contains the loop.
    site:
        The loop.
    roles:
        The roles of its values.
    report:
        The list to which the loss of an epoch is added, if it is known.

    Raises
    ------
    DataError
        A role is unknown, or its value has no name where the hook would be.
    """
    with_gradient = roles.with_gradient
    if roles.loss is None or roles.loss_confidence == "unsure" or not with_gradient:
        raise DataError(
            f"{source.location(site.line)}: the loss or the gradients of this loop are not known",
            hint="name them: --loss, --params, --grads",
        )
    names = _Names(source, site)
    gradients = {one.name: list(names.known(one.gradient, one.fallback, *one.other_names)) for one in with_gradient}
    blocks = dict.fromkeys(known.block for found in gradients.values() for known in found)
    # In the loop, unless the script changes gradients in place before they are known there.
    in_place = any(one.gradient is not None and one.gradient[0] == "raw" for one in with_gradient)
    found_any = False
    for block in blocks if in_place else sorted(blocks, key=lambda one: one != LOOP_BODY):
        there = {name: names.best_within(block, found) for name, found in gradients.items()}
        loss = names.loss(block, roles.loss, *roles.loss_names)
        if loss is None or None in there.values():
            continue
        parameters = tuple(
            HookedParameter(one.name, one.key[2], names.parameter(one, block), known.expression, one.scale)
            for one in with_gradient
            if (known := there[one.name]) is not None
        )
        observed, observed_in = names.observed(roles, loss.block)
        found_any = True
        yield HookedLoop(
            source=source,
            line=site.line,
            parameters=parameters,
            loss=loss.expression,
            block=block or None,
            loss_in_loop=block != LOOP_BODY and loss.block == LOOP_BODY,
            observed=observed,
            observed_in=observed_in,
            learning_rate=roles.learning_rate,
            report="" if report is None else report[2],
            ignored=() if roles.descends_loss else IGNORED_FOR_ANOTHER_NUMBER,
        )
    if not found_any:
        raise _no_names(source.location(site.line), gradients, with_gradient, names)


def _no_names(
    place: Location, gradients: dict[str, list[_Known]], with_gradient: Sequence[ParameterRole], names: _Names
) -> DataError:
    missing = next((name for name, found in gradients.items() if not found), "")
    places = [one.gradient[1] for one in with_gradient if one.gradient]
    if missing and not any(map(names.has, places)):
        return DataError(
            f"{place}: the gradient of {missing} is known only in another file, {places[0]}",
            hint="return the gradients to the loop, or write the hooks by hand",
        )
    what = f"the gradient of {missing}" if missing else "the loss, or a gradient,"
    return DataError(
        f"{place}: {what} has no name in the loop, nor where the others have one",
        hint="write the hooks by hand: docs/tutorial/own-loop.md",
    )


class _Names:
    def __init__(self, source: ScriptSource, site: Site) -> None:
        self._source = source
        self._site = site
        self._tree = ast.parse(source.text)
        self._loop = loop_at(self._tree, source, site.line)
        self._functions = dict(functions_within(self._tree.body, ""))
        self._found: dict[Key, tuple[_Known, ...]] = {}
        self._nodes: dict[Block, tuple[ast.AST, ...]] = {}

    def _nodes_of(self, block: Block) -> tuple[ast.AST, ...]:
        """The nodes of the body of a loop or a function. They are asked for at each key, and collected once."""
        if block not in self._nodes:
            self._nodes[block] = tuple(own_statements(block.body))
        return self._nodes[block]

    def has(self, scope: str) -> bool:
        """Whether the scope of a key is in the file."""
        own_line = scope.startswith(f"{os.path.basename(self._source.path)}:")
        return own_line or scope in self._functions or self._is_seen(scope)

    def known(self, *keys: Key | None) -> Iterator[_Known]:
        """The expressions of keys, and the blocks in which they are valid."""
        for key in keys:
            if key is not None:
                if key not in self._found:
                    self._found[key] = tuple(one for one in self._of(key) if is_expression(one.expression))
                yield from self._found[key]

    def _of(self, key: Key) -> Iterator[_Known]:
        kind, scope, name = key
        name = re.sub(r"#\d+$", "", name)
        if kind == "end":
            if self._is_seen(scope):
                yield _Known(LOOP_BODY, name)
        elif kind == "raw":
            yield from self._raw(scope, name)
        elif (function := self._functions.get(scope)) is not None:
            if kind == "local":
                yield _Known(function.lineno, name)
                concluded = [*self._handed_on(function, name), *self._handed_in(function, name)]
                outer = self._functions.get(scope.rpartition(".")[0])
                head = re.match(r"\w+", name)
                # A name of the function around it.
                if outer is not None and head is not None and head[0] not in own_names(function):
                    concluded += [_Known(outer.lineno, name), *self._handed_on(outer, name)]
                yield from (attrs.evolve(one, exact=False) for one in concluded)
            elif (element := self._returned(function, name)) is not None:
                yield _Known(function.lineno, element)
            if kind == "return":
                yield from self._called(function, name)

    def best_within(self, block: int, found: list[_Known]) -> _Known | None:
        """The best of the expressions that are valid in a block."""
        there = (one for one in found if one.block == block)
        return min(there, key=lambda one: (not one.exact, self._changes_within(one)), default=None)

    def observed(self, roles: Roles, block: int) -> tuple[dict[str, str], dict[str, tuple[int, str]]]:
        """The expressions of the batch's data and states in the block of the loss; of the others, in functions."""
        there: dict[str, str] = {}
        in_functions: dict[str, tuple[int, str]] = {}
        inputs = None if roles.other_inputs else roles.inputs  # a part of them does not show what targets depend on
        for name, key in (("inputs", inputs), ("targets", roles.targets), ("hidden_states", roles.hidden)):
            for one in self.known(key):
                if one.block == block:
                    there[name] = one.expression
                elif (
                    key is not None and key[0] == "local" and "#" not in key[1] and one.exact and one.block != LOOP_BODY
                ):
                    in_functions[name] = one.block, one.expression
        return there, {name: one for name, one in in_functions.items() if name not in there}

    def _changes_within(self, known: _Known) -> bool:
        """Whether an expression begins with a name that a loop within the block assigns at each tick."""
        function = next((one for one in self._functions.values() if one.lineno == known.block), None)
        return bool(names_in(known.expression) & self._inner_targets(self._loop if function is None else function))

    def _is_seen(self, scope: str) -> bool:
        """Whether the names of a scope are visible in the loop's frame: its own, or those of the module."""
        own = self._site.scope
        return scope in (own, "__main__") or scope.replace(".<locals>", "") == own or scope == self._source.path.stem

    def _raw(self, scope: str, name: str) -> Iterator[_Known]:
        file, _, line = scope.rpartition(":")
        if file != os.path.basename(self._source.path):
            return
        number = int(line)
        around = [one for one in self._functions.values() if one.lineno <= number <= (one.end_lineno or 0)]
        function = max(around, key=lambda one: one.lineno, default=None)
        within = self._loop.lineno <= number <= (self._loop.end_lineno or 0)
        if not names_in(name) & self._inner_targets(self._loop if within or function is None else function):
            yield _Known(LOOP_BODY if within or function is None else function.lineno, name)

    def _called(self, function: ast.FunctionDef, name: str) -> Iterator[_Known]:
        """The loop's names for the result of a function: the target of the assignment, or the call itself."""
        nodes = self._nodes_of(self._loop)
        calls = [node for node in nodes if isinstance(node, ast.Call) and called_name(node) == function.name]
        if len(calls) != 1:  # ambiguous
            return
        assigned = [node for node in nodes if isinstance(node, ast.Assign) and node.value is calls[0]]
        if not assigned:
            yield _Known(LOOP_BODY, name.replace("return", ast.unparse(calls[0]), 1))
        elif (target := _part(assigned[0].targets[0], name)) is not None:
            yield _Known(LOOP_BODY, target)

    def _handed_on(self, function: ast.FunctionDef, name: str) -> Iterator[_Known]:
        """The loop's names for a local value that a function returns."""
        for node in self._nodes_of(function):
            if not isinstance(node, ast.Return) or node.value is None:
                continue
            elements = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for number, element in enumerate(elements):
                text = ast.unparse(element)
                if name == text or name.startswith((f"{text}[", f"{text}.")):
                    place = f"return[{number}]" if isinstance(node.value, ast.Tuple) else "return"
                    yield from self._called(function, place + name.removeprefix(text))

    def _handed_in(self, function: ast.FunctionDef, name: str, depth: int = 2) -> Iterator[_Known]:
        """The callers' names for an argument of a function, and the loop's, if a caller returns it."""
        head = re.match(r"\w+", name)
        arguments = [one.arg for one in function.args.args]
        if head is None or head[0] not in arguments or not depth:
            return
        place = arguments.index(head[0]) - (arguments[0] in ("self", "cls"))
        for caller in [None, *self._functions.values()]:
            for call in self._nodes_of(self._loop if caller is None else caller):
                if not isinstance(call, ast.Call) or called_name(call) != function.name or caller is function:
                    continue
                named = [one.value for one in call.keywords if one.arg == head[0]]
                given = named[0] if named else call.args[place] if place < len(call.args) else None
                if not isinstance(given, ast.Name | ast.Attribute | ast.Subscript):
                    continue
                text = ast.unparse(given) + name[head.end() :]
                yield _Known(LOOP_BODY if caller is None else caller.lineno, text)
                if caller is not None:
                    yield from self._handed_on(caller, text)
                    yield from self._handed_in(caller, text, depth - 1)

    def loss(self, block: int, *keys: Key) -> _Known | None:
        """The loss where the gradients are known, or in the loop if it is known only there."""
        found = list(self.known(*keys))
        for one in found:
            if one.block == block:
                return one
        function = next((one for one in self._functions.values() if one.lineno == block), None)
        for one in found:
            if one.block == LOOP_BODY and function is not None and (inner := self._passed_on(one.expression, function)):
                return _Known(block, inner)
        return next((one for one in found if one.block == LOOP_BODY), None)

    def _passed_on(self, name: str, function: ast.FunctionDef) -> str | None:
        """A function's own name for a value that it returned to the loop."""
        for node in self._nodes_of(self._loop):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            if called_name(node.value) != function.name:
                continue
            target = node.targets[0]
            if isinstance(target, ast.Tuple | ast.List):
                texts = [ast.unparse(one) for one in target.elts]
                if name in texts:
                    return self._returned(function, f"return[{texts.index(name)}]")
            elif ast.unparse(target) == name:
                return self._returned(function, "return")
        return None

    def parameter(self, one: ParameterRole, block: int) -> str:
        """The expression of a parameter in a block. In another class's method, the object is ``self``."""
        expression = one.key[2]
        function = next((found for found in self._functions.values() if found.lineno == block), None)
        if function is None or not function.args.args or function.args.args[0].arg != "self":
            return expression
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == function.name:
                owner = ast.unparse(node.func.value)
                if expression.startswith(owner + "."):
                    return "self" + expression.removeprefix(owner)
        return expression

    def _inner_targets(self, block: Block) -> set[str]:
        """The names that loops within a block assign at each tick."""
        loops = (node for node in self._nodes_of(block) if isinstance(node, ast.For))
        return {one.id for node in loops for one in ast.walk(node.target) if isinstance(one, ast.Name)}

    def _returned(self, function: ast.FunctionDef, name: str) -> str | None:
        """The result of a function with a name such as ``return[0]``, as an expression of its last return statement."""
        returns = [node for node in self._nodes_of(function) if isinstance(node, ast.Return) and node.value]
        if len(returns) != 1 or returns[0].value is None:
            return None
        return _part(returns[0].value, name)


def _part(value: ast.expr, name: str) -> str | None:
    """The part of an expression with a name such as ``return[1]['W']``, if it need not be computed again."""
    rest = name.removeprefix("return")
    match = re.match(r"\[(\d+)\]", rest)
    if match and isinstance(value, ast.Tuple | ast.List):
        index = int(match[1])
        if index >= len(value.elts):
            return None
        value, rest = value.elts[index], rest[match.end() :]
    plain = isinstance(value, ast.Name | ast.Attribute | ast.Subscript)
    return f"{ast.unparse(value)}{rest}" if plain else None
