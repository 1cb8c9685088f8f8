"""Flips: bits of a checkpoint change, or its end is lost. Each such file is refused, and the run stays as it is."""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
from pathlib import Path

import attrs
import numpy as np

from rnncallbacks import Run, hookimpl
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.core.plugin_state import saved_state
from rnncallbacks.errors import CheckpointError

from .fingerprints import flat
from .training_runs import RATES, STYLES, TrainingRun, shipped_plugins
from .trials import Outcome, Result, is_ours, traceback_of

UNUSED = ("history_log", "progress")
"""Plugins that a resumed run does without: they only write."""
MOST_FLIPS = 3


@attrs.define(eq=False)
class StateWitness:
    """Keeps what the run was when an error ended it."""

    seen: dict[str, str] = attrs.field(factory=dict)

    @hookimpl
    def on_exception(self, run: Run) -> None:
        parts = {
            "params": named_arrays(run.params, "params"),
            "optimizer": named_arrays(run.optimizer_state, "optimizer"),
            "position": [run.epoch, run.step, run.scales, run.history.untimed(), run.alarms],
            "plugins": {name: saved_state(plugin) for name, plugin in run.plugins.items()},
        }
        self.seen = dict(flat(parts))


@functools.cache
def saved_checkpoint(style: str) -> bytes:
    """The content of the checkpoint that a finished run left."""
    run = TrainingRun(style, "too high", (("fsync", False),))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run.train(Path(folder))
        return (Path(folder) / "checkpoint.safetensors").read_bytes()


def resume_from(style: str, path: Path) -> tuple[BaseException | None, dict[str, str]]:
    """Start a run that resumes from a file; the error that ended it, and what the run was then."""
    witness = StateWitness()
    plugins = shipped_plugins(path.parent, {"path": path, "fsync": False})
    for name in UNUSED:
        del plugins[name]
    try:
        STYLES[style](plugins | {"witness": witness}, RATES["too high"])
    except Exception as error:
        return error, witness.seen
    return None, {}


@functools.cache
def untouched(style: str) -> dict[str, str]:
    """What a run is when a file without content was refused."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "checkpoint.safetensors"
        empty.touch()
        error, seen = resume_from(style, empty)
    assert isinstance(error, CheckpointError)
    return seen


def judge_resume(style: str, path: Path, *, has_to_be_refused: bool) -> tuple[Outcome, str]:
    """Resume from a file, and say whether it was refused as it should be."""
    error, seen = resume_from(style, path)
    if error is None:
        return ("damaged accepted", "the run resumed from it") if has_to_be_refused else ("held", "")
    if not is_ours(error) or (isinstance(error, CheckpointError) and path.name not in str(error)):
        return "foreign traceback", traceback_of(error)
    if not isinstance(error, CheckpointError):
        return ("foreign traceback", traceback_of(error)) if has_to_be_refused else ("held", "")
    if seen != untouched(style):
        return "differs", "the file was refused, and the run had changed"
    return "held", ""


def flip_trial(generator: np.random.Generator, folder: Path) -> Result:
    """One damaged file."""
    style = list(STYLES)[generator.integers(len(STYLES))]
    content = bytearray(saved_checkpoint(style))
    header = 8 + int.from_bytes(content[:8], "little")
    part = ("length", "header", "arrays", "end")[generator.choice(4, p=[0.1, 0.5, 0.35, 0.05])]
    path = folder / "checkpoint.safetensors"
    if part == "end":
        size = int(generator.integers(1, len(content)))
        path.write_bytes(content[:size])
        what = f"{style}: cut to {size} of {len(content)} bytes"
    else:
        first, last = {"length": (0, 8), "header": (8, header), "arrays": (header, len(content))}[part]
        count = int(generator.integers(1, MOST_FLIPS + 1))
        bits = generator.choice(8 * (last - first), size=count, replace=False) + 8 * first
        for bit in bits:
            content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        what = f"{style}: bits {sorted(bits.tolist())} in the {part}"
    outcome, detail = judge_resume(style, path, has_to_be_refused=True)
    return Result(outcome, what, detail)
