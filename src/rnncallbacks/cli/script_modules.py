"""The sources of a script and of the modules in its folder, and whether they use this package."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import attrs

from rnncallbacks.doctor.script_source import NOTEBOOK, check_script, read_script
from rnncallbacks.errors import DataError

MENTIONS = re.compile(rb"\brnncallbacks\b|\bRun\(")
PACKAGE = "rnncallbacks"


@attrs.frozen(eq=False)
class SourceModule:
    """A file, and its syntax tree; None if it cannot be parsed, such as one for Python 2."""

    content: bytes
    tree: ast.Module | None


def own_modules(script: Path) -> Iterator[SourceModule]:
    """A script or notebook, then the modules in its folder that it imports, and those that they import.

    Raises
    ------
    DataError
        There is no such script.
    """
    check_script(script)
    waiting, known = [script], {script}
    while waiting:
        path = waiting.pop()
        try:
            content = path.read_bytes()
            tree = ast.parse(read_script(path).text if path.suffix == NOTEBOOK else content)
        except OSError:
            continue
        except (SyntaxError, ValueError, DataError):
            yield SourceModule(content, None)
            continue
        yield SourceModule(content, tree)
        for name in _imported(tree):
            module = script.parent.joinpath(*name.split(".")).with_suffix(".py")
            if module not in known and module.is_file():
                known.add(module)
                waiting.append(module)


def mentions_run(script: Path) -> bool:
    """Whether a script, or a module in its folder that it imports, imports this package.

    Of a file that cannot be parsed, the text is searched.

    Raises
    ------
    DataError
        There is no such script.
    """
    for one in own_modules(script):
        if one.tree is None:
            if MENTIONS.search(one.content):
                return True
        elif any(name.split(".")[0] == PACKAGE for name in _imported(one.tree)):
            return True
    return False


def misplaced_options(script: Path, arguments: Iterable[str], options: Collection[str]) -> list[str]:
    """The arguments of a script that are options of another command, and that the script and its modules never name.

    Raises
    ------
    DataError
        There is no such script.
    """
    given = {argument.split("=")[0]: argument for argument in arguments}
    found = {name: argument for name, argument in given.items() if name in options and name.startswith("--")}
    texts = [one.content.replace(b"-", b"_") for one in own_modules(script)] if found else []
    return [
        argument
        for name, argument in found.items()
        if not any(name[2:].replace("-", "_").encode() in text for text in texts)
    ]


def _imported(tree: ast.Module) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
