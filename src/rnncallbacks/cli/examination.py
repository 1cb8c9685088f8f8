"""An examination of a script: the plugins and the limit of each run that the script enters."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.diagnosis_content import Repair
from rnncallbacks.config.configuration import Configuration
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import TRAIN, Run

FILE_WRITERS = ("checkpoint", "history_log")
"""Plugins that are removed: an examination starts without a checkpoint, and does not touch the files of real runs."""
PROGRESS = "progress"
LOGGER = "rnncallbacks"


@attrs.define(eq=False)
class BatchLimit:
    """A plugin that ends a run in the epoch that reaches ``max_batches`` training batches.

    The remaining training batches of that epoch are left out. Its other phases run, because scripts divide by the
    number of their batches. A run without training batches ends after ``max_batches`` epochs.
    """

    max_batches: int
    reached: bool = state_field(False)
    _batches: int = state_field(0)
    _epochs: int = state_field(0)

    @property
    def is_full(self) -> bool:
        """Whether the run has reached its limit."""
        return self._batches >= self.max_batches

    def cut(self, items: Iterator[Any]) -> Iterator[Any]:
        """The training batches up to the limit."""
        try:
            while not self.is_full:
                try:
                    item = next(items)
                except StopIteration:
                    return
                self._batches += 1
                yield item
        finally:
            items.close()  # type: ignore[attr-defined]

    @hookimpl(trylast=True)
    def on_epoch_start(self, run: Run) -> None:
        self._epochs += 1
        if self._epochs > self.max_batches:
            self._stop(run, "epochs")

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        if self.is_full:
            self._stop(run, "batches")

    def _stop(self, run: Run, unit: str) -> None:
        self.reached = run.stop_reason is None
        run.stop(f"doctor: {self.max_batches} {unit} are enough")


@attrs.define(eq=False)
class ExaminedRun:
    """One run of the script, its limit, and the names of the plugins that were added and removed."""

    run: Run
    limit: BatchLimit
    added: list[str] = attrs.field(factory=list)
    removed: list[str] = attrs.field(factory=list)

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

        Alarms and repairs are not logged meanwhile, because the diagnosis shows them at the end.
        """
        enter, batches = Run.__enter__, Run.batches

        def examined_enter(run: Run) -> Any:
            entered = enter(run)
            self._prepare(run)
            return entered

        def limited_batches(run: Run, loader: Iterable[Any], phase: str = TRAIN) -> Iterator[Any]:
            limit = next((one.limit for one in self.runs if one.run is run), None)
            items = batches(run, loader, phase)
            return items if limit is None or phase != TRAIN else limit.cut(items)

        Run.__enter__ = examined_enter  # type: ignore[method-assign]
        Run.batches = limited_batches  # type: ignore[assignment,method-assign]
        try:
            with findings_not_logged():
                yield
        finally:
            Run.__enter__, Run.batches = enter, batches  # type: ignore[method-assign]

    def _prepare(self, run: Run) -> None:
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
