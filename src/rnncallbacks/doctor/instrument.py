"""Compiles a script with calls to a watcher.

The watcher is called at loops, at function returns, before statements that change an array, and with the values that
the script prints. The calls are names in ``builtins``, so the script's own names and line numbers stay as they are.

>>> code = instrument("total = 0\\nfor i in range(3):\\n    total += i\\n", "script.py", Sites())
>>> isinstance(code, types.CodeType)
True
"""

from __future__ import annotations

import ast
import functools
import os
import re
import types
from typing import Any, TypeVar

import attrs

from rnncallbacks.doctor.array_changes import (
    adds_to,
    can_be_read_twice,
    changes_of,
    loaded,
    operands_of,
    rated_term,
)
from rnncallbacks.doctor.comprehension_loops import unfold_comprehensions
from rnncallbacks.doctor.loop_items import NO_ITEMS, LoopItems, items_of, stored_names
from rnncallbacks.doctor.loss_names import LOSS_NAMES
from rnncallbacks.doctor.numba_functions import numba_functions
from rnncallbacks.doctor.shown_expressions import replace_shown
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.errors import DataError

START, TICK, END, RETURN, BEFORE, SHOWN, TERM = (
    "__doctor_start__",
    "__doctor_tick__",
    "__doctor_end__",
    "__doctor_return__",
    "__doctor_before__",
    "__doctor_shown__",
    "__doctor_term__",
)
Node = TypeVar("Node", bound=ast.AST)


@attrs.frozen
class Site:
    """One instrumented place of the source.

    Attributes
    ----------
    kind:
        "loop", "function", "change", "output", or "sometimes": an assignment to the name of a loss in an ``if``.
    file, line, source:
        The place, and the statement's first line without its indentation.
    scope:
        The qualified name of the function that contains it, ``<module>`` on the top level; of a function, its own.
    additive:
        Of a change, whether it only adds to the array: ``+=``, ``-=``, or ``g = g + ...``.
    generator:
        Of a loop, whether its body yields.
    targets:
        Of a loop, the names that it assigns at each tick.
    last_line:
        Of a loop, the last line of its body.
    items:
        Of a loop, the items of data that it reads.
    shown:
        Of an output, the expression that is shown; of such an assignment, the one that is assigned.
    """

    kind: str
    file: str
    line: int
    source: str
    scope: str
    additive: bool = False
    generator: bool = False
    targets: frozenset[str] = frozenset()
    last_line: int = 0
    items: LoopItems = NO_ITEMS
    shown: str = ""

    @property
    def pair(self) -> tuple[str, ...]:
        """The two variables of a loop, such as those of ``for i, (x, y) in enumerate(data)``; empty if it has others.

        >>> Site("loop", "a.py", 1, "for i, (x, y) in enumerate(data):", "f").pair
        ('x', 'y')
        """
        counted = re.match(r"for \w+, \w+ in enumerate", self.source)
        found = None if counted else re.match(r"for (?:\w+, ?\((\w+), ?(\w+)\)|\(?(\w+), ?(\w+)\)?) in ", self.source)
        return tuple(name for name in found.groups() if name) if found and self.kind == "loop" else ()


def key_at(kind: str, site: Site, name: str, count: int) -> Key:
    """The key of the value of a name at a place of the source, for the time that it was reached.

    >>> key_at("raw", Site("change", "/home/me/a.py", 3, "w -= d", "f"), "w", 2)
    ('raw', 'a.py:3', 'w#2')
    """
    return kind, f"{os.path.basename(site.file)}:{site.line}", name if count == 1 else f"{name}#{count}"


@attrs.define
class Sites:
    """The sites of a script and of its modules, by their number, and the code of each file and source."""

    known: list[Site] = attrs.field(factory=list)
    codes: dict[tuple[str, str], types.CodeType] = attrs.field(factory=dict)

    def add(self, site: Site) -> int:
        """Add a site and return its number."""
        self.known.append(site)
        return len(self.known) - 1

    def __getitem__(self, number: int) -> Site:
        return self.known[number]

    def __len__(self) -> int:
        return len(self.known)


def instrument(source: str, file: str, sites: Sites) -> types.CodeType:
    """Compile source with calls to the watcher, and add the instrumented places to ``sites``, unless these have both.

    Raises
    ------
    DataError
        The source is not valid Python.
    """
    if (file, source) in sites.codes:
        return sites.codes[file, source]
    try:
        tree = ast.parse(source, file)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise DataError(f"{file}:{line}: {error.args[0]}" if line else f"{file}: {error}") from error
    _Instrumenter(file, source.splitlines(), sites, numba_functions(tree)).visit(unfold_comprehensions(tree))
    code: types.CodeType = compile(ast.fix_missing_locations(tree), file, "exec", dont_inherit=True)
    sites.codes[file, source] = code
    return code


class _Instrumenter(ast.NodeTransformer):
    def __init__(self, file: str, lines: list[str], sites: Sites, compiled: frozenset[str]) -> None:
        self._file = file
        self._lines = lines
        self._sites = sites
        self._compiled = compiled
        self._scopes: list[str] = []
        self._generators: list[bool] = []

    def _site(self, kind: str, node: ast.stmt, **given: Any) -> int:
        line = self._lines[node.lineno - 1].strip() if node.lineno <= len(self._lines) else ""
        scope = ".".join(self._scopes) or "<module>"
        return self._sites.add(Site(kind, self._file, node.lineno, line, scope, **given))

    # Functions ------------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.name in self._compiled:
            return node
        self._scopes.append(node.name)
        number = self._site("function", node)
        generator = _yields(node)
        self._generators.append(generator)
        node.body = self._statements(node.body)
        if not generator:
            node.body = [_Returns(number).visit(statement) for statement in node.body]
            if not isinstance(node.body[-1], ast.Return | ast.Raise):
                at_end = _call(RETURN, node.body[-1], ast.Constant(number), ast.Constant(None))
                node.body.append(ast.copy_location(ast.Expr(at_end), node.body[-1]))
        self._generators.pop()
        self._scopes.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._scopes.append(node.name)
        node.body = self._statements(node.body)
        self._scopes.pop()
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node

    # Loops ----------------------------------------------------------------------------------------------------------

    def visit_For(self, node: ast.For) -> Any:
        return self._loop(node)

    def visit_While(self, node: ast.While) -> Any:
        return self._loop(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        for one in node.body:
            if isinstance(one, ast.Assign) and LOSS_NAMES.search(ast.unparse(one.targets[0])):
                self._site("sometimes", one, shown=ast.unparse(one.value))
        return self.generic_visit(node)

    def _loop(self, node: ast.For | ast.While) -> list[ast.stmt]:
        yields = bool(self._generators) and self._generators[-1] and _yields(node)
        names = frozenset(stored_names(node.target)) if isinstance(node, ast.For) else frozenset()
        last = node.end_lineno or node.lineno
        number = self._site("loop", node, generator=yields, targets=names, last_line=last, items=items_of(node))
        node.body = [_statement(TICK, node.body[0], ast.Constant(number)), *self._statements(node.body)]
        node.orelse = self._statements(node.orelse)
        start = _statement(START, node, ast.Constant(number))
        end = _statement(END, node, ast.Constant(number))
        return [start, ast.copy_location(ast.Try([node], [], [], [end]), node)]

    # Changes --------------------------------------------------------------------------------------------------------

    def _statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in body:
            result += self._before(statement)
            self._rated_term(statement)
            replace_shown(statement, functools.partial(self._shown, statement))
            new = self.visit(statement)
            result += new if isinstance(new, list) else [new]
        return result

    def visit_Module(self, node: ast.Module) -> ast.AST:
        future = [one for one in node.body if isinstance(one, ast.ImportFrom) and one.module == "__future__"]
        doc = node.body[:1] if ast.get_docstring(node, clean=False) is not None else []
        first = [*doc, *future]
        node.body = first + self._statements([one for one in node.body if one not in first])
        return node

    def generic_visit(self, node: Node) -> Node:
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(node, name, None)
            if isinstance(inner, list) and isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
                setattr(node, name, self._statements(inner))
        for handler in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            self.generic_visit(handler)
        return node

    def _shown(self, statement: ast.stmt, shown: ast.expr) -> ast.expr:
        text = ast.unparse(shown)
        return _call(SHOWN, shown, ast.Constant(self._site("output", statement, shown=text)), ast.Constant(text), shown)

    def _rated_term(self, statement: ast.stmt) -> None:
        """Pass a product that has no name through the watcher, if the statement adds it to an array."""
        changed = next((target for _, target in changes_of(statement) if can_be_read_twice(target)), None)
        term = rated_term(statement) if changed is not None else None
        if term is not None and changed is not None:
            product: ast.expr = getattr(term.holder, term.field)
            given = ast.Constant(self._site("change", statement)), ast.Constant(term.text), product
            passed = _call(TERM, statement, *given, loaded(changed), loaded(term.rate))
            setattr(term.holder, term.field, ast.fix_missing_locations(passed))

    def _before(self, statement: ast.stmt) -> list[ast.stmt]:
        found = [(one, changed) for one, changed in changes_of(statement) if can_be_read_twice(changed)]
        return [self._announce(one, changed) for one, changed in found]

    def _announce(self, statement: ast.stmt, changed: ast.expr) -> ast.stmt:
        additive = adds_to(statement, ast.unparse(changed))
        number = self._site("change", statement, additive=additive)
        base: ast.expr = changed
        index: ast.expr = ast.Constant(None)
        text = ast.unparse(changed)
        subscript = changed if isinstance(changed, ast.Subscript) else None
        if subscript is not None and not any(isinstance(one, ast.Slice) for one in ast.walk(subscript.slice)):
            base, index = subscript.value, subscript.slice
            text = ast.unparse(base) if isinstance(index, ast.Tuple) else text
        elif subscript is not None:
            base, text = subscript.value, ast.unparse(subscript.value)
        operands = operands_of(statement, ast.unparse(changed))
        names = ast.Tuple([ast.Constant(ast.unparse(one)) for one in operands], ast.Load())
        values = ast.Tuple([loaded(one) for one in operands], ast.Load())
        given = ast.Constant(number), ast.Constant(text), loaded(base), loaded(index), names, values
        look = _statement(BEFORE, statement, *given)
        # A name that is not bound yet is not changed in place.
        unbound = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
        guarded = ast.Try([look], [unbound], [], [])
        return ast.fix_missing_locations(ast.copy_location(guarded, statement))


class _Returns(ast.NodeTransformer):
    """Passes the result of a function through the watcher, without functions inside it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        value = node.value or ast.copy_location(ast.Constant(None), node)
        node.value = _call(RETURN, node, ast.Constant(self._number), value)
        return node


def _yields(node: ast.AST) -> bool:
    """Whether a function or a loop yields, without functions inside it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(child, ast.Yield | ast.YieldFrom) or _yields(child):
            return True
    return False


def _call(name: str, at: ast.AST, *arguments: ast.expr) -> ast.Call:
    made = ast.Call(ast.Name(name, ast.Load()), list(arguments), [])
    ast.copy_location(made, at)
    ast.copy_location(made.func, at)
    for argument in arguments:
        if not hasattr(argument, "lineno"):
            ast.copy_location(argument, at)
    return made


def _statement(name: str, at: ast.stmt, *arguments: ast.expr) -> ast.stmt:
    return ast.copy_location(ast.Expr(_call(name, at, *arguments)), at)
