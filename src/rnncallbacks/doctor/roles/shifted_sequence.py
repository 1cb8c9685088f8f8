"""Inputs and targets that are one array: ``sequence[t]`` is the input of a step, and ``sequence[t + 1]`` its target."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, same_bits
from rnncallbacks.doctor.roles.data_pair import plain_array, whole_numbers_of
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.errors import DataError

SHORTEST = 4
"""Shortest sequence, in entries along the time axis. Chosen by eye."""


def find_shifted_sequence(files: Iterable[str], records: Sequence[IterationRecord]) -> tuple[Key, int] | None:
    """The array of tokens that is read at ``t`` and at ``t + 1``, and its time axis; None if there is none, or several.

    It differs in each iteration.
    """
    names = {name: axis for file in files for name, axis in _shifted_names(file)}
    last, before = records[-1], records[-2]
    found: dict[bytes, tuple[Key, int]] = {}
    for values in (last.end, last.inside):
        for key, value in values.items():
            axis, array, earlier = names.get(key[2]), plain_array(value), plain_array(before.get(key))
            if axis is None or array is None or earlier is None or same_bits(array, earlier):
                continue
            tokens = whole_numbers_of(array)
            if tokens is not None and tokens.ndim == array.ndim > axis and tokens.shape[axis] >= SHORTEST:
                found.setdefault(tokens.tobytes(), (key, axis))
    return next(iter(found.values())) if len(found) == 1 else None


def _shifted_names(file: str) -> Iterator[tuple[str, int]]:
    try:
        tree = ast.parse(read_script(Path(file)).text)
    except (DataError, SyntaxError, ValueError, OSError):
        return
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.Module):
            yield from shifted_names(scope)


def shifted_names(scope: ast.AST) -> list[tuple[str, int]]:
    """The names that a scope reads at an index and at the index plus one, with the axis of the index.

    Example
    -------
    >>> shifted_names(ast.parse("x = text[:, t]; y = text[:, t + 1]; z = h[t]"))
    [('text', 1)]
    """
    read: dict[tuple[str, int], set[str]] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            for axis, part in enumerate(parts):
                if not isinstance(part, ast.Slice | ast.Constant):
                    read.setdefault((ast.unparse(node.value), axis), set()).add(ast.unparse(part))
    return [place for place, indices in read.items() if any(f"{index} + 1" in indices for index in indices)]


def split_shifted(sequence: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a sequence.

    >>> split_shifted(np.array([4, 5, 6]), 0)
    (array([4, 5]), array([5, 6]))
    """
    length = sequence.shape[axis]
    return sequence.take(range(length - 1), axis), sequence.take(range(1, length), axis)
