"""Where a learning rate gets its value: a constant, a default, or an argument of a call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import TypeGuard

from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.source_lines import AssigningStatements, ParsedFile, SourceLine

RATE_NAME = re.compile(r"(^|_|\b)(lr|eta|alpha|rate|learn\w*|step_?size)(_|\b|$)", re.IGNORECASE)
WHY = "is the learning rate"
SCALES_IT = "scales the learning rate"
DEEPEST = 5
"""Assignments and calls through which a rate is followed. Chosen by eye."""


def rate_origins(files: Sequence[ParsedFile], updates: Sequence[tuple[str, int]]) -> list[SourceLine]:
    """The lines that set or scale the learning rates of some updates, which are given by file and line."""
    found: list[SourceLine] = []
    for file, line in updates:
        parsed = next((one for one in files if one.file == file), None)
        if parsed is None:
            continue
        scopes = _scopes_around(parsed.tree, line)
        statement = next((node for node in ast.walk(scopes[-1]) if _begins_at(node, line)), None)
        for text in _rates_behind(statement, scopes[-1]) if statement is not None else ():
            found += _Origins(files).of(text, parsed, scopes, DEEPEST)
    return list(dict.fromkeys(found))


def loops_around(files: Sequence[ParsedFile], places: Sequence[tuple[str, int]]) -> list[SourceLine]:
    """The two innermost loops around some updates: loops over the parameters."""
    found = []
    for file, line in places:
        for parsed in files:
            loops = [
                node
                for node in ast.walk(parsed.tree)
                if isinstance(node, ast.For) and node.lineno < line <= (node.end_lineno or 0) and parsed.file == file
            ]
            inner_first = sorted((one.lineno for one in loops), reverse=True)
            found += [parsed.line(number, "goes through them") for number in inner_first[:2]]
    return list(dict.fromkeys(found))[:2]


def loops_of_calls(
    statements: AssigningStatements, places: Sequence[tuple[str, int]], loop: Site
) -> list[SourceLine]:  # fmt: skip
    """The loops in a training loop in which the functions of some updates are called: loops over the layers."""
    functions = {one.scope.rpartition(".")[2] for one in statements.all if (one.file, one.line) in places}
    calls = [(one.file, one.line) for one in statements.all if one.calls & functions]
    trained = [one for one in statements.all if (one.file, one.scope) == (loop.file, loop.scope)]
    outer = {(one.file, one.line) for one in trained if one.line <= loop.line}
    return [one for one in loops_around(statements.sources, calls) if (one.file, one.line) not in outer]


def loops_at(parsed: ParsedFile, file: str, line: int) -> list[ast.For | ast.While]:
    """The loops that begin on a line of a file."""
    if parsed.file != file:
        return []
    return [node for node in ast.walk(parsed.tree) if isinstance(node, ast.For | ast.While) and node.lineno == line]


def _begins_at(node: ast.AST, line: int) -> bool:
    return isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef) and node.lineno == line


def _rates_in(node: ast.AST) -> list[str]:
    """The names of rates in a statement.

    >>> _rates_in(ast.parse("w -= self.lr * decay * g"))
    ['self.lr']
    """
    texts = [ast.unparse(one) for one in ast.walk(node) if isinstance(one, ast.Name | ast.Attribute | ast.Subscript)]
    named = [text for text in texts if RATE_NAME.search(_last_name(text))]
    return [text for text in dict.fromkeys(named) if not any(text in other and text != other for other in named)]


def _rates_behind(statement: ast.AST, scope: ast.AST) -> list[str]:
    """The names of rates in a statement, or in those that change the variables that it reads: ``v -= lr * g``."""
    direct = _rates_in(statement)
    if direct:
        return direct
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    changing = [node for node in _own_statements(scope) if isinstance(node, ast.Assign | ast.AugAssign)]
    changed = [
        (one, {ast.unparse(one.target)} if isinstance(one, ast.AugAssign) else _assigned(one)) for one in changing
    ]
    behind = [node for node, texts in changed if {re.split(r"[\[.]", text)[0] for text in texts} & names]
    return list(dict.fromkeys(text for node in behind for text in _rates_in(node.value)))


def _last_name(text: str) -> str:
    """The last name of an expression: an attribute, or a key.

    >>> _last_name("self.cfg['lr']"), _last_name("args.rate"), _last_name("lr[0]")
    ('lr', 'rate', 'lr')
    """
    names = re.findall(r"[^\W\d]\w*", text)
    return names[-1] if names else ""


def _scopes_around(tree: ast.Module, line: int) -> list[ast.AST]:
    """The module and the classes and functions around a line, the outermost first."""
    scopes: list[ast.AST] = [tree]
    while True:
        inner = next(
            (
                node
                for node in ast.walk(scopes[-1])
                if isinstance(node, ast.FunctionDef | ast.ClassDef)
                and node is not scopes[-1]
                and node.lineno <= line <= (node.end_lineno or node.lineno)
            ),
            None,
        )
        if inner is None:
            return scopes
        scopes.append(inner)


class _Origins:
    def __init__(self, files: Sequence[ParsedFile]) -> None:
        self._files = files

    def of(self, text: str, file: ParsedFile, scopes: list[ast.AST], depth: int) -> list[SourceLine]:
        """The origins of an expression in a scope."""
        if depth == 0:
            return []
        if "." in text or "[" in text:
            return self._of_attribute(_last_name(text), text.split(".")[0].split("[")[0], file, scopes, depth)
        for number in range(len(scopes) - 1, -1, -1):
            scope, around = scopes[number], scopes[: number + 1]
            if isinstance(scope, ast.ClassDef):
                continue
            assigned = [node for node in _own_statements(scope) if text in _assigned(node)]
            scaled = [file.line(node.lineno, SCALES_IT) for node in _own_statements(scope) if _scales(node, text)]
            if assigned:
                return [line for node in assigned for line in self._of_value(node, text, file, around, depth)] + scaled
            if isinstance(scope, ast.FunctionDef) and text in _parameters(scope):
                return self._of_parameter(scope, text, file, scopes[:number], depth)
        for other in self._files:
            if other is not file:
                assigned = [node for node in other.tree.body if text in _assigned(node)]
                if assigned:
                    return [one for node in assigned for one in self._of_value(node, text, other, [other.tree], depth)]
        return []

    def _of_value(
        self, node: ast.stmt, text: str, file: ParsedFile, scopes: list[ast.AST], depth: int
    ) -> list[SourceLine]:
        """The origins of what a statement assigns; the statement itself where it is a constant or is computed."""
        value = getattr(node, "value", None)
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            value = next(
                (
                    part
                    for name, part in zip(target.elts, value.elts, strict=True)
                    if _last_name(ast.unparse(name)) == _last_name(text)
                ),
                value,
            )
        if isinstance(value, ast.Name | ast.Attribute):
            return self.of(ast.unparse(value), file, scopes, depth - 1) or [file.line(node.lineno, WHY)]
        return [file.line(node.lineno, WHY)]

    def _of_attribute(
        self, name: str, root: str, file: ParsedFile, scopes: list[ast.AST], depth: int
    ) -> list[SourceLine]:
        """The origins of an attribute or an item, which any file may assign or pass by its name."""
        found: list[SourceLine] = []
        for other in self._files:
            for node in ast.walk(other.tree):
                if isinstance(node, ast.Assign | ast.AnnAssign) and any(
                    _last_name(text) == name and text != name for text in _assigned(node)
                ):
                    around = _scopes_around(other.tree, node.lineno)
                    found += self._of_value(node, name, other, around, depth)
                elif _scales(node, name):
                    found.append(other.line(node.lineno, SCALES_IT))
                elif isinstance(node, ast.Call) and _is_option(node, name):
                    found.append(other.line(node.lineno, WHY))
                elif isinstance(node, ast.ClassDef):  # a field of a dataclass, or an attribute of the class
                    found += [other.line(one.lineno, WHY) for one in node.body if name in _assigned(one)]
        return found or self.of(root, file, scopes, depth - 1)

    def _of_parameter(
        self, function: ast.FunctionDef, name: str, file: ParsedFile, scopes: list[ast.AST], depth: int
    ) -> list[SourceLine]:
        """The origins of a parameter: the arguments of the calls of its function, and its default."""
        owner = scopes[-1].name if scopes and isinstance(scopes[-1], ast.ClassDef) else None
        called = owner if function.name == "__init__" and owner else function.name
        place = _parameters(function).index(name) - (owner is not None)
        found = []
        for other in self._files:
            for node in ast.walk(other.tree):
                if isinstance(node, ast.Call) and _last_name(ast.unparse(node.func)) == called:
                    value = _argument(node, name, place)
                    if value is None:
                        continue
                    line = other.line(value.lineno, WHY)
                    if isinstance(value, ast.Name | ast.Attribute | ast.Subscript):
                        around = _scopes_around(other.tree, node.lineno)
                        found += self.of(ast.unparse(value), other, around, depth - 1) or [line]
                    else:
                        found.append(line)
        default = _default(function, name)
        return found or ([file.line(default.lineno, WHY)] if default is not None else [])


def _scales(node: ast.AST, name: str) -> TypeGuard[ast.AugAssign]:
    """Whether a statement scales a rate in place, given by its name or its attribute.

    >>> _scales(ast.parse("self.lr *= 0.9").body[0], "lr"), _scales(ast.parse("w -= lr").body[0], "lr")
    (True, False)
    """
    if not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Mult | ast.Div):
        return False
    return _last_name(ast.unparse(node.target)) == name


def _own_statements(scope: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a scope, without those of functions and classes in it."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(child, ast.stmt):
            yield child
        yield from _own_statements(child)


def _assigned(node: ast.stmt) -> set[str]:
    """The expressions that a statement assigns.

    >>> sorted(_assigned(ast.parse("hidden, lr = 20, 0.1").body[0]))
    ['hidden', 'lr']
    """
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return {ast.unparse(part) for part in parts}


def _parameters(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    return [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _default(function: ast.FunctionDef, name: str) -> ast.expr | None:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = dict(zip([one.arg for one in positional][::-1], arguments.defaults[::-1], strict=False))
    by_name = zip([one.arg for one in arguments.kwonlyargs], arguments.kw_defaults, strict=True)
    return {**with_default, **{one: value for one, value in by_name if value is not None}}.get(name)


def _argument(call: ast.Call, name: str, place: int) -> ast.expr | None:
    """The argument of a call for a parameter at a place."""
    by_name = next((one.value for one in call.keywords if one.arg == name), None)
    if by_name is not None:
        return by_name
    return call.args[place] if 0 <= place < len(call.args) else None


def _is_option(call: ast.Call, name: str) -> bool:
    """Whether a call defines an option of a command line.

    >>> _is_option(ast.parse("parser.add_argument('--learning-rate', default=0.1)", mode="eval").body, "learning_rate")
    True
    """
    texts = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return "add_argument" in ast.unparse(call.func) and any(
        text.lstrip("-").replace("-", "_") == name for text in texts
    )
