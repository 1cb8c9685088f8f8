"""Pieces of code that are inserted into scripts, and properties of the places where they are inserted."""

from __future__ import annotations

import ast
import re

import attrs

from rnncallbacks.doctor.hooking.hooked_loop import Block, Function

LINE_WIDTH = 110
"""Most columns of a line with several arrays."""


@attrs.frozen
class WrittenNames:
    """Names that are put into a script; underscores follow a name that the script uses for something else."""

    run: str
    epochs: str
    loss_again: str
    open_runs: str
    batch_loss: str
    batch_values: str

    @classmethod
    def free_in(cls, tree: ast.Module) -> WrittenNames:
        """The names for a script.

        >>> WrittenNames.free_in(ast.parse("run = 1")).run
        'run_'
        """
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        used |= {node.name for node in ast.walk(tree) if isinstance(node, Function | ast.ClassDef)}
        used |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        return cls(**{field.name: free_name(field.name, used) for field in attrs.fields(cls)})


def loop_targets(block: Block) -> set[str]:
    if not isinstance(block, ast.For):
        return set()
    return {node.id for node in ast.walk(block.target) if isinstance(node, ast.Name)}


def free_name(name: str, used: set[str]) -> str:
    while name in used:
        name += "_"
    return name


def bracketed(text: str) -> str:
    return text if re.fullmatch(r"[\w.\[\]'\"]+", text) else f"({text})"


def scaled(expression: str, scale: float) -> str:
    """An expression times a number.

    >>> scaled("dW + dV", -1.0), scaled("dW", 0.125)
    ('-(dW + dV)', '0.125 * dW')
    """
    if abs(scale) != 1.0:
        return f"{scale:.12g} * {bracketed(expression)}"
    return f"-{bracketed(expression)}" if scale < 0 else expression


def call_with_arrays(head: str, pairs: list[tuple[str, str]], tail: str) -> list[str]:
    """A call with a dict of several arrays, on several lines if one is too long."""
    items = [f"{name!r}: {text}" for name, text in pairs]
    line = f"{head}{{{', '.join(items)}}}{tail}"
    if len(line) <= LINE_WIDTH:
        return [line]
    lines, current = [head + "{"], "   "
    for item in items:
        if len(current) + len(item) + 2 > LINE_WIDTH and current.strip():
            lines.append(current)
            current = "   "
        current += f" {item},"
    return [*lines, current, "}" + tail]


def stays_first(statement: ast.stmt) -> bool:
    """Whether a statement must stay first: the docstring, or an import of the future."""
    future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
    return future or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))


def imports_numpy(tree: ast.Module) -> bool:
    aliases = (one for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names)
    return any(one.name == "numpy" and one.asname == "np" for one in aliases)


def import_lines(standard: list[str], *, numpy: bool) -> list[str]:
    """The imports of a hooked script: of the standard library, of NumPy, and of the run.

    >>> import_lines(["import itertools"], numpy=False)
    ['import itertools', '', 'from rnncallbacks import Run, load_plugins']
    """
    groups = [standard, ["import numpy as np"] * numpy, ["from rnncallbacks import Run, load_plugins"]]
    return [line for group in groups if group for line in (*group, "")][:-1]


def column_of(line: str, offset: int) -> int:
    """The column of a place whose offset is in bytes of UTF-8, as in the syntax tree."""
    return len(line.encode()[:offset].decode())


def in_steps(text: str) -> str:
    """Code for the values of a dict by time step, or for another value as it is."""
    return f"[{text}[step] for step in sorted({text})] if isinstance({text}, dict) else {text}"
