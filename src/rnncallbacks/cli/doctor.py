"""``rnncallbacks doctor``: run a training script for some batches, and diagnose why it does not learn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.verdict import counted, verdict
from rnncallbacks.cli.command_options import PluginSwitches, config_option, switches_option
from rnncallbacks.cli.doctor_plugins import guard_configuration
from rnncallbacks.cli.error_output import INTERRUPTED
from rnncallbacks.cli.examination import Examination, ExaminedRun
from rnncallbacks.cli.findings_output import findings_document, show_findings, show_lines
from rnncallbacks.cli.inferred_evidence import ScriptsOwnLoops
from rnncallbacks.cli.loop_examination import examine_loop, left_by_signals
from rnncallbacks.cli.role_options import ROLES, loop_options, role_options
from rnncallbacks.cli.script_modules import mentions_run, misplaced_options
from rnncallbacks.cli.script_runner import Outcome, output_to_stderr, run_script
from rnncallbacks.core.plugin_manager import Plugins
from rnncallbacks.doctor.lacking_evidence import for_trainer
from rnncallbacks.files import json_text
from rnncallbacks.reporting.terminal import COLUMNS, show_diagnosis, terminal_console, write_line

RUN_BATCHES = 300
"""Training batches after which a run is stopped, by default. Chosen by eye."""
TOO_SHORT = "the run was too short"
"""The guards' reason for a check that needs more batches."""
MORE_BATCHES = 10
"""Factor by which --batches is raised in the advice for checks that need more batches. Chosen by eye."""


# Options that follow the script are the script's.
@click.command(short_help="Diagnose why a script does not learn.", context_settings={"allow_interspersed_args": False})
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@click.option(
    "--batches",
    type=click.IntRange(min=1),
    default=None,
    metavar="INTEGER",
    help="Training batches after which a run is stopped. [default: 300, or 80 in a script without a Run]",
)
@role_options
@click.option(
    "--write-hooked",
    "hooked",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="In a script without a Run: write it to FILE with a Run around its loop.",
)
@click.option(
    "--given-only",
    is_flag=True,
    help="In a script with a Run: infer no missing evidence, and look for no other loop.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; what the script prints goes to stderr.")
@config_option
@switches_option
def doctor(
    script: Path,
    args: tuple[str, ...],
    batches: int | None,
    hooked: Path | None,
    given_only: bool,
    as_json: bool,
    config: Path | None,
    switches: PluginSwitches,
    **given: Any,
) -> None:
    """Run a training script for some batches, and diagnose why it does not learn.

    SCRIPT is run unchanged. Options of doctor come before it; what follows it is passed to the script. The exit
    code is 1 if a cause was found, 0 if none was, and 2 if the script could not be run or nothing could be checked.

    In a script without a Run, the training loop is found, and the roles of its values are inferred. In a script with a
    Run, the guards of the library are added to it, and evidence that it was not given is inferred. The options from
    --seconds to --write-hooked are for loops that are found.
    """
    if given_only and (named := [f"--{name.replace('_', '-')}" for name in ROLES if given[name] not in ("", None)]):
        raise click.UsageError(f"--given-only infers nothing, so {', '.join(named)} would have no effect")
    configuration = guard_configuration(config, switches)
    Plugins(configuration.make())  # refuses unusable plugins before the script begins
    known = {name for one in doctor.params for name in one.opts}
    if misplaced := misplaced_options(script, args, known):
        told = f"doctor: {', '.join(misplaced)}: passed to {script}, which has no such option"
        click.echo(f"{told}; options of doctor come before {script}", err=True)
    if not mentions_run(script):
        sys.exit(examine_loop(script, list(args), configuration, loop_options(batches, given), as_json, hooked))
    examination = Examination(configuration, batches or RUN_BATCHES)
    with output_to_stderr(as_json), examination.attend_runs():
        outcome = run_script(script, list(args))
    runs = examination.runs
    for one in runs:
        if one.by_trainer:
            for_trainer(one.run.diagnosis)
    own = ScriptsOwnLoops(script, list(args), configuration, loop_options(batches, given))
    if not (given_only or outcome.interrupted or (outcome.error is not None and not _any_cut_short(runs))):
        with left_by_signals():
            own.examine(examination)
    status = _exit_code(runs, outcome, own)
    if as_json:
        click.echo(json_text(_document(script, list(args), runs, outcome, own, status), indent=2))
    else:
        _show(script, runs, outcome, own)
    sys.exit(status)


def _exit_code(runs: list[ExaminedRun], outcome: Outcome, own: ScriptsOwnLoops) -> int:
    if any(cause.severity != "info" for one in _diagnoses(runs, own) for cause in one.causes):
        return 1
    if outcome.interrupted:
        return INTERRUPTED
    if outcome.error is not None and not _any_cut_short(runs):
        return 2
    return 0 if own.undriven is not None or any(one.run.step for one in runs) else 2


def _diagnoses(runs: list[ExaminedRun], own: ScriptsOwnLoops) -> list[Diagnosis]:
    undriven = own.undriven.diagnosis if own.undriven is not None else None
    return [*(one.run.diagnosis for one in runs), *([undriven] if undriven is not None else [])]


def _any_cut_short(runs: list[ExaminedRun]) -> bool:
    return any(one.limit.reached for one in runs)


def _conclusion(runs: list[ExaminedRun], own: ScriptsOwnLoops) -> str:
    """The verdict, in one line."""
    if own.undriven is not None:
        return verdict(_diagnoses(runs, own))
    if not runs:
        return "no Run was entered, so there is nothing to diagnose; put one around the training loop"
    if not any(one.run.step for one in runs):
        return "no training batch was seen, so there is nothing to diagnose"
    return verdict(one.run.diagnosis for one in runs)


def _document(
    script: Path, arguments: list[str], runs: list[ExaminedRun], outcome: Outcome, own: ScriptsOwnLoops, status: int
) -> dict[str, Any]:
    return {
        "script": str(script),
        "arguments": arguments,
        "exit_status": status,
        "verdict": _conclusion(runs, own),
        "error": outcome.error_line,
        "interrupted": outcome.interrupted,
        "runs": [one.to_dict() | {"inferred": _inferred(own, place)} for place, one in enumerate(runs)],
        "own_loop": None if own.undriven is None else findings_document(own.undriven),
    }


def _inferred(own: ScriptsOwnLoops, place: int) -> dict[str, Any] | None:
    return own.inferred[place].to_dict() if place in own.inferred else None


def _show(script: Path, runs: list[ExaminedRun], outcome: Outcome, own: ScriptsOwnLoops) -> None:
    console = terminal_console()
    sys.stdout.flush()
    write_line(console)
    for number, examined in enumerate(runs, 1):
        which = f"run {number} of {len(runs)} in {script}" if len(runs) > 1 else f"the run in {script}"
        run = examined.run
        length = f"{counted(run.epoch, 'epoch')} begun, {counted(run.step, 'training batch', 'training batches')}"
        stopped = ", then stopped by doctor" if examined.limit.reached else ""
        write_line(console, f"{which}: {length}{stopped}", style="bold")
        if examined.removed:
            write_line(console, f"left out, so that no file of a real run is touched: {', '.join(examined.removed)}")
        show_diagnosis(console, run.diagnosis)
        if (inferred := own.inferred.get(number - 1)) is not None and inferred.decided:
            write_line(
                console,
                f"inferred, as the run was not given it: {', '.join(inferred.shown)}; it decides "
                f"{', '.join(inferred.decided)}",
            )
            show_lines(console, inferred.findings, inferred.decided)
        if examined.limit.reached and TOO_SHORT in run.diagnosis.not_checked.values():
            more = MORE_BATCHES * examined.limit.max_batches
            write_line(console, f"for a longer run: --batches {more}", indent=2)
        write_line(console)
    if own.undriven is not None:
        show_findings(console, f"a loop of {script} is not driven by a Run:", own.undriven)
        write_line(console)
    if outcome.interrupted:
        write_line(console, "interrupted: this is the diagnosis so far")
    elif outcome.error is not None and _any_cut_short(runs):
        write_line(
            console,
            "The script failed after doctor had stopped its run, perhaps because epochs are missing. "
            "This is not a finding.",
        )
    write_line(console, f"verdict: {_conclusion(runs, own)}", style="bold", wrap=COLUMNS)
