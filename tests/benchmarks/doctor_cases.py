"""Training scripts as strangers write them, the truth about each of them, and faults that a patch puts in.

A script has a table beside it, in TOML: what its training loop is and what its values are, how its gradients are
checked, and its faults, each a patch of a few lines.
"""

from __future__ import annotations

import json
import math
import shutil
import tomllib
import zlib
from pathlib import Path
from typing import Any, Literal

import attrs
import cattrs

FOLDER = Path(__file__).with_name("doctor_scripts")

BY_DEFINITION = ("RNN101", "RNN102", "RNN302", "RNN404", "RNN406")
"""Codes of a wrong report and of a wrong gradient, which are faults whether or not they do harm."""

Half = Literal["tune", "report"]


@attrs.frozen
class Truth:
    """What a script trains. Names are variables, attributes or keys, without the object that has them.

    A role is right if one of its names is among those that the doctor gives, for ``parameters`` if all are. An empty
    list means that the script has no such value. ``arrays`` is how many arrays, or nested lists, the parameters are.
    With ``refuse``, the script computes no loss in its loop, and it is right not to judge it. ``crash`` is the line
    with which the script ends before it trains.
    """

    loop: str = ""
    file: str = ""
    loss: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    gradients: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    epoch_loss: tuple[str, ...] = ()
    arrays: int = 0
    refuse: bool = False
    crash: str = ""


@attrs.frozen
class Setup:
    """Code that is put in before a line."""

    before: str
    code: str


@attrs.frozen
class GradientCheckPlace:
    """Where loss and gradients of a batch are known: behind the lines ``after``, or before the lines ``before``.

    ``loss`` is an expression that evaluates the batch's loss again. ``pairs`` is one that gives the arrays of each
    parameter and its gradient. Gradients that the script has already clipped at ``clipped`` are compared so.
    """

    loss: str
    pairs: str
    after: str = ""
    before: str = ""
    file: str = ""
    setup: Setup | None = None
    batches: int = 400
    clipped: float = math.inf


@attrs.frozen
class ScriptFault:
    """A patch of a script, and the codes that name its cause.

    ``line`` is the line to look at or a part of it, by default the first line of the patch that is not in the script.
    A fault that is ``by_definition`` one need not make training worse within the batches of a check.
    """

    name: str
    codes: tuple[str, ...]
    old: str
    new: str
    file: str = ""
    line: str = ""
    by_definition: bool = False
    refuse: bool = False

    @property
    def always(self) -> bool:
        """Whether it is a fault even if training is not worse with it."""
        return self.by_definition or self.codes[0] in BY_DEFINITION

    @property
    def place(self) -> str:
        if self.line:
            return self.line
        before = self.old.splitlines()
        changed = [line for line in self.new.splitlines() if line not in before]
        return changed[0] if changed else self.new.splitlines()[0]


@attrs.frozen
class StrangerScript:
    """A script, its table, and what is known of it."""

    name: str
    cell: str
    shape: str
    truth: Truth
    check: GradientCheckPlace | None = None
    faults: tuple[ScriptFault, ...] = ()
    script: str = ""
    arguments: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def main(self) -> str:
        return self.script or f"{self.name}.py"

    @property
    def half(self) -> Half:
        """Half of the scripts, by a checksum of their names, are not looked at while thresholds are set."""
        return "tune" if zlib.crc32(self.name.encode()) % 2 else "report"

    def fault(self, name: str) -> ScriptFault | None:
        if not name:
            return None
        return next(fault for fault in self.faults if fault.name == name)

    def patched_line(self, fault: ScriptFault) -> str:
        """The whole line to look at, in the patched script."""
        code = code_of(FOLDER / (fault.file or self.main))
        lines = code.replace(fault.old, fault.new).splitlines()
        return next(line for line in lines if fault.place.strip() in line)

    def copy_to(self, folder: Path, fault: ScriptFault | None = None) -> Path:
        """A copy of the script, with a fault in it, and of the files that it needs. Returns the path of the script."""
        folder.mkdir(parents=True, exist_ok=True)
        top = Path(self.main).parts[0]
        for name in (top, "river.txt", *self.also):
            if (FOLDER / name).is_dir():
                shutil.copytree(FOLDER / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(FOLDER / name, folder / name)
        if fault is not None:
            replace_once(folder / (fault.file or self.main), fault.old, fault.new)
        return folder / self.main


def stranger_scripts() -> dict[str, StrangerScript]:
    """All scripts, by name."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    scripts = {}
    for path in sorted(FOLDER.glob("*.toml")):
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        scripts[path.stem] = converter.structure({"name": path.stem, **table}, StrangerScript)
    return scripts


def replace_once(path: Path, old: str, new: str) -> None:
    """Replaces a text of a script, or of the one cell of a notebook that has it."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        path.write_text(_replaced(text, old, new, path), encoding="utf-8")
        return
    notebook = json.loads(text)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and old in "".join(cell["source"])]
    if len(cells) != 1:
        raise ValueError(f"{len(cells)} cells of {path.name} have the text {old!r}, expected 1")
    cells[0]["source"] = _replaced("".join(cells[0]["source"]), old, new, path).splitlines(keepends=True)
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")


def _replaced(text: str, old: str, new: str, path: Path) -> str:
    if text.count(old) != 1:
        raise ValueError(f"{path.name} has the text {old!r} {text.count(old)} times, expected once")
    return text.replace(old, new)


def code_of(path: Path) -> str:
    """The code of a script, or of the cells of a notebook one below the other."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in lines) + "\n"
