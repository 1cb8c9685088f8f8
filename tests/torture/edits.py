"""Edits: the JSON in a checkpoint changes, with or without a checksum that fits, and so do the other files of a run."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from rnncallbacks.cli.commands import rnncallbacks as command_line
from rnncallbacks.cli.train_settings import merge_settings
from rnncallbacks.config.configuration import read_configuration
from rnncallbacks.reporting.html import report_page
from rnncallbacks.reporting.run_folder import read_run

from .fingerprints import FILES
from .flips import judge_resume, saved_checkpoint
from .odd_values import edit_tree, mutate_text
from .training_runs import STYLES, TrainingRun
from .trials import Result, is_ours, traceback_of

FREE = ("evidence", "history")
"""Keys of the JSON below which names and values are free."""
TEXT = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
    "wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood, this "
) * 4
"""What ``rnncallbacks train`` reads in these trials."""


@functools.cache
def checkpoint_parts(style: str) -> tuple[str, dict[str, np.ndarray], dict[str, str]]:
    """The JSON, the arrays and the metadata of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(saved_checkpoint(style))
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    return metadata["run"], arrays, metadata


def checksum(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of a checkpoint, computed from the description of the format."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name, array in sorted(arrays.items()):
        digest.update(f"\0{name}\0{array.dtype.name}\0{array.shape}\0".encode() + array.tobytes())
    return digest.hexdigest()


def edit_trial(generator: np.random.Generator, folder: Path) -> Result:
    """One edit of one file."""
    kind = ("checkpoint", "forged", "run folder", "restart", "configuration")[
        generator.choice(5, p=[0.2, 0.4, 0.2, 0.1, 0.1])
    ]
    return EDITS[kind](generator, folder)


def _edit_checkpoint(generator: np.random.Generator, folder: Path) -> Result:
    """The JSON changes, and the checksum does not."""
    style = list(STYLES)[generator.integers(len(STYLES))]
    text, arrays, metadata = checkpoint_parts(style)
    if generator.random() < 0.5:
        edited = mutate_text(generator, text)
        what = "characters changed"
    else:
        content = json.loads(text)
        what = edit_tree(generator, content).what
        edited = json.dumps(content)
    path = folder / "checkpoint.safetensors"
    path.write_bytes(save(arrays, metadata=metadata | {"run": edited}))
    outcome, detail = judge_resume(style, path, has_to_be_refused=edited != text)
    return Result(outcome, f"{style}: checkpoint without a new checksum: {what}", detail)


def _forge_checkpoint(generator: np.random.Generator, folder: Path) -> Result:
    """The JSON changes, and the checksum with it: what is against the schema is refused."""
    style = list(STYLES)[generator.integers(len(STYLES))]
    text, arrays, metadata = checkpoint_parts(style)
    content = json.loads(text)
    edit = edit_tree(generator, content)
    edited = json.dumps(content)
    path = folder / "checkpoint.safetensors"
    path.write_bytes(save(arrays, metadata=metadata | {"run": edited, "sha256": checksum(edited, arrays)}))
    broken = edit.breaks_types and _is_fixed(edit.path)
    outcome, detail = judge_resume(style, path, has_to_be_refused=broken)
    return Result(outcome, f"{style}: checkpoint with a new checksum: {edit.what}", detail)


def _is_fixed(path: tuple[str | int, ...]) -> bool:
    """Whether the schema fixes what is at this place: plugins may keep what they like inside of their fields."""
    if not path or any(key in FREE for key in path):
        return False
    return len(path) <= 3 if path[0] == "plugins" else path[0] != "hidden"


@functools.cache
def _finished_folder(style: str) -> dict[str, bytes]:
    """The files of a finished run."""
    run = TrainingRun(style, "too high", (("fsync", False),))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run.train(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if not path.name.startswith(".")}


def _put(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _edit_file(generator: np.random.Generator, path: Path) -> str:
    """Change a JSON file, or one line of it, as a tree or as text."""
    text = path.read_text("utf-8")
    if generator.random() < 0.5:
        edited, what = mutate_text(generator, text), "characters changed"
    else:
        lines = [text] if path.suffix == ".json" else text.splitlines() or [""]
        number = int(generator.integers(len(lines)))
        try:
            record = json.loads(lines[number])
        except ValueError:  # an empty file
            record = {}
        what = f"line {number}: {edit_tree(generator, record).what}"
        lines[number] = json.dumps(record)
        edited = "\n".join(lines) + "\n"
    path.write_bytes(edited.encode("utf-8", "surrogatepass"))
    return what


def _edit_run_folder(generator: np.random.Generator, folder: Path) -> Result:
    """The report reads an edited run folder: it makes its page, or says what is wrong."""
    style = list(STYLES)[generator.integers(len(STYLES))]
    _put(_finished_folder(style), folder)
    name = ("history.jsonl", "alarms.jsonl", "diagnosis.json", "diagnosis.json")[generator.integers(4)]
    if name == "alarms.jsonl":
        (folder / "diagnosis.json").unlink()  # which is read in its place
    what = f"{style}: {name} for the report: {_edit_file(generator, folder / name)}"
    try:
        report_page(read_run(folder))
    except Exception as error:
        return Result("held" if is_ours(error) else "foreign traceback", what, traceback_of(error))
    return Result("held", what)


def _edit_before_restart(generator: np.random.Generator, folder: Path) -> Result:
    """A finished run starts again in a folder with an edited file: from its checkpoint it is the run that it was."""
    style = list(STYLES)[generator.integers(len(STYLES))]
    whole = _finished_folder(style)
    _put(whole, folder)
    name = FILES[generator.integers(len(FILES))]
    what = f"{style}: {name} before a restart: {_edit_file(generator, folder / name)}"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            TrainingRun(style, "too high", (("fsync", False),)).train(folder)
    except Exception as error:
        return Result("blocked run" if is_ours(error) else "foreign traceback", what, traceback_of(error))
    wrong = [one for one in FILES if one not in (name, "diagnosis.json") and (folder / one).read_bytes() != whole[one]]
    if name.startswith("history") and (folder / name).read_bytes() != whole[name]:
        wrong.append(name)
    return Result("differs" if wrong else "held", what, ", ".join(wrong))


@functools.cache
def _repeating_configuration() -> str:
    """The ``config.toml`` that ``rnncallbacks train`` writes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        text = Path(folder) / "text.txt"
        text.write_text(TEXT)
        run_dir = Path(folder) / "run"
        told = ["--epochs", "1", "--hidden-size", "4", "--batch-size", "2", "--sample", "0", "--run-dir", str(run_dir)]
        with contextlib.suppress(SystemExit):
            command_line(["train", str(text), *told, "-p", "no:progress", "-p", "checkpoint"], standalone_mode=False)
        return (run_dir / "config.toml").read_text()


def _edit_configuration(generator: np.random.Generator, folder: Path) -> Result:
    """An edited ``config.toml`` is read, or each problem of it has a line."""
    path = folder / "config.toml"
    path.write_bytes(mutate_text(generator, _repeating_configuration()).encode("utf-8", "surrogatepass"))
    try:
        configuration = read_configuration(path)
        merge_settings({}, configuration.settings, configuration.where)
        configuration.make()
    except (Exception, click.ClickException) as error:
        return Result("held" if is_ours(error) else "foreign traceback", "config.toml", traceback_of(error))
    return Result("held", "config.toml")


EDITS = {
    "checkpoint": _edit_checkpoint,
    "forged": _forge_checkpoint,
    "run folder": _edit_run_folder,
    "restart": _edit_before_restart,
    "configuration": _edit_configuration,
}
