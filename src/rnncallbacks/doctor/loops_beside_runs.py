"""Finds loops that are not driven by a ``Run`` in a script that has one."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from rnncallbacks.doctor.attended_runs import RunsOfScript
from rnncallbacks.doctor.loop_search import LoopSearch, SearchEnded

RUNS = frozenset({"Run", "Trainer"})
DRIVEN = frozenset({"batches", "epochs"})
"""Methods of a run over which its loops go."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


class OutsideRuns:
    """Passes the events of loops to a search, except for loops that begin within a run or enter one.

    Parameters
    ----------
    search:
        The search.
    runs:
        The runs of the script.
    seconds:
        Time after which the search ends, within a run too.
    """

    def __init__(self, search: LoopSearch, runs: RunsOfScript, seconds: float) -> None:
        self._search = search
        self._runs = runs
        self._until = time.monotonic() + seconds
        self._active: set[tuple[int, FrameType]] = set()
        runs.call_when_opened(self._active.clear)

    def start(self, number: int, frame: FrameType) -> None:
        """The loop begins."""
        if not self._runs.open:
            self._active.add((number, frame))
            self._search.start(number, frame)

    def tick(self, number: int, frame: FrameType) -> None:
        """An iteration of the loop begins."""
        if (number, frame) in self._active:
            self._search.tick(number, frame)
        elif time.monotonic() > self._until:
            raise SearchEnded

    def end(self, number: int, frame: FrameType) -> None:
        """The loop has ended."""
        if (number, frame) in self._active:
            self._active.discard((number, frame))
            self._search.end(number, frame)

    def returned(self, number: int, value: Any, frame: FrameType) -> None:
        """A function returns."""

    def shown(self, number: int, text: str, value: Any) -> None:
        """The script prints a value."""

    def before(
        self, number: int, text: str, base: Any, index: Any, names: tuple[str, ...] = (), operands: tuple[Any, ...] = ()
    ) -> None:  # fmt: skip
        """A statement is about to change an array."""


def may_train_without_run(trees: Iterable[ast.Module]) -> bool:
    """Whether a loop that no run drives contains or calls a statement that may be an update.

    This saves running the script again. A false positive costs a search.

    Parameters
    ----------
    trees:
        The script and its modules.
    """
    modules = list(trees)
    functions: dict[str, list[ast.AST]] = {}
    for tree in modules:
        for node in ast.walk(tree):
            if isinstance(node, Function):
                functions.setdefault(node.name, []).append(node)
    driven = [node for tree in modules for node in ast.walk(tree) if _is_driven(node)]
    within = {id(inner) for node in _reached(driven, functions) for inner in ast.walk(node)}
    loops = (node for tree in modules for node in ast.walk(tree) if isinstance(node, ast.For | ast.While))
    return any(
        _looks_like_update(inner)
        for loop in loops
        if id(loop) not in within and not any(_is_driven(inner) for inner in ast.walk(loop))
        for node in _reached([loop], functions)
        for inner in ast.walk(node)
    )


def _is_driven(node: ast.AST) -> bool:
    """Whether a node is a ``with`` statement of a run, a loop over its epochs or batches, or a trainer's call."""
    if isinstance(node, ast.With | ast.AsyncWith):
        return any(RUNS & _called(item.context_expr) for item in node.items)
    return isinstance(node, ast.For) and bool(DRIVEN & _called(node.iter))


def _called(node: ast.AST) -> set[str]:
    """The names of the functions and methods that are called within a node."""
    calls = (one.func for one in ast.walk(node) if isinstance(one, ast.Call))
    return {
        one.attr if isinstance(one, ast.Attribute) else one.id
        for one in calls
        if isinstance(one, ast.Attribute | ast.Name)
    }


def _reached(nodes: Iterable[ast.AST], functions: dict[str, list[ast.AST]]) -> Iterator[ast.AST]:
    """The nodes and the functions that they call by name, and so on."""
    waiting, seen = list(nodes), set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        waiting += [one for name in _called(node) for one in functions.get(name, ())]


def _looks_like_update(node: ast.AST) -> bool:
    """Whether a statement subtracts a product or number from a variable: ``w -= rate * dw``, ``w = w - rate * dw``."""
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ast.Sub) or (isinstance(node.op, ast.Add) and _negative(node.value))
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Sub):
        return ast.unparse(node.targets[0]) == ast.unparse(node.value.left)
    return False


def _negative(value: ast.expr) -> bool:
    return any(isinstance(one, ast.UnaryOp) and isinstance(one.op, ast.USub) for one in ast.walk(value))
