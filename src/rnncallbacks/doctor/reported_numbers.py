"""The numbers that a loop reports only in some iterations, evaluated at the end of each."""

from __future__ import annotations

import ast
import builtins
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import CodeType, FrameType, MemberDescriptorType, ModuleType
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.instrument import Site, Sites
from rnncallbacks.doctor.shown_expressions import FORMATTING_CALLS
from rnncallbacks.doctor.value_walk import Key

PURE_BUILTINS = frozenset({"sum", "len", "float", "abs", "max", "min", "list"})
PURE_METHODS = frozenset({"mean", "sum", "item", "max", "min", "dot", "ravel", "flatten", "reshape", "values", "copy"})
PURE_FUNCTIONS = frozenset(
    {
        "mean", "sum", "average", "abs", "absolute", "square", "sqrt", "log", "exp", "power", "dot", "maximum",
        "minimum", "clip", "norm", "array", "asarray", "arange", "squeeze", "ravel", "stack", "concatenate", "subtract",
    }
)  # fmt: skip
"""Functions of NumPy whose calls have no effect."""
PURE_NODES = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Call, ast.Slice, ast.Tuple,
    ast.List, ast.keyword, ast.operator, ast.unaryop, ast.expr_context,
)  # fmt: skip
MOST_EXPRESSIONS = 8
"""Largest number of expressions of a loop that are evaluated. Chosen by eye."""


@attrs.frozen
class ReportedNumber:
    """An expression whose evaluation has no effect, as far as its text shows.

    Attributes
    ----------
    text:
        The expression.
    """

    text: str
    _roots: frozenset[str]
    _read: tuple[ast.expr, ...]

    def value(self, names: Mapping[str, Any]) -> float | None:
        """Its value with these names, None if it has none or the evaluation may have an effect.

        Properties, items of data sets, numbers that record what is computed with them, and iterators may have one.

        >>> (reported,) = reported_numbers([Site("output", "a.py", 2, "", "f", shown="np.mean(error ** 2)")])
        >>> reported.value({"np": np, "error": np.array([1.0, 3.0])}), reported.value({"np": np, "error": iter([1.0])})
        (5.0, None)
        """
        known = dict(names)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                if not all(map(_is_known_function, self._roots, (known.get(name) for name in self._roots))):
                    return None
                if not all(_is_plain(_read_without_effect(node, known)) for node in self._read):
                    return None
                found = eval(_compiled(self.text), known)
            except Exception:
                return None
        if isinstance(found, np.ndarray) and found.size == 1 and found.dtype.kind == "f":
            return float(found.reshape(-1)[0])
        return float(found) if isinstance(found, float | np.floating) else None


def reported_numbers(sites: Iterable[Site]) -> list[ReportedNumber]:
    """The expressions that these places report, but names, attributes and items, and calls that may have an effect.

    >>> texts = ["loss", "np.mean(error ** 2)", "sum(losses) / T", "sample(net)", "float(loss)"]
    >>> [one.text for one in reported_numbers(Site("output", "a.py", 2, "", "f", shown=text) for text in texts)]
    ['np.mean(error ** 2)', 'sum(losses) / T']
    """
    found: dict[str, ReportedNumber] = {}
    for site in sites:
        node = ast.parse(site.shown, mode="eval").body if site.shown else None
        while isinstance(node, ast.Call) and getattr(node.func, "id", "") in FORMATTING_CALLS and node.args:
            node = node.args[0]
        if isinstance(node, ast.BinOp | ast.Call | ast.UnaryOp) and _is_pure(node) and len(found) < MOST_EXPRESSIONS:
            text = ast.unparse(node)
            found[text] = ReportedNumber(text, _functions(node), tuple(_leaves(node)))
    return list(found.values())


@attrs.define(eq=False)
class LoopReports:
    """The numbers that the training loop reports, of its own function.

    Attributes
    ----------
    sites:
        The instrumented places.
    """

    sites: Sites
    _numbers: list[ReportedNumber] | None = None
    _targets: dict[str, Any] = attrs.field(factory=dict)

    def begin(self, loop: Site, frame: FrameType, period: int) -> None:
        """An iteration begins: the variables of the loop have its values, and those of the next one at its end.

        If it has several ticks of the loop, the ``period``, what one of them reports is not that of the iteration.
        """
        if self._numbers is None and period == 1:
            inside = [one for one in self.sites.known if (one.file, one.scope) == (loop.file, loop.scope)]
            self._numbers = reported_numbers(one for one in inside if loop.line < one.line <= loop.last_line)
        if self._numbers:
            self._targets = {name: value for name, value in frame.f_locals.items() if name in loop.targets}

    def values(self, scope: str, frame: FrameType, is_wanted: Callable[[Key, Any], bool]) -> dict[Key, float]:
        """The numbers at the end of the iteration that are wanted, with keys in a scope."""
        found: dict[Key, float] = {}
        for number in self._numbers or ():
            key = ("end", scope, number.text)
            value = (
                number.value({**frame.f_globals, **frame.f_locals, **self._targets}) if is_wanted(key, 0.0) else None
            )
            if value is not None:
                found[key] = value
        return found


def names_read(expression: str) -> list[str]:
    """The names, attributes and items that an expression reads, without its functions.

    >>> names_read("np.mean(self.error ** 2) / n + total['a']")
    ['self.error', 'n', "total['a']"]
    """
    try:
        tree = ast.parse(expression, mode="eval").body
    except SyntaxError:
        return [expression]
    return [ast.unparse(node) for node in _leaves(tree)]


def _leaves(node: ast.AST) -> list[ast.expr]:
    """The outermost names, attributes and items in an expression, without functions and modules."""
    if isinstance(node, ast.Call):
        method = node.func.value if isinstance(node.func, ast.Attribute) and not _of_numpy(node.func) else None
        parts = [*([] if method is None else [method]), *node.args, *(one.value for one in node.keywords)]
        return [leaf for part in parts for leaf in _leaves(part)]
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        return [node]
    return [leaf for part in ast.iter_child_nodes(node) for leaf in _leaves(part)]


def _is_pure(tree: ast.expr) -> bool:
    for node in ast.walk(tree):
        if not isinstance(node, PURE_NODES):
            return False
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id not in PURE_BUILTINS:
                return False
            allowed = PURE_FUNCTIONS if isinstance(function, ast.Attribute) and _of_numpy(function) else PURE_METHODS
            if isinstance(function, ast.Attribute) and function.attr not in allowed:
                return False
            if not isinstance(function, ast.Name | ast.Attribute) or any(one.arg == "out" for one in node.keywords):
                return False
    return True


def _of_numpy(function: ast.Attribute) -> bool:
    return ast.unparse(function.value) in ("np", "numpy", "np.linalg", "numpy.linalg")


def _functions(tree: ast.expr) -> frozenset[str]:
    """The names of built-in functions and of modules that an expression needs."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    modules = {ast.unparse(one).split(".")[0] for one in calls if isinstance(one, ast.Attribute) and _of_numpy(one)}
    return frozenset(modules | {one.id for one in calls if isinstance(one, ast.Name)})


@cache
def _compiled(expression: str) -> CodeType:
    return compile(expression, "<reported>", "eval")


def _read_without_effect(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an expression.

    Raises
    ------
    TypeError
        Code of the script would run, as that of a property.
    """
    if isinstance(node, ast.Attribute):
        owner = _read_without_effect(node.value, names)
        found = None if isinstance(owner, np.ndarray | tuple) else inspect.getattr_static(owner, node.attr)
        if hasattr(type(found), "__get__") and not isinstance(found, MemberDescriptorType):
            raise TypeError(f"expected an attribute that is stored, got {ast.unparse(node)}")
        return getattr(owner, node.attr)
    if isinstance(node, ast.Subscript):
        owner = _read_without_effect(node.value, names)
        if not isinstance(owner, np.ndarray) and not _is_builtin_container(owner):
            raise TypeError(f"expected items of an array, list, tuple or dict, got {ast.unparse(node)}")
        read = _leaves(node.slice)
    else:
        read = [] if isinstance(node, ast.Name) else _leaves(node)
    if not all(_is_plain(_read_without_effect(one, names)) for one in read):
        raise TypeError(f"expected numbers and arrays, got {ast.unparse(node)}")
    return eval(_compiled(ast.unparse(node)), names)


def _is_plain(value: Any) -> bool:
    """Whether arithmetic with a value has no effect: it is a number or an array, or a container of them."""
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    if not _is_builtin_container(value):
        return value is None or isinstance(value, np.generic | bool | int | float | complex | str)
    items = list(value.values() if isinstance(value, dict) else value)
    return set(map(type, items)) <= {int, float, np.float64, np.float32} or all(map(_is_plain, items))


def _is_builtin_container(value: Any) -> bool:
    kinds = (kind for kind in (list, tuple, dict) if isinstance(value, kind))
    return any(type(value).__getitem__ is kind.__getitem__ for kind in kinds) and not hasattr(value, "__missing__")


def _is_known_function(name: str, value: Any) -> bool:
    """Whether a name is that of NumPy, or that of a built-in function which the script has not replaced."""
    if name in PURE_BUILTINS:
        return value is None or value is getattr(builtins, name)
    return isinstance(value, ModuleType) and value.__name__ == "numpy"
