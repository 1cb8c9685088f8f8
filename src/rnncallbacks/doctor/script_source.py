"""Reads a script or a notebook, and maps compiled lines to lines of the file."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from rnncallbacks.errors import DataError, closest

NOTEBOOK = ".ipynb"
WHOLE_CELL = {
    "!",
    "bash",
    "cmd",
    "file",
    "html",
    "javascript",
    "js",
    "latex",
    "markdown",
    "perl",
    "pypy",
    "python2",
    "ruby",
    "R",
    "script",
    "sh",
    "svg",
    "system",
    "sx",
    "writefile",
}
"""Cell magics after which the rest of the cell is not Python."""
_MAGIC = re.compile(r"^(?P<indent>\s*)(?P<what>[%!?].*)$")
_HELP = re.compile(r"^(?P<indent>\s*)(?P<what>[\w.]+\?{1,2})\s*$")
_ASSIGNED_MAGIC = re.compile(r"^(?P<indent>\s*)(?P<name>[\w.]+)\s*=\s*(?P<what>[%!].*)$")
_CELL_MAGIC = re.compile(r"^%%(?P<name>!|\w+)")


@attrs.frozen
class Location:
    """A place in a file. ``cell`` counts the code cells of a notebook from 1, and is None in a script."""

    path: Path
    line: int
    cell: int | None = None

    def __str__(self) -> str:
        if self.cell is None:
            return f"{self.path}:{self.line}"
        return f"{self.path}, code cell {self.cell}, line {self.line}"


@attrs.frozen
class ScriptSource:
    """The Python of a script or of a notebook's code cells.

    Attributes
    ----------
    path:
        The file.
    text:
        The compiled text. In a notebook, magics are comments, and the lines of a cell keep their numbers.
    cells:
        The first line of each code cell within the text, from 1; empty for a script.
    """

    path: Path
    text: str
    cells: tuple[int, ...] = ()

    def location(self, line: int) -> Location:
        """The place in the file of a line of the text, counted from 1.

        >>> ScriptSource(Path("rnn.ipynb"), "import numpy\\n\\nx = 1\\ny = 2\\n", cells=(1, 3)).location(4).cell
        2
        """
        if not self.cells:
            return Location(self.path, line)
        cell = max(sum(first <= line for first in self.cells), 1)
        return Location(self.path, line - self.cells[cell - 1] + 1, cell)

    def line_at(self, line: int) -> str:
        """The source of a line of the text, without its indentation; empty if there is no such line."""
        lines = self.text.splitlines()
        return lines[line - 1].strip() if 0 < line <= len(lines) else ""

    @property
    def package(self) -> tuple[str, Path] | None:
        """The package of a script with relative imports, and the folder that contains it; None for other scripts.

        Python runs such a script only as a module: ``python -m package.script``.
        """
        try:
            nodes = ast.walk(ast.parse(self.text)) if not self.cells else ()
        except (SyntaxError, ValueError):
            return None
        levels = max((node.level for node in nodes if isinstance(node, ast.ImportFrom)), default=0)
        folder, names = self.path.resolve().parent, list[str]()
        while levels and folder.name and (len(names) < levels or (folder / "__init__.py").exists()):
            names.insert(0, folder.name)
            folder = folder.parent
        return (".".join(names), folder) if names else None

    @property
    def names(self) -> Mapping[str, Callable[..., Any]]:
        """Names that exist in a notebook without an import, as functions that do nothing."""
        if not self.cells and "get_ipython" not in self.text:
            return {}
        return {"display": _Nothing(), "get_ipython": _Nothing()}


class _Nothing:
    """Replaces a notebook's shell: it can be called, has every method, and does nothing."""

    def __call__(self, *_arguments: Any, **_options: Any) -> _Nothing:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def check_script(script: Path) -> None:
    """Refuse a path that is no file.

    Raises
    ------
    DataError
        There is no such file.
    """
    if script.is_dir():
        raise DataError(f"{script}: expected a script, got a directory")
    if not script.exists():
        neighbors = script.parent.iterdir() if script.parent.is_dir() else ()
        files = (one.name for one in neighbors if one.is_file())
        raise DataError(f"{script}: there is no such file", hint=closest(script.name, files))


def read_script(path: Path) -> ScriptSource:
    """Read a script (in its declared encoding, UTF-8 without a declaration) or the code cells of a notebook.

    Raises
    ------
    DataError
        There is no such file, or it is neither.
    """
    check_script(path)
    content = path.read_bytes()
    if path.suffix == NOTEBOOK:
        return _notebook(path, content)
    return ScriptSource(path, _decoded(path, content))


def _decoded(path: Path, content: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        where = ""
        if isinstance(error, UnicodeDecodeError):
            where = f":{content.count(bytes([10]), 0, error.start) + 1}"
        raise DataError(
            f"{path}{where}: expected text in UTF-8 or in the encoding that is declared, got other bytes",
            hint="save it as UTF-8, or declare its encoding in the first line: # -*- coding: latin-1 -*-",
        ) from None
    if "\0" in text:
        raise DataError(f"{path}: expected a Python script, got a file with zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _notebook(path: Path, content: bytes) -> ScriptSource:
    try:
        cells = list(_code_cells(json.loads(content.decode("utf-8-sig"))))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise DataError(
            f"{path}: expected a Jupyter notebook (JSON with cells), got something else",
            hint="export the notebook as a script: jupyter nbconvert --to script",
        ) from None
    if not any(cell.strip() for cell in cells):
        raise DataError(f"{path}: expected a notebook with code cells, got {len(cells)} cells without code")
    text, firsts = "", []
    for cell in cells:
        firsts.append(text.count("\n") + 1)
        text += _without_magics(cell.rstrip("\n")) + "\n"
    return ScriptSource(path, text, tuple(firsts))


def _code_cells(notebook: dict[str, Any]) -> Iterator[str]:
    """The sources of the code cells, in the formats 3 and 4."""
    sheets = notebook.get("worksheets", [notebook])
    for sheet in sheets:
        for cell in sheet["cells"]:
            if cell["cell_type"] == "code":
                source = cell["source"] if "source" in cell else cell["input"]
                yield source if isinstance(source, str) else "".join(source)


def _without_magics(cell: str) -> str:
    """The cell with the same lines, with the syntax of a notebook's shell in comments.

    >>> print(_without_magics("%matplotlib inline\\nfiles = !ls\\nprint('%d'\\n  % 3)"))
    pass  # %matplotlib inline
    files = None  # !ls
    print('%d'
      % 3)
    """
    lines = cell.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if (match := _CELL_MAGIC.match(lines[first])) and match["name"] in WHOLE_CELL:
        return "\n".join(f"# {line}" for line in lines)
    done: list[str] = []
    continued = False  # a magic that ends in a backslash continues in the next line
    for line in lines:
        if continued:
            done.append(f"# {line}")
        elif match := _ASSIGNED_MAGIC.match(line):
            done.append(f"{match['indent']}{match['name']} = None  # {match['what']}")
        elif (match := _MAGIC.match(line) or _HELP.match(line)) and not _goes_on(done):
            done.append(f"{match['indent']}pass  # {match['what']}")
        else:
            done.append(line)
            continue
        continued = line.endswith("\\")
        if continued:
            done[-1] = done[-1].rstrip("\\")
    return "\n".join(done)


def _goes_on(lines: list[str]) -> bool:
    """Whether lines end within a bracket, a string or a continued statement."""
    if lines and lines[-1].endswith("\\"):
        return True
    try:
        for _ in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
            pass
    except tokenize.TokenError as error:
        return "multi-line" in str(error) or "EOF" in str(error)
    except SyntaxError:
        return False
    return False
