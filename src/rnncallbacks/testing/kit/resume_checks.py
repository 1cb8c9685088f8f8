"""Checks that a run which stops and resumes is the run that was not stopped, for what the plugin keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.core.checkpoint_file import load_checkpoint, save_checkpoint
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.object_state import has_state_dict
from rnncallbacks.core.plugin_state import saved_state
from rnncallbacks.core.run import Run
from rnncallbacks.errors import CheckpointError
from rnncallbacks.testing.kit.trials import EPOCHS, PluginProblem, Trial, as_text, difference

STATE_ADVICE = "declare state with state_field in an attrs class, or give the plugin state_dict and load_state_dict"


class Saves:
    """Saves the run after some batches and epochs, after all other plugins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.error: CheckpointError | None = None

    @hookimpl(wrapper=True)
    def on_batch_end(self, run: Run) -> Any:
        result = yield
        if run.batch is not None and run.batch.phase == "train" and run.step in (2, 7):
            self._save(run, None, f"after step {run.step}")
        return result

    @hookimpl(wrapper=True)
    def on_epoch_end(self, run: Run, summary: Any) -> Any:
        result = yield
        if summary.epoch < EPOCHS:
            self._save(run, summary, f"after epoch {summary.epoch}")
        return result

    def _save(self, run: Run, summary: Any, name: str) -> None:
        try:
            save_checkpoint(run, summary, self.folder / name)
        except CheckpointError as error:
            self.error = error


class Resumes:
    """Restores the run from a file, before all other plugins."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @hookimpl(tryfirst=True)
    def on_fit_start(self, run: Run) -> None:
        load_checkpoint(run, self.path)


def _arrays_in(value: object) -> Iterator[Array]:
    """The arrays in a value and in the containers in it."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _arrays_in(item)


def check_resume(trial: Trial) -> Iterator[PluginProblem]:
    """Stops after epochs and within them: history, parameters, alarms and state are those of the whole run."""
    plugin = trial.make()
    before = as_text(vars(plugin)) if hasattr(plugin, "__dict__") else ""
    with TemporaryDirectory() as folder:
        saves = Saves(Path(folder))
        whole = trial.play(saves, plugin=plugin)
        if whole.run is None:
            return  # the streams tell
        arrays = list(named_arrays(whole.run.params).values())
        for name, value in saved_state(plugin).items():
            if any(np.shares_memory(held, array) for held in _arrays_in(value) for array in arrays):
                advice = "keep a copy: array.copy()"
                yield PluginProblem("resuming", f"its state {name} is the run's parameters, not a copy", advice)
                return
        if saves.error is not None:
            yield PluginProblem("resuming", f"its state cannot be saved: {saves.error.message}", STATE_ADVICE)
            return
        for file in sorted(Path(folder).iterdir()):
            if found := difference(whole, trial.play(Resumes(file))):
                yield PluginProblem("resuming", f"a run that stopped {file.name} differs: {found}", STATE_ADVICE)
                return
    keeps = attrs.has(type(plugin)) or has_state_dict(plugin)
    if not keeps and before != as_text(vars(plugin)):
        names = [name for name, value in vars(plugin).items() if as_text({name: value})[1:-1] not in before]
        yield PluginProblem("resuming", f"{', '.join(names)} changed in a run and is saved nowhere", STATE_ADVICE)
