"""An examination of a script: the plugins and the limit of each run that the script enters."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.diagnosis_content import Repair
from rnncallbacks.config.configuration import PROGRESS, Configuration
from rnncallbacks.core.run import Run
from rnncallbacks.doctor.attended_runs import BatchLimit, attended_runs
from rnncallbacks.training import trainer

FILE_WRITERS = ("checkpoint", "history_log", "mlflow", "tensorboard")
"""Plugins that are removed: an examination starts without a checkpoint, and does not touch the files of real runs."""
LOGGER = "rnncallbacks"


@attrs.define(eq=False)
class ExaminedRun:
    """One run of the script.

    Attributes
    ----------
    run:
        The run.
    limit:
        The limit of its batches.
    added, removed:
        The names of the plugins that were added and removed.
    loop:
        File and line of the loop over its training batches; None if none was begun.
    """

    run: Run
    limit: BatchLimit
    added: list[str] = attrs.field(factory=list)
    removed: list[str] = attrs.field(factory=list)
    loop: tuple[str, int] | None = None

    @property
    def by_trainer(self) -> bool:
        """Whether the loop is that of :class:`~rnncallbacks.training.trainer.Trainer`."""
        return self.loop is not None and self.loop[0] == trainer.__file__

    def to_dict(self) -> dict[str, Any]:
        """The run and its diagnosis as plain values, ready for JSON."""
        return {
            "epochs": self.run.epoch,
            "batches": self.run.step,
            "cut_short": self.limit.reached,
            "stop_reason": self.run.stop_reason,
            "added": self.added,
            "removed": self.removed,
            **self.run.diagnosis.to_dict(),
        }


@attrs.define(eq=False)
class Examination:
    """Adds the plugins of a configuration to every run that is entered, and limits its training batches."""

    configuration: Configuration
    max_batches: int
    runs: list[ExaminedRun] = attrs.field(factory=list)

    @contextmanager
    def attend_runs(self) -> Iterator[None]:
        """Examine the runs that are entered in this context.

        Alarms and repairs are not logged, because the diagnosis shows them at the end.
        """
        with attended_runs(self._prepare, self._note_loop), findings_not_logged():
            yield

    def _note_loop(self, run: Run, frame: FrameType) -> None:
        """Remember the loop that asks for the training batches, the first one of a run."""
        for one in self.runs:
            if one.run is run and one.loop is None:
                one.loop = frame.f_code.co_filename, frame.f_lineno

    def _prepare(self, run: Run) -> BatchLimit:
        examined = ExaminedRun(run, BatchLimit(self.max_batches))
        writers = tuple(self._class_of(name) for name in FILE_WRITERS)
        progress = self._class_of(PROGRESS)
        for name, plugin in list(run.plugins.items()):
            if isinstance(plugin, writers):
                run.unregister(name)
                examined.removed.append(name)
            elif isinstance(plugin, progress):
                # The doctor shows the diagnosis, so progress must not.
                run.unregister(name)
                run.register(attrs.evolve(plugin, summary=False), name)  # type: ignore[misc]
        for name, plugin in self.configuration.make().items():
            if not any(type(known) is type(plugin) for known in run.plugins.values()):
                examined.added.append(run.register(plugin, _free_name(name, run)))
        run.register(examined.limit, _free_name("doctor", run))
        self.runs.append(examined)
        return examined.limit

    def _class_of(self, name: str) -> type:
        return self.configuration.installed[name].load()  # type: ignore[return-value]


@contextmanager
def findings_not_logged() -> Iterator[None]:
    """Keep alarms and repairs out of the log, as the diagnosis shows them at the end."""
    logger = logging.getLogger(LOGGER)
    logger.addFilter(_is_no_finding)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_finding)


def _free_name(name: str, run: Run) -> str:
    """The name, followed by underscores if the run has a plugin of that name."""
    while name in run.plugins:
        name += "_"
    return name


def _is_no_finding(record: logging.LogRecord) -> bool:
    return not (isinstance(record.args, tuple) and any(isinstance(one, Alarm | Repair) for one in record.args))
