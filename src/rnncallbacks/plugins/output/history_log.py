"""Output: files with the history, the values of batches, the alarms and the diagnosis of a run."""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import OptionError
from rnncallbacks.files import (
    append_text,
    json_text,
    json_values,
    make_directory,
    remove_leftovers,
    spreadsheet_cell,
    write_atomically,
)
from rnncallbacks.reporting.batch_file import BatchFile

if TYPE_CHECKING:
    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

DIAGNOSIS = "diagnosis.json"
BATCHES = "batches.jsonl"
RUN_FILES = ("history.jsonl", "history.csv", BATCHES, "alarms.jsonl", DIAGNOSIS)
BROKEN_OFF = ("failed", "interrupted")
"""Outcomes of runs whose files are moved before the next run writes its own."""

logger = logging.getLogger("rnncallbacks")


@attrs.define(eq=False)
class HistoryLog:
    """Writes the history, the values of batches, the alarms and the diagnosis of a run into a directory.

    - ``history.jsonl`` and ``history.csv`` have one row per epoch.
    - ``batches.jsonl`` has rows of training batches, as soon as each has ended: epoch, step, loss, the norm of the
      gradient before it was clipped, and the values of ``run.log_batch``. It has every batch of a run with at most
      ``batch_rows`` of them, and every 2nd, 4th, 8th, ... batch of a longer run.
    - ``alarms.jsonl`` has one line per alarm code. It is rewritten at the end of the run, when the number of
      occurrences of each alarm and its explanation are known.
    - ``diagnosis.json`` is written at the end of the run. It has the outcome ("finished", "stopped", "failed" or
      "interrupted"), for a run that was stopped the reason, who stopped it and the code of the alarm, for one that
      failed or was interrupted the error, then the alarms, the codes that were checked, the codes that were not
      checked and why, and the repairs.

    ``rnncallbacks report`` makes a page from these files. JSON has no NaN and no infinity: they are written as the
    strings "NaN", "Infinity" and "-Infinity".

    A run that resumes from a checkpoint continues its files; if no epoch is left, it leaves them as they are. A run
    that starts from the beginning where a run was killed, interrupted or failed moves the files of that run into the
    subdirectory ``unfinished-1``, or the next free number, and logs a warning. The files belong to one run at a
    time.

    Options
    -------
    directory:
        Directory of the files. It is created if it does not exist. None: the run's directory, or the working directory
        if the run has none.
    overwrite:
        Whether a new run may replace the files of an earlier run.
    batch_rows:
        Largest number of rows of ``batches.jsonl``, 0 or more. With 0, there is no such file.

    Raises
    ------
    OptionError
        The directory contains files of a run that ended, and ``overwrite`` is False; or it cannot be created.
    FileInUseError
        Another run writes its files.

    Example
    -------
    >>> HistoryLog(directory="runs/first").overwrite
    False
    """

    first_rank_only: ClassVar[bool] = True

    directory: Path | None = attrs.field(
        default=None, converter=options.as_path, validator=attrs.validators.optional(options.path)
    )
    overwrite: bool = attrs.field(kw_only=True, default=False, validator=options.flag)
    batch_rows: int = attrs.field(kw_only=True, default=2000, validator=options.count(at_least=0))
    _batches: BatchFile | None = state_field(None, saved=False)
    _norm: float | None = state_field(None, saved=False)
    _started: bool = state_field(False, saved=False)
    _goes_on: bool = state_field(False, saved=False)
    _folder: Path = state_field(Path("."), saved=False)
    _columns: list[str] = state_field(factory=list, saved=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._folder = self.directory or run.directory or Path(".")
        run.own_file(self._file(RUN_FILES[0]))
        for path in map(self._file, RUN_FILES[1:]):
            remove_leftovers(path)
        if run.epoch == 0 and not self.overwrite:
            self._clear_the_way()
        write_atomically(self._file("history.jsonl"), "".join(_line(row) for row in run.history))
        self._write_csv(list(run.history))
        self._batches = BatchFile(self._file(BATCHES), self.batch_rows) if self.batch_rows else None
        if self._batches is not None:
            self._batches.begin(run.step)
        else:
            self._file(BATCHES).unlink(missing_ok=True)
        if not self._file(DIAGNOSIS).exists():  # else the alarms are those of the whole run, unless an epoch follows
            self._write_alarms(run)
        self._started = True

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        self._remove_diagnosis(run)

    @hookimpl
    def on_batch_start(self, run: Run) -> None:
        self._remove_diagnosis(run)  # a resumed run may begin within an epoch

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, grads: Gradients) -> None:
        is_kept = self._batches is not None and self._batches.keeps(run.step)
        self._norm = grads.norm if is_kept else None

    @hookimpl(trylast=True)
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        if batch.phase == "train":
            self._write_batch(run, batch)

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        self._remove_diagnosis(run)
        row = summary.row
        self._append("history.jsonl", _line(row))
        if row.keys() <= set(self._columns):
            self._append("history.csv", self._csv([row]))
        else:
            self._write_csv([*run.history, row])

    @hookimpl
    def on_alarm(self, alarm: Alarm) -> None:
        if self._started and alarm.count == 1:  # on_fit_start writes the alarms that came before it
            self._append("alarms.jsonl", _line(alarm.to_dict()))

    @hookimpl
    def on_exception(self, run: Run) -> None:
        batch = run.outermost_batch  # its end is not reached; its loss may be the reason
        if batch is not None and batch.phase == "train" and batch.loss is not None:
            self._write_batch(run, batch)

    @hookimpl(trylast=True)
    def on_fit_end(self, run: Run) -> None:
        started, self._started = self._started, False
        if not started or self._file(DIAGNOSIS).exists():  # no epoch was left: the diagnosis is that of the whole run
            return
        self._write_alarms(run)
        write_atomically(self._file(DIAGNOSIS), json_text(_ending(run) | run.diagnosis.to_dict(), indent=2) + "\n")

    def _write_batch(self, run: Run, batch: Batch) -> None:
        norm, self._norm = self._norm, None
        if self._batches is None or not self._batches.keeps(run.step):
            return
        row: dict[str, float | int | None] = {"epoch": run.epoch, "step": run.step}
        row |= {} if batch.loss is None else {"loss": batch.loss}
        row |= {} if norm is None else {"gradient_norm": norm}
        self._batches.add(row | {f"logged_{name}" if name in row else name: one for name, one in batch.logged.items()})

    def _clear_the_way(self) -> None:
        """Move the files of an incomplete run; refuse to replace those of a run that ended."""
        earlier = [path for path in map(self._file, RUN_FILES) if path.exists()]
        if not earlier:
            return
        if self._file(DIAGNOSIS).exists() and _outcome_in(self._file(DIAGNOSIS)) not in BROKEN_OFF:
            raise OptionError(
                f"history_log: expected a directory without files of an earlier run, got {earlier[0]}",
                hint="choose another directory, or set overwrite = true to replace the files of that run",
            )
        numbers = itertools.count(1)
        aside = next(path for number in numbers if not (path := self._file(f"unfinished-{number}")).exists())
        make_directory(aside)
        for path in earlier:
            path.replace(aside / path.name)
        logger.warning("history_log: a run in %s did not end; its files are in %s now", self._folder, aside)

    def _remove_diagnosis(self, run: Run) -> None:
        """Remove the diagnosis of an earlier run, which is stale until this run ends, and the alarms of its end."""
        if not self._goes_on:
            self._goes_on = True
            if self._file(DIAGNOSIS).exists():
                self._file(DIAGNOSIS).unlink()
                self._write_alarms(run)

    def _file(self, name: str) -> Path:
        return self._folder / name

    def _append(self, name: str, text: str) -> None:
        append_text(self._file(name), text)

    def _write_alarms(self, run: Run) -> None:
        write_atomically(self._file("alarms.jsonl"), "".join(_line(alarm.to_dict()) for alarm in run.alarms))

    def _write_csv(self, rows: list[dict[str, Any]]) -> None:
        """Write the whole file: a header with the columns of all rows, and the rows."""
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        write_atomically(self._file("history.csv"), self._csv(rows, header=True))

    def _csv(self, rows: list[dict[str, Any]], *, header: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(map(_cells, rows))
        return text.getvalue()


def _ending(run: Run) -> dict[str, Any]:
    outcome = run.outcome
    assert outcome is not None, "a run has an outcome when on_fit_end is called"
    stopped = outcome.ending == "stopped"
    return {
        "outcome": outcome.ending,
        "stop_reason": run.stop_reason,
        "stopped_by": outcome.by,
        "stopped_code": outcome.code if stopped else None,
        "error": outcome.reason if outcome.ending in ("failed", "interrupted") else None,
    }


def _outcome_in(diagnosis: Path) -> object:
    """The outcome that a diagnosis names, or None if it names none."""
    try:
        content = json.loads(diagnosis.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("outcome") if isinstance(content, dict) else None


def _cells(row: dict[str, Any]) -> dict[str, object]:
    return {name: spreadsheet_cell(value) for name, value in json_values(row).items()}


def _line(record: dict[str, Any]) -> str:
    return json_text(record) + "\n"
