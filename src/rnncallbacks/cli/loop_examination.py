"""What ``rnncallbacks doctor`` does with a script that has no ``Run`` in it."""

from __future__ import annotations

import ast
from pathlib import Path

import click

from rnncallbacks.cli.examination import findings_not_logged
from rnncallbacks.cli.script_runner import check_script
from rnncallbacks.config.configuration import Configuration
from rnncallbacks.doctor.hooking.hooked_file import write_hooked
from rnncallbacks.doctor.presentation import findings_document, show_findings
from rnncallbacks.doctor.script_examination import ExaminationOptions, ScriptFindings, examine_script
from rnncallbacks.files import json_text
from rnncallbacks.reporting.terminal import terminal_console, write_line
from rnncallbacks.reporting.verdict import verdict

INTERRUPTED = 130
PACKAGE = "rnncallbacks"
LOOP_BATCHES = 80
"""Iterations of a script's own loop that are judged."""


def mentions_run(script: Path) -> bool:
    """Whether a script, or a module in its folder that it imports, imports this package.

    A script that cannot be parsed, such as one for Python 2 or a notebook, counts as one that does not.

    Raises
    ------
    DataError
        There is no such script.
    """
    check_script(script)
    waiting, known = [script], {script}
    while waiting:
        path = waiting.pop()
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for name in _imported(tree):
            if name.split(".")[0] == PACKAGE:
                return True
            module = script.parent.joinpath(*name.split(".")).with_suffix(".py")
            if module not in known and module.is_file():
                known.add(module)
                waiting.append(module)
    return False


def _imported(tree: ast.Module) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def examine_loop(
    script: Path,
    arguments: list[str],
    configuration: Configuration,
    batches: int | None,
    seconds: float,
    roles_only: bool,
    as_json: bool,
    hooked: Path | None,
) -> int:
    """Examine the script's own loop, show what was found, and return the exit code."""
    options = ExaminationOptions(max_batches=batches or LOOP_BATCHES, seconds=seconds, roles_only=roles_only)
    with findings_not_logged():
        findings = examine_script(script, arguments, configuration.make(), options)
    status = _status(findings, roles_only)
    written = "" if hooked is None else write_hooked(script, arguments, findings, hooked)
    if as_json:
        document = {"script": str(script), "arguments": arguments, "exit_status": status, "verdict": _verdict(findings)}
        click.echo(json_text(document | {"error": _error_line(findings)} | findings_document(findings), indent=2))
        return status
    console = terminal_console()
    show_findings(console, str(script), findings)
    write_line(console)
    if written:
        write_line(console, written)
    if findings.interrupted:
        write_line(console, "interrupted: this is the diagnosis so far")
    write_line(console, f"verdict: {_verdict(findings)}", style="bold")
    return status


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
    if findings.loop is None:
        return "no training loop was found, so there is nothing to diagnose"
    return "nothing was judged"
