"""A script with one statement a line in its loops and functions, so that lines can be inserted between any two."""

from __future__ import annotations

import ast
from bisect import bisect_left
from itertools import pairwise

import attrs

from rnncallbacks.doctor.hooking.hooked_loop import HookedLoop


@attrs.frozen
class SplitText:
    """A text in which statements that shared a line have lines of their own.

    Attributes
    ----------
    text:
        The text.
    split_lines:
        The split lines of the original, from 1, in order. A line occurs once for each line that was added.
    """

    text: str
    split_lines: tuple[int, ...]

    def line(self, original: int) -> int:
        """The line in the split text of the first statement of a line of the original."""
        return original + bisect_left(self.split_lines, original)


def one_statement_a_line(text: str) -> SplitText:
    """Split the lines of a script in which a body of a loop or function has several statements.

    >>> one_statement_a_line("for i in range(3):\\n    x = i; y = 2  # both\\n    z = y\\n")
    SplitText(text='for i in range(3):\\n    x = i\\n    y = 2  # both\\n    z = y\\n', split_lines=(2,))
    """
    lines = text.split("\n")
    splits = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.For | ast.While | ast.FunctionDef):
            continue
        for before, after in pairwise(node.body):
            if after.lineno == before.end_lineno and node.body[0].lineno != node.lineno:
                first = lines[node.body[0].lineno - 1]
                indentation = first[: len(first) - len(first.lstrip())]
                splits.append((after.lineno, before.end_col_offset or 0, after.col_offset, indentation))
    for number, end, start, white in sorted(splits, reverse=True):
        line = lines[number - 1].encode()  # the columns of the tree are bytes
        lines[number - 1] = line[:end].decode() + "\n" + white + line[start:].decode()
    return SplitText("\n".join(lines), tuple(sorted(number for number, *_ in splits)))


def with_statement_lines(loop: HookedLoop) -> HookedLoop:
    """A loop in the split text of its source."""
    split = one_statement_a_line(loop.source.text)
    if not split.split_lines:
        return loop
    cells = tuple(map(split.line, loop.source.cells))
    return attrs.evolve(
        loop,
        source=attrs.evolve(loop.source, text=split.text, cells=cells),
        line=split.line(loop.line),
        block=None if loop.block is None else split.line(loop.block),
        observed_in={name: (split.line(line), text) for name, (line, text) in loop.observed_in.items()},
    )
