"""The statements of a script that assign names, and the names that they use."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from rnncallbacks.doctor.literal_loops import assigned_items, unrolled_bodies
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.errors import DataError

ZERO_ARRAY_CALLS = frozenset({"zeros", "zeros_like", "empty", "empty_like"})
"""Calls that make an array for sums: a statement with one is not the cause of a fault."""
RETURNED = "return"
"""The target of a statement that returns or yields a value."""
SHOWN = "print"
"""The target of a statement that calls a function and drops its result, such as ``print``."""
SETTER = "setattr"
"""The target of a statement that sets an attribute by its name."""


@attrs.frozen
class SourceLine:
    """A suspicious line of the script, and the reason."""

    file: str
    line: int
    source: str
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return attrs.asdict(self)


@attrs.frozen
class AssigningStatement:
    """One statement: the texts that it assigns, and those that its value reads.

    ``items_assigned`` and ``items_read`` are, by container, the constant keys that it assigns or reads, if it uses the
    container by constant keys alone.
    """

    file: str
    scope: str
    line: int
    source: str
    targets: frozenset[str]
    reads: frozenset[str]
    calls: frozenset[str]
    blank: bool
    items_assigned: Mapping[str, frozenset[str]] = attrs.field(factory=dict, eq=False)
    items_read: Mapping[str, frozenset[str]] = attrs.field(factory=dict, eq=False)

    @property
    def place(self) -> str:
        """The name of the file and the line."""
        return f"{os.path.basename(self.file)}:{self.line}"

    def may_assign(self, text: str, items: frozenset[str] | None) -> bool:
        """Whether it assigns some items of a container, or a text that is none (``items`` is None)."""
        assigned = self.items_assigned.get(text)
        return text in self.targets and (items is None or assigned is None or bool(items & assigned))

    def assigns_item(self, text: str) -> bool:
        """Whether it assigns the item that an expression such as ``net.grad['W']`` ends with, of any container."""
        last = re.search(r"\[('[^']*'|\d+)\]$", text)
        return last is not None and any(last[1] in keys for keys in self.items_assigned.values())

    def shown(self, why: str) -> SourceLine:
        """The statement as a suspicious line."""
        return SourceLine(self.file, self.line, self.source, why)


@attrs.frozen(eq=False)
class ParsedFile:
    """A file of the user."""

    file: str
    tree: ast.Module
    lines: list[str]

    def line(self, number: int, why: str) -> SourceLine:
        """A line of the file, with the reason to look at it."""
        return SourceLine(self.file, number, self.lines[number - 1].strip(), why)


class AssigningStatements:
    """The assigning statements of some files.

    Parameters
    ----------
    files:
        Scripts, modules and notebooks. One that cannot be read is left out.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self.all: list[AssigningStatement] = []
        self.sources: list[ParsedFile] = []
        for file in files:
            try:
                text = read_script(Path(file)).text
                tree = ast.parse(text)
            except (DataError, SyntaxError, ValueError, OSError):
                continue
            self.sources.append(ParsedFile(file, tree, text.splitlines()))
            self.all += _statements(tree, file, text.splitlines(), ())

    def until_end_of(self, file: str, line: int) -> list[AssigningStatement]:
        """All statements but those that a flat script, or a function, has behind the outermost loop around a line."""
        trees = [one.tree for one in self.sources if one.file == file]
        nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.For | ast.While)]
        ends = [(node.lineno, node.end_lineno or 0) for node in nodes]
        around = [(first, last) for first, last in ends if first <= line <= last]
        inside = [one for one in self.all if one.file == file and any(a <= one.line <= b for a, b in around)]
        scope = min((one.scope for one in inside), key=len, default=None)
        end = max((last for _, last in around), default=0)
        return [one for one in self.all if one.scope != scope or one.file != file or one.line <= end]

    def adding_to(self, expression: str) -> list[AssigningStatement]:
        """The statements that append to a list."""
        return [one for one in self.all if f"{expression}.append" in one.targets]

    def returned_by(self, calling: AssigningStatement) -> list[AssigningStatement]:
        """The statements with which the functions return that a statement calls, first that whose result it assigns."""
        outer = re.search(r"=\s*(?:[\w.]+\.)?(\w+)\(", calling.source)
        found = [one for one in self.all if RETURNED in one.targets and one.scope.rpartition(".")[2] in calling.calls]
        return sorted(found, key=lambda one: outer is None or one.scope.rpartition(".")[2] != outer[1])

    def with_called(self, statements: Iterable[AssigningStatement]) -> Iterator[AssigningStatement]:
        """Statements, each with those that return what it calls, and those that assign what these read."""
        for one in statements:
            yield one
            for last in self.returned_by(one):
                read = [found for text in sorted(last.reads) for found in self.of(text, last.scope)]
                yield from (last, *(found for found in read if found.scope == last.scope))

    def blanks_of(self, assigning: AssigningStatement) -> list[AssigningStatement]:
        """The statements of the same function that make the zeros to which a statement adds."""
        same = [one for one in self.all if (one.file, one.scope) == (assigning.file, assigning.scope)]
        return [one for one in same if one.blank and one.targets & assigning.targets]

    def returning(self, statements: Iterable[AssigningStatement]) -> list[AssigningStatement]:
        """The statements that return what some statements read."""
        read = [(text, one) for one in statements for text in sorted(one.reads)]
        assigning = [(found, one) for text, one in read for found in self.of(text, one.scope)]
        calls = [found for found, one in assigning if found is not one and found.scope == one.scope]
        return [last for one in calls for last in self.returned_by(one)]

    def of(self, expression: str, scope: str | None = None) -> list[AssigningStatement]:
        """The statements that assign an expression such as ``dW`` or ``grads['W']``, in a function or anywhere.

        Without one, those that assign a part of it: the attribute, the key or the container. Statements that only make
        an array of zeros come last.
        """
        blank: list[AssigningStatement] = []
        last = re.search(r"\[('[^']*'|\d+)\]$", expression)
        for text in _spellings(expression):
            items = None if last is None or text.endswith("]") else frozenset([last[1]])
            for where in dict.fromkeys((scope, None)):
                found = [one for one in self.all if one.may_assign(text, items) and where in (None, one.scope)]
                found.sort(key=lambda one: one.blank)
                if found and not found[0].blank:
                    return found
                blank = blank or found
        return blank


def _spellings(expression: str) -> list[str]:
    """The expression, the expression without its object, its container, and its object, which may have been made whole.

    >>> _spellings("batch.label"), _spellings("net.w['U']")
    (['batch.label', 'label', 'batch'], ["net.w['U']", "w['U']", 'net.w', 'w', 'net'])
    """
    spellings = [expression]
    if "." in expression:
        spellings.append(expression.rsplit(".", 1)[-1])
    if "[" in expression:
        container = expression.rsplit("[", 1)[0]
        spellings += [container, container.rsplit(".", 1)[-1]]
    if "." in expression:
        spellings.append(expression.split(".")[0].split("[")[0])
    return list(dict.fromkeys(spellings))


def _statements(node: ast.AST, file: str, lines: list[str], scopes: tuple[str, ...]) -> Iterator[AssigningStatement]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _statements(child, file, lines, (*scopes, child.name))
            continue
        targets, value = _parts(child)
        if targets:
            line = child.lineno  # type: ignore[attr-defined]
            yield AssigningStatement(
                file,
                ".".join(scopes) or "<module>",
                line,
                lines[line - 1].strip(),
                frozenset(text for target in targets for text in _texts(target)),
                frozenset(text for part in (value, *targets) if part for text in _read_texts(part)),
                frozenset(_called(value)),
                _is_blank(value) and not isinstance(child, ast.AugAssign),
                _only_items(targets, ast.Store),
                _only_items([part for part in (value, *targets) if part], ast.Load),
            )
        parts: list[ast.AST] = [*(unrolled_bodies(child) if isinstance(child, ast.For) else assigned_items(child))]
        for part in parts or [child]:
            yield from _statements(part, file, lines, scopes)


def _parts(node: ast.AST) -> tuple[list[ast.expr], ast.expr | None]:
    if isinstance(node, ast.Assign):
        return node.targets, node.value
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
        return [node.target], node.value
    if isinstance(node, ast.For):
        return [node.target], node.iter
    if isinstance(node, ast.Return) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield)):
        given = node.value.value if isinstance(node.value, ast.Yield) else node.value
        return [ast.Name(RETURNED, ast.Store())], given
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == SETTER:
        return [ast.Name(SETTER, ast.Store())], node.value
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        out = [keyword.value for keyword in node.value.keywords if keyword.arg == "out"]
        if isinstance(node.value.func, ast.Attribute) and node.value.func.attr == "append":
            return [node.value.func], node.value
        return out or [ast.Name(SHOWN, ast.Store())], node.value
    return [], None


def _texts(target: ast.expr) -> Iterator[str]:
    """The texts under which a target is found: as written, and without its object."""
    if isinstance(target, ast.Tuple | ast.List):
        for inner in target.elts:
            yield from _texts(inner)
    elif isinstance(target, ast.Starred):
        yield from _texts(target.value)
    else:
        yield ast.unparse(target)
        if isinstance(target, ast.Attribute):
            yield target.attr
        elif isinstance(target, ast.Subscript):
            text = ast.unparse(target.value)
            yield text
            yield text.rsplit(".", 1)[-1]
            yield ast.unparse(target).rsplit(".", 1)[-1]


def _read_texts(node: ast.AST) -> Iterator[str]:
    """The variables and attributes that an expression reads; of an indexed target, those of its index.

    >>> sorted(_read_texts(ast.parse("(dh + self.back) * (1 - np.tanh(cs[t]) ** 2)", mode="eval")))
    ['cs', 'dh', 'np', 'np.tanh', 'self', 'self.back', 't']
    """
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        yield from _read_texts(node.slice)
    elif isinstance(node, ast.Name | ast.Attribute) and _is_dotted(node):
        part: ast.expr | None = node if isinstance(node.ctx, ast.Load) else None
        while part is not None:
            yield ast.unparse(part)
            part = part.value if isinstance(part, ast.Attribute) else None
    else:
        for child in ast.iter_child_nodes(node):
            yield from _read_texts(child)


def _only_items(nodes: Iterable[ast.expr], context: type[ast.expr_context]) -> dict[str, frozenset[str]]:
    """The constant keys of containers, without containers that have another use in the same context.

    >>> _only_items([ast.parse("d['a'] @ self.w[0] + e['b'] * e", mode="eval").body], ast.Load)
    {'d': frozenset({"'a'"}), 'self.w': frozenset({'0'}), 'w': frozenset({'0'})}
    """
    items: dict[str, set[str]] = {}
    whole: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, context) and _is_dotted(node.value):
            container = ast.unparse(node.value)
            for text in dict.fromkeys((container, container.rsplit(".", 1)[-1])):
                if isinstance(node.slice, ast.Constant):
                    items.setdefault(text, set()).add(repr(node.slice.value))
                else:
                    whole.add(text)
            visit(node.slice)
            return
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, context):
            whole.add(ast.unparse(node))
        for child in ast.iter_child_nodes(node):
            visit(child)

    for node in nodes:
        visit(node)
    return {text: frozenset(keys) for text, keys in items.items() if text not in whole}


def _is_dotted(node: ast.expr) -> bool:
    """Whether an expression is a name, or attributes of one.

    >>> [_is_dotted(ast.parse(text, mode="eval").body) for text in ("x", "self.net.w", "f().w")]
    [True, True, False]
    """
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_dotted(node.value))


def _called(value: ast.expr | None) -> Iterator[str]:
    """The last names of the functions that an expression calls."""
    for node in ast.walk(value) if value is not None else ():
        if isinstance(node, ast.Call) and _is_dotted(node.func):
            yield ast.unparse(node.func).rsplit(".", 1)[-1]


def _is_blank(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Tuple | ast.List):
        return bool(value.elts) and all(_is_blank(one) for one in value.elts)
    if isinstance(value, ast.ListComp | ast.DictComp):
        return _is_blank(value.elt if isinstance(value, ast.ListComp) else value.value)
    if isinstance(value, ast.IfExp):
        return _is_blank(value.body) or _is_blank(value.orelse)
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rsplit(".", 1)[-1] in ZERO_ARRAY_CALLS
    if isinstance(value, ast.Dict):
        return all(_is_blank(one) for one in value.values)
    return isinstance(value, ast.Constant)
