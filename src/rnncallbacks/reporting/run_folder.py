"""Reads the folder of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.catalogue import SEVERITIES
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.diagnosis_content import Repair
from rnncallbacks.errors import DataError
from rnncallbacks.files import printable, text_of_file

HISTORY = "history.jsonl"
BATCHES = "batches.jsonl"


@attrs.frozen(eq=False)
class RunFolder:
    """A run, as read from its files.

    ``rows`` are those of the history, ``batches`` those of training batches. ``ended`` is False for a run that has not
    ended or was killed; its diagnosis then has the alarms so far and no checks. ``error`` says that the run failed or
    was interrupted, and by which exception. ``configuration`` is the text of its ``config.toml``, None without one.
    """

    path: Path
    rows: list[dict[str, Any]]
    batches: list[dict[str, Any]]
    diagnosis: Diagnosis
    ended: bool
    stop_reason: str | None
    error: str | None
    configuration: str | None


def read_run(path: Path) -> RunFolder:
    """Read the files that the plugin ``history_log`` wrote.

    Raises
    ------
    DataError
        It is not the folder of a run, or one of its files is damaged; the message names the place.
    """
    if not path.is_dir():
        problem = "expected the folder of a run, got a file" if path.exists() else "there is no such folder"
        raise DataError(f"{path}: {problem}")
    if not (path / HISTORY).is_file():
        raise DataError(f"{path}: not the folder of a run: it has no {HISTORY}", hint=_where_runs_are(path))
    rows = list(_lines(path / HISTORY))
    ended = (path / "diagnosis.json").is_file()
    diagnosis, reason, error = (
        _diagnosis(path / "diagnosis.json") if ended else (_alarms(path / "alarms.jsonl"), None, None)
    )
    config = path / "config.toml"
    return RunFolder(
        path,
        rows,
        list(_lines(path / BATCHES)) if (path / BATCHES).is_file() else [],
        diagnosis,
        ended,
        reason,
        error,
        printable(text_of_file(config)) if config.is_file() else None,
    )


def _where_runs_are(path: Path) -> str:
    below = sorted(one.parent for one in path.glob(f"*/{HISTORY}"))
    if below:
        return f"its folder {below[-1]} is one"
    return "the plugin history_log writes one, and so does the command train"


def _diagnosis(path: Path) -> tuple[Diagnosis, str | None, str | None]:
    found = _json(text_of_file(path), str(path))
    try:
        diagnosis = Diagnosis()
        for alarm in found["alarms"]:
            diagnosis.alarms.append(_alarm(alarm))
        for code, compared in found["passed"].items():
            diagnosis.check(str(code), str(compared))
        for code, why in found["cannot_tell"].items():
            diagnosis.report_cannot_tell(str(code), str(why))
        for code, why in found["not_checked"].items():
            diagnosis.cannot_check(str(code), str(why))
        for repair in found["repairs"]:
            diagnosis.repairs.append(_repair(repair))
        reason, error_of_run = found["stop_reason"], found.get("error")
        if error_of_run is not None:
            error_of_run = f"{str(found['outcome']).capitalize()}: {error_of_run}"
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a diagnosis: {type(error).__name__}: {error}") from None
    return diagnosis, None if reason is None else str(reason), error_of_run


def _alarms(path: Path) -> Diagnosis:
    diagnosis = Diagnosis()
    if not path.is_file():
        return diagnosis
    for number, line in enumerate(_lines(path), 1):
        try:
            diagnosis.add(_alarm(line))
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not an alarm: {type(error).__name__}: {error}") from None
    return diagnosis


def _alarm(values: dict[str, Any]) -> Alarm:
    alarm = Alarm(**values)
    _check(alarm, text=("code", "cause", "message", "remedy", "severity"), counts=("epoch", "step", "count"))
    if alarm.severity not in SEVERITIES:
        raise TypeError(f"there is no severity {alarm.severity!r}")
    return alarm


def _repair(values: dict[str, Any]) -> Repair:
    repair = Repair(**values)
    _check(repair, text=("code", "what"), counts=("epoch", "step"))
    return repair


def _check(record: Alarm | Repair, *, text: tuple[str, ...], counts: tuple[str, ...]) -> None:
    for name in text:
        if not isinstance(getattr(record, name), str):
            raise TypeError(f"expected {name} to be text")
    for name in counts:
        if not isinstance(getattr(record, name), int):
            raise TypeError(f"expected {name} to be a whole number")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file. Text after the last end of line is part of a record of a run that was killed: ignored."""
    whole, _, _ = text_of_file(path).rpartition("\n")
    for number, line in enumerate(whole.split("\n") if whole else (), 1):
        record = _json(line, f"{path}, line {number}")
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: expected an object, got {line[:40]}")
        yield record


def _json(text: str, where: str) -> Any:
    try:
        return _printable(json.loads(text))
    except RecursionError:
        raise DataError(f"{where}: not valid JSON here: it is nested too deeply") from None
    except ValueError as error:  # of the syntax, or of a number with too many digits
        raise DataError(f"{where}: not valid JSON: {error}") from None


def _printable(value: Any) -> Any:
    """The value with every text in it made safe to print: XML and terminals do not accept control characters."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(one) for one in value]
    if isinstance(value, dict):
        return {printable(key): _printable(one) for key, one in value.items()}
    return value
