"""An error of a script, with the values that its line reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs
import numpy as np


@attrs.frozen
class Failure:
    """An error, and the place in the user's files where it was raised.

    Attributes
    ----------
    error:
        The error.
    line:
        The source of the line.
    number:
        Its number in ``text``.
    text:
        The source of its file.
    names:
        The local and global names at that place.
    """

    error: BaseException
    line: str = ""
    number: int = 0
    text: str = ""
    names: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def message(self) -> str:
        return str(self.error)


Advice = tuple[str, str]
"""The cause and the fix of an error."""


def values_in_line(failure: Failure) -> Iterator[tuple[str, Any]]:
    """The names, attributes and entries in the line, with their values, without calling anything."""
    for text in _expressions(failure.line):
        try:
            yield text, _value(ast.parse(text, mode="eval").body, failure.names)
        except Exception:  # it has no value here, or is an object that cannot be inspected
            continue


def numbers_made_in_line(failure: Failure) -> Iterator[ast.expr]:
    """The expressions in the line that ``float`` or ``int`` makes a number of."""
    for node in ast.walk(_tree(failure.line)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("float", "int") and len(node.args) == 1:
            yield node.args[0]


def _expressions(line: str) -> list[str]:
    """The expressions without side effects, the longest first."""
    nodes = [node for node in ast.walk(_tree(line)) if isinstance(node, ast.Name | ast.Attribute | ast.Subscript)]
    return sorted({ast.unparse(node) for node in nodes}, key=lambda text: (-len(text), text))


def _tree(line: str) -> ast.AST:
    """The tree of a line, or of what it begins or ends; empty if it cannot be read alone."""
    line = line.strip().rstrip(":")
    for code in (line, re.sub(r"^(for .* in|while|if|elif|return)\s+", "", line), f"{line})", f"({line}"):
        with suppress(SyntaxError):
            return ast.parse(code)
    return ast.Module([], [])


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Attribute):
        return vars(_value(node.value, names))[node.attr]
    if isinstance(node, ast.Subscript):
        owner = _value(node.value, names)
        if isinstance(owner, dict | list | tuple | np.ndarray):
            return owner[_value(node.slice, names)]
    raise LookupError(ast.dump(node))
