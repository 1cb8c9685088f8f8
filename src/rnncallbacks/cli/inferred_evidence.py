"""Infers missing evidence of a script with a ``Run``, and examines its loops without a run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.cli.examination import Examination, ExaminedRun, findings_not_logged
from rnncallbacks.cli.findings_output import findings_document
from rnncallbacks.cli.role_options import LoopOptions
from rnncallbacks.cli.script_modules import own_modules
from rnncallbacks.cli.watch_progress import shown_progress
from rnncallbacks.config.configuration import Configuration
from rnncallbacks.doctor.loops_beside_runs import may_train_without_run
from rnncallbacks.doctor.roles.role_table import key_text
from rnncallbacks.doctor.script_examination import ExaminationOptions, ExaminationStage, examine_script
from rnncallbacks.doctor.script_findings import ScriptFindings

SHOWN_BY_SCRIPT = frozenset(
    {"RNN201", "RNN202", "RNN203", "RNN301", "RNN302", "RNN303", "RNN404", "RNN405", "RNN406", "RNN407", "RNN603"}
)
"""Codes whose evidence can be inferred: hidden states, inputs, targets, and the loss at other weights."""


@attrs.frozen(eq=False)
class InferredEvidence:
    """Evidence that a run lacks, inferred from the script's own loop.

    Attributes
    ----------
    findings:
        The loop with the roles of its values, and the diagnosis with them.
    decided:
        Codes that the inferred evidence has decided in the run's diagnosis.
    """

    findings: ScriptFindings
    decided: tuple[str, ...]

    @property
    def shown(self) -> list[str]:
        """The inferred values: the role of each, and the expression of the script."""
        roles = self.findings.roles
        if roles is None:
            return []
        named = (("hidden states", roles.hidden), ("inputs", roles.inputs), ("targets", roles.targets))
        values = [f"{name} {key_text(key)}" for name, key in named if key is not None]
        return [*values, *(["the loss at other parameters, by replays"] if roles.exact else [])]

    def to_dict(self) -> dict[str, Any]:
        """The evidence as plain values, ready for JSON."""
        return {"evidence": self.shown, "decided": list(self.decided), "findings": findings_document(self.findings)}


@attrs.define(eq=False)
class ScriptsOwnLoops:
    """Examines the loops of a script that has a ``Run``, in the sandbox and within one time limit.

    Attributes
    ----------
    inferred:
        The evidence for runs that lack some, by the place of the run in the examination.
    undriven:
        The findings about a loop that no run drives; None if there is no such loop.
    """

    script: Path
    arguments: list[str]
    configuration: Configuration
    options: LoopOptions
    inferred: dict[int, InferredEvidence] = attrs.field(factory=dict)
    undriven: ScriptFindings | None = None

    def examine(self, examination: Examination) -> None:
        """Infer the evidence that runs lack, and search for a loop that no run drives."""
        stage, options = ExaminationStage(), self.options.examination
        with ExitStack() as stack:
            stack.enter_context(findings_not_logged())
            stack.enter_context(shown_progress(stage, options.seconds))
            seconds, seen = options.seconds, set()
            for place, one in enumerate(examination.runs):
                if one.loop is None or one.loop in seen or not lacks_evidence(one) or seconds < 1.0:
                    continue
                seen.add(one.loop)
                loop = f"{one.loop[0]}:{one.loop[1]}"
                found = self._examined(stage, examination, loop=loop, seconds=seconds)
                seconds -= found.seconds
                if found.diagnosis is not None:
                    self.inferred[place] = InferredEvidence(found, take_over(one.run.diagnosis, found.diagnosis))
            if seconds >= 1.0 and may_train_without_run(self._trees()):
                found = self._examined(stage, examination, beside_runs=True, seconds=seconds)
                if found.diagnosis is not None:
                    self.undriven = found

    def _examined(self, stage: ExaminationStage, examination: Examination, **changes: Any) -> ScriptFindings:
        options: ExaminationOptions = attrs.evolve(
            self.options.examination, run_batches=examination.max_batches, **changes
        )
        return examine_script(self.script, self.arguments, self.configuration.make(), options, stage)

    def _trees(self) -> Iterator[ast.Module]:
        return (one.tree for one in own_modules(self.script) if one.tree is not None)


def lacks_evidence(examined: ExaminedRun) -> bool:
    """Whether checks of a run with training batches lack evidence that the script's loop may show.

    The loop of a trainer is no loop of the script.
    """
    if examined.by_trainer:
        return False
    diagnosis = examined.run.diagnosis
    return bool(examined.run.step and SHOWN_BY_SCRIPT & (diagnosis.not_checked.keys() | diagnosis.cannot_tell.keys()))


def take_over(diagnosis: Diagnosis, inferred: Diagnosis) -> tuple[str, ...]:
    """Complete the diagnosis of a run by that with inferred evidence; the codes that it now decides.

    Codes that the run itself has decided stay as they are.
    """
    open_codes = diagnosis.not_checked | diagnosis.cannot_tell
    alarms = {alarm.code: alarm for alarm in inferred.alarms}
    decided = []
    for code in open_codes:
        if code in alarms:
            diagnosis.add(alarms[code])
        elif code in inferred.passed:
            diagnosis.check(code, inferred.passed[code])
        elif code in inferred.cannot_tell:
            diagnosis.report_cannot_tell(code, inferred.cannot_tell[code])
            continue
        else:
            continue
        decided.append(code)
    return tuple(decided)
