"""The lines of a script, with insertions, and deeper indentation where a block encloses them."""

from __future__ import annotations

import io
import tokenize

STEP = "    "


class ScriptLines:
    """Changes refer to line numbers of the original text, from 1, and are made together.

    Inserted lines have their own indentation. They move to the right with the line at which they are inserted, unless
    they are outside of the block that moves.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._outside_before: dict[int, list[str]] = {}
        self._before: dict[int, list[str]] = {}
        self._after: dict[int, list[str]] = {}
        self._outside_after: dict[int, list[str]] = {}
        self._inserted: dict[int, list[tuple[int, int, str]]] = {}
        self._deeper: dict[int, int] = {}
        self._fixed = _lines_within_strings(text)
        self._unit = "\t" if any(line.startswith("\t") for line in self._lines) else STEP

    def indentation(self, line: int) -> str:
        """The white space before a line."""
        text = self._lines[line - 1]
        return text[: len(text) - len(text.lstrip())]

    def put_before(self, line: int, new: list[str], *, outside: bool = False) -> None:
        """Insert lines before a line, after earlier insertions there."""
        (self._outside_before if outside else self._before).setdefault(line, []).extend(new)

    def put_after(self, line: int, new: list[str], *, outside: bool = False) -> None:
        """Insert lines after a line, after earlier insertions there."""
        (self._outside_after if outside else self._after).setdefault(line, []).extend(new)

    def indent(self, first: int, last: int, steps: int = 1) -> None:
        """Move lines to the right."""
        for line in range(first, last + 1):
            self._deeper[line] = self._deeper.get(line, 0) + steps

    def replace(self, line: int, start: int, end: int, new: str) -> None:
        """Replace the text between two columns of a line; they may be equal."""
        self._inserted.setdefault(line, []).append((start, end, new))

    def text(self) -> str:
        """The lines with all changes."""
        written = []
        for number, line in enumerate(self._lines, 1):
            for start, end, new in sorted(self._inserted.get(number, []), reverse=True):
                line = line[:start] + new + line[end:]
            deeper = self._unit * self._deeper.get(number, 0)
            written += self._outside_before.get(number, [])
            written += [deeper + one for one in self._before.get(number, [])]
            written.append(line if number in self._fixed or not line.strip() else deeper + line)
            written += [deeper + one for one in self._after.get(number, [])]
            written += self._outside_after.get(number, [])
        return "\n".join(written) + "\n"


def _lines_within_strings(text: str) -> set[int]:
    """The lines that begin within a string, whose white space is part of it."""
    found: set[int] = set()
    started: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        if name == "FSTRING_START":  # from Python 3.12 on, an f-string is several tokens
            started.append(token.start[0])
        elif name == "FSTRING_END":
            found.update(range(started.pop() + 1, token.end[0] + 1))
        elif name == "STRING":
            found.update(range(token.start[0] + 1, token.end[0] + 1))
    return found
