"""The findings of the doctor about a script."""

from __future__ import annotations

from pathlib import Path

import attrs

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.doctor.crash_advice import CrashAdvice
from rnncallbacks.doctor.loop_search import LoopCandidate
from rnncallbacks.doctor.roles.role_table import Roles
from rnncallbacks.doctor.source_lines import SourceLine
from rnncallbacks.doctor.value_walk import Key


@attrs.define(eq=False)
class ScriptFindings:
    """The findings about a script.

    Attributes
    ----------
    loop:
        The training loop, None if none was found.
    no_loop:
        The reason why none was found.
    roles:
        The roles of its values.
    diagnosis:
        The diagnosis of the guards; None if nothing was checked.
    batches:
        Number of examined iterations.
    stopped_by:
        "batches", "time" or "script".
    seconds:
        Duration of the examination.
    error:
        The explanation of the script's error; None if it had none.
    report:
        The list to which the script adds the epoch's loss; None if none was found.
    validation_report:
        The same of the validation loss.
    lines:
        The lines to look at, by code.
    written, refused:
        Files that the script wrote, and its refused actions.
    scratch:
        The folder of the files; None if there are none.
    failure:
        The error of a guard, which ended the examination; empty if there was none.
    interrupted:
        Whether Ctrl-C ended the examination; the diagnosis is then incomplete.
    not_with_every_seed:
        Codes that only some seeds showed, and how many did; they are not in the diagnosis.
    """

    loop: LoopCandidate | None = None
    no_loop: str = "no training loop was found"
    roles: Roles | None = None
    diagnosis: Diagnosis | None = None
    batches: int = 0
    stopped_by: str = ""
    seconds: float = 0.0
    error: CrashAdvice | None = None
    report: Key | None = None
    validation_report: Key | None = None
    lines: dict[str, list[SourceLine]] = attrs.field(factory=dict)
    written: list[str] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    scratch: Path | None = None
    failure: str = ""
    interrupted: bool = False
    not_with_every_seed: dict[str, str] = attrs.field(factory=dict)
