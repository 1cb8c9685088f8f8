"""The part of ``rnncallbacks doctor`` for scripts without a ``Run``."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import click

from rnncallbacks.alarms.verdict import verdict
from rnncallbacks.cli.error_output import INTERRUPTED
from rnncallbacks.cli.examination import findings_not_logged
from rnncallbacks.cli.findings_output import findings_document, show_findings
from rnncallbacks.cli.hooked_file import check_path, write_hooked
from rnncallbacks.cli.role_options import LoopOptions
from rnncallbacks.cli.watch_progress import shown_progress
from rnncallbacks.config.configuration import Configuration
from rnncallbacks.doctor.script_examination import ExaminationStage, examine_script
from rnncallbacks.doctor.script_findings import ScriptFindings
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.errors import DataError, RnnCallbacksError
from rnncallbacks.files import json_text
from rnncallbacks.reporting.terminal import COLUMNS, terminal_console, write_line

EXAMINATION_SHARE = 0.75
"""Share of the time for the examination where a hooked script is written. Chosen by eye."""
ENDING_SHARE = 0.03
"""Share of the time to end the script's processes and to print the findings. Chosen by eye."""
LEAST_SHARE = 0.5
"""Share of the time that the examination has at least, if the command takes long to begin. Chosen by eye."""
ENDING_SIGNALS = ("SIGTERM", "SIGHUP")


def examine_loop(
    script: Path,
    arguments: list[str],
    configuration: Configuration,
    options: LoopOptions,
    as_json: bool,
    hooked: Path | None,
) -> int:
    """Examine the script's own loop, show what was found, and return the exit code."""
    if not read_script(script).text.strip():
        raise DataError(f"{script}: expected a training script, got an empty file")
    limit, now = options.examination.seconds, time.monotonic()
    began = click.get_current_context().obj or now
    seconds = max(LEAST_SHARE * limit, began + (1 - ENDING_SHARE) * limit - now)
    until = now + seconds
    if hooked is not None:
        check_path(script, hooked)
        seconds *= EXAMINATION_SHARE
    options = attrs.evolve(options, examination=attrs.evolve(options.examination, seconds=seconds))
    stage, written = ExaminationStage(), _Written()
    with findings_not_logged(), left_by_signals(), shown_progress(stage, limit, began):
        findings = _examined(script, arguments, configuration, options, stage)
        if hooked is not None and not findings.interrupted:
            stage.describe = lambda: "finding the place of the hooks"
            written = _write(script, arguments, findings, hooked, until)
    status = written.status or _status(findings, options.examination.roles_only)
    _show(script, arguments, findings, status, written.message, as_json)
    if written.error is not None:
        raise written.error
    return status


@attrs.frozen
class _Written:
    """The message about the hooked script, or the reason why none was written, with its exit code."""

    message: str = ""
    error: RnnCallbacksError | None = None
    status: int = 0


def _write(script: Path, arguments: list[str], findings: ScriptFindings, hooked: Path, until: float) -> _Written:
    """Write the hooked script. The diagnosis is shown even if that fails."""
    try:
        return _Written(write_hooked(script, arguments, findings, hooked, until))
    except RnnCallbacksError as error:
        return _Written(error=error, status=2)
    except KeyboardInterrupt:
        return _Written(f"interrupted: {hooked} was not written", status=INTERRUPTED)


def _show(
    script: Path, arguments: list[str], findings: ScriptFindings, status: int, written: str, as_json: bool
) -> None:
    if as_json:
        document = {"script": str(script), "arguments": arguments, "exit_status": status, "verdict": _verdict(findings)}
        click.echo(json_text(document | {"error": _error_line(findings)} | findings_document(findings), indent=2))
        return
    console = terminal_console()
    show_findings(console, f"no Run in {script}: watching the script's own loop", findings)
    write_line(console)
    for code, share in findings.not_with_every_seed.items():
        write_line(console, f"{code} is left out: it was found with {share} seeds")
    if written:
        write_line(console, written)
    if findings.failure:
        write_line(console, f"a guard failed, which ended the examination: {findings.failure}")
    if findings.interrupted:
        known = "the diagnosis so far" if findings.diagnosis is not None else "what is known so far"
        write_line(console, f"interrupted: this is {known}")
    write_line(console, f"verdict: {_verdict(findings)}", style="bold", wrap=COLUMNS)


@contextmanager
def left_by_signals() -> Iterator[None]:
    """Let the signals that ask a process to end leave the body, so that its processes and folders are removed."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ENDING_SIGNALS if hasattr(signal, name)]
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, leave) for number in numbers if in_main_thread}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _examined(
    script: Path, arguments: list[str], configuration: Configuration, options: LoopOptions, stage: ExaminationStage
) -> ScriptFindings:
    """Examine a script with each seed: the first findings with a diagnosis, without causes that some seeds lack."""
    if options.seeds == 1:
        return examine_script(script, arguments, configuration.make(), options.examination, stage)
    seconds = options.examination.seconds / options.seeds
    found = []
    for seed in range(options.seeds):
        with_seed = attrs.evolve(options.examination, seed=seed, seconds=seconds)
        found.append(examine_script(script, arguments, configuration.make(), with_seed, stage))
        if found[-1].interrupted:
            break
    first = next((one for one in found if one.diagnosis is not None), found[0])
    if first.diagnosis is not None:
        shared = [one.diagnosis for one in found if one.diagnosis is not None]
        counts = Counter(code for one in shared for code in {alarm.code for alarm in one.alarms})
        first.not_with_every_seed = {
            alarm.code: f"{counts[alarm.code]} of {len(shared)}"
            for alarm in first.diagnosis.alarms
            if counts[alarm.code] < len(shared)
        }
        kept = [alarm for alarm in first.diagnosis.alarms if alarm.code not in first.not_with_every_seed]
        first.diagnosis.replace_alarms(kept)
    return first


def _status(findings: ScriptFindings, roles_only: bool) -> int:
    causes = findings.diagnosis.causes if findings.diagnosis is not None else []
    if findings.interrupted and not any(cause.severity != "info" for cause in causes):
        return INTERRUPTED
    if findings.diagnosis is None:
        return 0 if roles_only and findings.roles is not None and findings.roles.parameters else 2
    if any(cause.severity != "info" for cause in causes):
        return 1
    return 2 if findings.failure else 0


def _error_line(findings: ScriptFindings) -> str | None:
    return findings.failure or None if findings.error is None else findings.error.error


def _verdict(findings: ScriptFindings) -> str:
    if findings.diagnosis is not None:
        return verdict([findings.diagnosis])
    if findings.interrupted:
        return "interrupted before the loop was judged"
    if findings.error is not None:
        return "the script failed before its training loop could be examined"
    if findings.loop is None:
        return "no training loop was found, so there is nothing to diagnose"
    return "nothing was checked"
