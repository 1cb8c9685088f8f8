"""The output of the doctor for a script without a ``Run``: the table of roles, then the diagnosis."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.verdict import counted
from rnncallbacks.doctor.roles.nonfinite_roles import NEVER_FINITE
from rnncallbacks.doctor.roles.role_table import ParameterRole, Roles, ends_as_parameter, key_text
from rnncallbacks.doctor.script_findings import ScriptFindings
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.doctor.source_lines import SourceLine
from rnncallbacks.reporting.terminal import show_diagnosis, write_line

if TYPE_CHECKING:
    from rich.console import Console

ROLE_COLUMNS = 13
"""Columns of the names of roles."""
LISTED_NAMES = 12
"""Names in one row of the table."""


def show_findings(console: Console | None, heading: str, findings: ScriptFindings) -> None:
    """Write a heading, the table of roles and the diagnosis."""
    write_line(console, heading, style="bold")
    for name, value in role_rows(findings):
        write_line(console, f"{name:{ROLE_COLUMNS}}{value}", indent=2)
    if findings.error is not None:
        write_line(console)
        write_line(console, "the script failed:", style="bold")
        for text in findings.error.lines():
            write_line(console, text, indent=2)
    if findings.diagnosis is not None:
        write_line(console)
        show_diagnosis(console, findings.diagnosis)
        show_lines(console, findings)
    elif findings.roles is not None and findings.roles.loss_candidates and findings.roles.loss_confidence == "unsure":
        write_line(console)
        write_line(console, "several numbers may be the loss:")
        for candidate in findings.roles.loss_candidates:
            reasons = ", ".join(candidate.reasons)
            write_line(console, f"--loss '{candidate.name}'   score {candidate.score:.1f}   {reasons}", indent=2)
        write_line(console, "Nothing was checked. Run again with one of these options.")
    if findings.refused or findings.scratch is not None:
        write_line(console)
    for one in findings.refused:
        write_line(console, f"refused: {one}")
    if findings.scratch is not None:
        write_line(console, f"files that the script wrote went to {findings.scratch}")


def show_lines(console: Console | None, findings: ScriptFindings, codes: Collection[str] | None = None) -> None:
    """Write the suspicious lines for each cause, or for those with one of the codes."""
    causes = findings.diagnosis.causes if findings.diagnosis is not None else []
    for cause in causes:
        if codes is not None and cause.code not in codes:
            continue
        lines = findings.lines.get(cause.code, [])
        if not lines:
            continue
        write_line(console)
        write_line(console, f"look at, for {cause.code}", style="bold")
        places = [_place(os.path.relpath(one.file), one.line) for one in lines]
        width = max(map(len, places))
        for place, one in zip(places, lines, strict=True):
            write_line(console, f"{place:{width}}  {one.source}", indent=2)
            write_line(console, f"{'':{width}}  {one.why}", indent=2, style="dim")


def role_rows(findings: ScriptFindings) -> list[tuple[str, str]]:
    """The table of roles: name and value of each row."""
    if findings.loop is None:
        return [("trains in", findings.no_loop if findings.error is None else "no training loop was reached")]
    site = findings.loop.site
    length = f"   {counted(findings.batches, 'batch', 'batches')}, {findings.seconds:.1f} s" if findings.batches else ""
    rows = [("trains in", f"{_place(site.file, site.line)}  {site.source}{length}")]
    roles = findings.roles
    if roles is None:
        return [*rows, ("", findings.no_loop)] if findings.interrupted else rows
    if roles.loss is not None:
        rows.append(("loss", f"{key_text(roles.loss)}   {roles.loss_confidence}"))
        if roles.loss_is:
            rows.append(("", f"it is {roles.loss_is}"))
    elif roles.parameters:
        rows.append(("loss", "none: no number of the loop changes with the parameters"))
    if not roles.parameters:
        rows[0] = ("perhaps in", rows[0][1])
        why = (
            "no array that the loop changes moves a number" if roles.exact else "a replay did not give the same values"
        )
        return [*rows, ("parameters", f"none: {why}")]
    gradients = [_source(one) for one in roles.with_gradient]
    rows.append(("parameters", _listed([one.name for one in roles.parameters])))
    found = f"   {len(gradients)} of {len(roles.parameters)}"
    rows.append(("gradients", _listed(gradients) + found if gradients else "none"))
    if roles.updates > 1:
        rows.append(("updates", f"{roles.updates} in each iteration: no check is made"))
    rate = "" if roles.learning_rate is None else f"learning rate {roles.learning_rate:.4g}, "
    rows.append(("update", rate + ("along the gradient" if roles.plain else "not along the gradient")))
    if roles.optimizer_state:
        rows.append(("optimizer", _listed([key_text(key) for key in roles.optimizer_state])))
    states = list(dict.fromkeys([*roles.carried, *(key for key in (roles.hidden, roles.entering) if key)]))
    rows.append(("state", _listed([key_text(key) for key in states]) if states else "none found"))
    reports = [key_text(key) for key in (findings.report, findings.validation_report) if key is not None]
    rows.append(("epoch loss", ", validation ".join(reports) or "none found"))
    if roles.loss_is == NEVER_FINITE:
        rows.append(("replay", "none: no perturbation changes a loss that is never finite"))
    elif not roles.exact:
        rows.append(("replay", "none: no closure, and roles inferred from names and from arrays that change together"))
        rows.append(("", "--no-fork repeats iterations from the start of a script that runs threads"))
    targets = key_text(roles.targets) if roles.targets else "not found"
    rows.append(("data", f"inputs {roles.inputs_text or 'not found'}, targets {targets}"))
    return rows


def _place(file: str, line: int) -> str:
    """The place of a line of the examined text, in a notebook by its cell."""
    return str(read_script(Path(file)).location(line)) if file.endswith(".ipynb") else f"{file}:{line}"


def _source(one: ParameterRole) -> str:
    keys = [key for key in (one.fallback, one.gradient) if key is not None]
    return key_text(min(keys, key=lambda key: not ends_as_parameter(key, one.key))) if keys else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    return " ".join(names[:LISTED_NAMES]) + more


def findings_document(findings: ScriptFindings) -> dict[str, Any]:
    """The findings as plain values, ready for JSON."""
    loop, roles = findings.loop, findings.roles
    return {
        "loop": None if loop is None else {"file": loop.site.file, "line": loop.site.line, "source": loop.site.source},
        "roles": None if roles is None else roles_document(roles),
        "epoch_loss": None if findings.report is None else key_text(findings.report),
        "validation_loss": None if findings.validation_report is None else key_text(findings.validation_report),
        "batches": findings.batches,
        "stopped_by": findings.stopped_by,
        "not_with_every_seed": findings.not_with_every_seed,
        "seconds": round(findings.seconds, 3),
        "crash": None if findings.error is None else attrs.asdict(findings.error),
        "written": findings.written,
        "refused": findings.refused,
        "scratch": None if findings.scratch is None else str(findings.scratch),
        "diagnosis": None if findings.diagnosis is None else _diagnosis_document(findings.diagnosis, findings.lines),
    }


def _diagnosis_document(diagnosis: Diagnosis, lines: Mapping[str, list[SourceLine]]) -> dict[str, Any]:
    document = diagnosis.to_dict()
    for alarm in document["alarms"]:
        alarm["look_at"] = [one.to_dict() for one in lines.get(alarm["code"], ())]
    return document


def roles_document(roles: Roles) -> dict[str, Any]:
    """The roles as plain values, ready for JSON."""
    return {
        "loss": None if roles.loss is None else key_text(roles.loss),
        "loss_confidence": roles.loss_confidence,
        "loss_candidates": [one.to_dict() for one in roles.loss_candidates],
        "parameters": {
            one.name: {"gradient": _source(one) or None, "agrees_with_loss": one.agrees} for one in roles.parameters
        },
        "optimizer_state": [key_text(key) for key in roles.optimizer_state],
        "carried_state": [key_text(key) for key in roles.carried],
        "hidden_states": None if roles.hidden is None else key_text(roles.hidden),
        "entering_state": None if roles.entering is None else key_text(roles.entering),
        "inputs": roles.inputs_text or None,
        "targets": None if roles.targets is None else key_text(roles.targets),
        "loss_is": roles.loss_is or None,
        "updates_per_iteration": roles.updates,
        "learning_rate": roles.learning_rate,
        "plain_update": roles.plain,
        "replay_exact": roles.exact,
    }
