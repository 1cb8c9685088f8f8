"""The part of ``rnncallbacks doctor`` for scripts without a ``Run``."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import click

from rnncallbacks.cli.error_output import INTERRUPTED
from rnncallbacks.cli.examination import findings_not_logged
from rnncallbacks.cli.role_options import LoopOptions
from rnncallbacks.cli.watch_progress import shown_progress
from rnncallbacks.config.configuration import Configuration
from rnncallbacks.doctor.hooking.hooked_file import write_hooked
from rnncallbacks.doctor.presentation import findings_document, show_findings
from rnncallbacks.doctor.script_examination import ExaminationStage, ScriptFindings, examine_script
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.errors import DataError
from rnncallbacks.files import json_text
from rnncallbacks.reporting.terminal import terminal_console, write_line
from rnncallbacks.reporting.verdict import verdict

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
    stage = ExaminationStage()
    with findings_not_logged(), left_by_signals(), shown_progress(stage, options.examination.seconds):
        findings = _examined(script, arguments, configuration, options, stage)
    status = _status(findings, options.examination.roles_only)
    written = "" if hooked is None else write_hooked(script, arguments, findings, hooked)
    if as_json:
        document = {"script": str(script), "arguments": arguments, "exit_status": status, "verdict": _verdict(findings)}
        click.echo(json_text(document | {"error": _error_line(findings)} | findings_document(findings), indent=2))
        return status
    console = terminal_console()
    show_findings(console, f"no Run in {script}: watching the script's own loop", findings)
    write_line(console)
    for code, share in findings.not_with_every_seed.items():
        write_line(console, f"{code} is left out: it was found with {share} seeds")
    if written:
        write_line(console, written)
    if findings.interrupted:
        write_line(console, "interrupted: this is the diagnosis so far")
    write_line(console, f"verdict: {_verdict(findings)}", style="bold")
    return status


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
    """Examine a script with each seed. Causes that some seeds do not show are taken out of the first diagnosis."""
    if options.seeds == 1:
        return examine_script(script, arguments, configuration.make(), options.examination, stage)
    seconds = options.examination.seconds / options.seeds
    found = []
    for seed in range(options.seeds):
        with_seed = attrs.evolve(options.examination, seed=seed, seconds=seconds)
        found.append(examine_script(script, arguments, configuration.make(), with_seed, stage))
        if found[-1].interrupted:
            break
    first = found[0]
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
    return 1 if any(cause.severity != "info" for cause in causes) else 0


def _error_line(findings: ScriptFindings) -> str | None:
    return None if findings.error is None else findings.error.error


def _verdict(findings: ScriptFindings) -> str:
    if findings.diagnosis is not None:
        return verdict([findings.diagnosis])
    if findings.error is not None:
        return "the script failed before its training loop could be examined"
    if findings.loop is None:
        return "no training loop was found, so there is nothing to diagnose"
    return "nothing was checked"
