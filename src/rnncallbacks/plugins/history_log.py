"""Files: the history and the alarms, written as they come."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks import options
from rnncallbacks.errors import OptionError
from rnncallbacks.files import write_atomically
from rnncallbacks.hookspecs import hookimpl

if TYPE_CHECKING:
    from rnncallbacks.alarms import Alarm
    from rnncallbacks.records import EpochSummary
    from rnncallbacks.run import Run


@attrs.define(eq=False, kw_only=True)
class HistoryLog:
    """Writes ``history.jsonl``, ``history.csv`` and ``alarms.jsonl`` into a directory, a line an epoch or alarm.

    A number that is not finite is written as the word "NaN", "Infinity" or "-Infinity", as JSON has no such number. A
    run that goes on from a checkpoint goes on in its files.

    Options
    -------
    directory:
        Where the files go; made if it is not there.
    overwrite:
        Whether a new run may replace the files of an earlier one.

    Raises
    ------
    OptionError
        The directory holds an earlier run's history, and ``overwrite`` is False; or it cannot be made.

    Example
    -------
    >>> HistoryLog(directory="runs/first").overwrite
    False
    """

    directory: Path = attrs.field(default=Path("."), converter=Path)
    overwrite: bool = attrs.field(default=False, validator=options.flag)
    _columns: list[str] = attrs.field(factory=list, init=False, repr=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.epoch == 0 and not self.overwrite and self._file("history.jsonl").exists():
            raise OptionError(
                f"history_log: {self._file('history.jsonl')} is there already",
                hint="name another directory, or set overwrite = true",
            )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"history_log: cannot make the directory {self.directory}: {error.strerror}") from None
        write_atomically(self._file("history.jsonl"), "".join(_line(row) for row in run.history))
        write_atomically(self._file("alarms.jsonl"), "".join(_line(alarm.to_dict()) for alarm in run.alarms))
        self._write_csv(list(run.history))

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        self._append("history.jsonl", _line(summary.row))
        if list(summary.row) == self._columns:
            with self._file("history.csv").open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(_plain(summary.row))
        else:
            self._write_csv([*run.history, summary.row])

    @hookimpl
    def on_alarm(self, alarm: Alarm) -> None:
        self._append("alarms.jsonl", _line(alarm.to_dict()))

    def _file(self, name: str) -> Path:
        return self.directory / name

    def _append(self, name: str, text: str) -> None:
        with self._file(name).open("a", encoding="utf-8") as file:
            file.write(text)

    def _write_csv(self, rows: list[dict[str, Any]]) -> None:
        """All rows anew: their columns are not those of the file."""
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_plain(row) for row in rows)
        write_atomically(self._file("history.csv"), text.getvalue())


def _line(record: dict[str, Any]) -> str:
    return json.dumps(_plain(record), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
