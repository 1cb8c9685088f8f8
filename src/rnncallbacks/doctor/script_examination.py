"""Examines a script without a ``Run``: finds its training loop, infers roles, and runs the guards."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from rnncallbacks.core.plugin_manager import PluginsGiven
from rnncallbacks.doctor.attended_runs import GIVEN_LOSS
from rnncallbacks.doctor.compiling_iteration import quick_to_repeat
from rnncallbacks.doctor.crash_advice import CrashAdvice
from rnncallbacks.doctor.driving import (
    IGNORED_FOR_ANOTHER_NUMBER,
    RecordedBatches,
    attribute_kept_gradients,
    drive,
    limit_severity,
    shadowed_run,
)
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.lacking_evidence import for_unchanged_script
from rnncallbacks.doctor.loop_not_found import why_not_found
from rnncallbacks.doctor.loop_search import LoopCandidate
from rnncallbacks.doctor.loops_in_turn import LoopsInTurn
from rnncallbacks.doctor.named_loop import named_loop
from rnncallbacks.doctor.rerun_iteration import RerunIteration, rerun_iterations
from rnncallbacks.doctor.roles.given_roles import GivenRoles
from rnncallbacks.doctor.roles.inference import infer_roles
from rnncallbacks.doctor.roles.named_values import infer_named_roles
from rnncallbacks.doctor.roles.role_table import Roles
from rnncallbacks.doctor.roles.shifted_sequence import find_shifted_sequence
from rnncallbacks.doctor.roles.without_replay import roles_without_replay
from rnncallbacks.doctor.sandbox import ScratchFolder
from rnncallbacks.doctor.script_findings import ScriptFindings
from rnncallbacks.doctor.script_link import can_fork
from rnncallbacks.doctor.script_process import Assignment
from rnncallbacks.doctor.source_lines import AssigningStatements
from rnncallbacks.doctor.suspicion import Suspicion
from rnncallbacks.doctor.watched_script import (
    FrozenIteration,
    ScriptOverError,
    ScriptTimeoutError,
    watched_script,
)
from rnncallbacks.errors import RnnCallbacksError, one_line

INFERRED_FROM = 3
"""Iterations from which roles are inferred; the pushes are made in the last of them. Chosen by eye."""
ROLES_SHARE = 0.5
"""Share of the remaining time for the pushes. Chosen by eye."""


@attrs.frozen(kw_only=True)
class ExaminationOptions:
    """The options of an examination.

    Attributes
    ----------
    max_batches:
        Largest number of examined iterations.
    seconds:
        Time limit of the examination.
    roles_only:
        Stop when the roles are known.
    loop:
        The training loop as "FILE:LINE" or "LINE"; empty to search for it.
    given:
        Roles given by the user.
    seed:
        Seed of ``random`` and ``np.random`` before the script begins; None to leave them.
    fork:
        Whether iterations are frozen by forking the script, where the system can. Otherwise they are run again from
        the start of the script.
    replay:
        Whether iterations are frozen and run again. Without it there is no closure.
    output:
        A file for what the script prints while its loop is watched; None to drop it.
    run_batches:
        Training batches after which the script's runs are stopped; None for a script without a ``Run``.
    beside_runs:
        Whether only loops that no run drives are searched.
    """

    max_batches: int = 80
    seconds: float = 60.0
    roles_only: bool = False
    loop: str = ""
    given: GivenRoles = attrs.field(factory=GivenRoles)
    seed: int | None = None
    fork: bool = attrs.field(factory=can_fork)
    replay: bool = True
    output: Path | None = None
    run_batches: int | None = None
    beside_runs: bool = False

    @property
    def loss_is_given(self) -> bool:
        """Whether the loop is driven by a run, which is given the loss."""
        return self.run_batches is not None and not self.beside_runs


@attrs.define(eq=False)
class ExaminationStage:
    """The stage of an examination, for the progress line; ``describe`` is called in another thread."""

    describe: Callable[[], str] = lambda: "starting the script"


def examine_script(
    script: Path,
    arguments: list[str],
    plugins: PluginsGiven,
    options: ExaminationOptions,
    stage: ExaminationStage | None = None,
) -> ScriptFindings:
    """Find the training loop of a script, infer the roles of its values, and run the plugins."""
    began = time.monotonic()
    until = began + options.seconds
    findings = ScriptFindings()
    stage = stage or ExaminationStage()
    with ScratchFolder() as scratch:
        try:
            _Examination(plugins, options, until, findings, stage).examine(script, arguments, scratch)
        except KeyboardInterrupt:
            findings.interrupted, findings.no_loop = True, f"interrupted while {stage.describe()}"
        except RnnCallbacksError:
            scratch.remove()  # its files will not be reported
            raise
        findings.written, findings.refused = scratch.written(), scratch.refused()
    findings.scratch = scratch.path if scratch.kept else None
    findings.seconds = time.monotonic() - began
    if findings.loop is None and findings.error is None and not findings.interrupted:
        out_of_time = findings.stopped_by == "time"
        findings.no_loop = why_not_found(script, options.loop, findings.seconds, out_of_time=out_of_time)
    if findings.diagnosis is not None and findings.roles is not None and not options.loss_is_given:
        for_unchanged_script(findings.diagnosis, findings.roles, findings.batches, findings.stopped_by)
    return findings


def is_doubtful(roles: Roles) -> bool:
    """Whether a loop has one parameter and no clear loss.

    In the loop in it, the other parameters may change by more than their size: such updates saturate the network, and
    an array of saturated units hardly changes from epoch to epoch.
    """
    return len(roles.parameters) == 1 and roles.loss_confidence == "unsure"


@attrs.define(eq=False)
class _Examination:
    """The examination of one script, which adds to the findings step by step."""

    plugins: PluginsGiven
    options: ExaminationOptions
    until: float
    findings: ScriptFindings
    stage: ExaminationStage

    def examine(self, script: Path, arguments: list[str], scratch: ScratchFolder) -> None:
        """Search and watch until a loop has parameters."""
        options, findings = self.options, self.findings
        named = named_loop(script, options.loop) if options.loop else None
        loops = LoopsInTurn(scratch.new_place, self.until, options.fork, named)
        while True:
            assignment = Assignment(
                script,
                scratch.new_place(),
                tuple(arguments),
                run_batches=options.run_batches,
                beside_runs=options.beside_runs,
                seed=options.seed if options.fork else options.seed or 0,
            )
            self.stage.describe = lambda: "searching the training loop"
            candidate = loops.next(assignment)
            if candidate is None:
                findings.error = findings.error or loops.error
                findings.stopped_by = findings.stopped_by or ("time" if loops.out_of_time else "")
                return
            loop = candidate.site.file, candidate.site.line
            watched = attrs.evolve(assignment, folder=scratch.new_place(), loop=loop, output=options.output)
            watched = attrs.evolve(watched, period=candidate.period, first=candidate.first)
            with rerun_iterations(watched, self.until, scratch.new_place) as rerun:
                try:
                    if self._watch(watched, candidate, rerun):
                        return
                except KeyboardInterrupt:
                    findings.loop = findings.loop or candidate
                    raise

    def _watch(self, assignment: Assignment, candidate: LoopCandidate, rerun: Callable[[int], RerunIteration]) -> bool:
        """Watch one loop; return whether it has parameters."""
        options, findings = self.options, self.findings
        where = f"{candidate.site.file}:{candidate.site.line}"
        self.stage.describe = lambda: f"waiting for the loop {where}"
        with watched_script(assignment, self.until, fork=options.fork) as script:
            recorded: deque[Any] = deque()
            files: list[str] = []
            error: CrashAdvice | None = None
            try:
                files = script.wait_for_loop()
                for _ in range(INFERRED_FROM):
                    frozen = script.go_on(freeze=options.replay)
                    if options.replay and not options.fork:
                        frozen = rerun(len(recorded) + 1)
                    recorded.append((script.record(), frozen))
            except ScriptOverError as ended:
                error = ended.advice
            except ScriptTimeoutError:
                findings.stopped_by = "time"
            if len(recorded) < 2:
                findings.error = error
                return False
            self.stage.describe = lambda: f"finding the loss, the parameters and the gradients of {where}"
            records, frozen_copies = map(list, zip(*quick_to_repeat(recorded, script.release), strict=True))
            roles = self._infer(candidate, records, frozen_copies, where)
            no_data = roles.inputs is None and roles.targets is None
            if no_data and (shifted := find_shifted_sequence(files, records)) is not None:
                key, axis = shifted
                roles = attrs.evolve(roles, inputs=key, targets=key, shifted_axis=axis)
            if not roles.parameters:
                if findings.loop is None:
                    findings.loop, findings.roles = candidate, roles
                return False
            findings.loop, findings.roles, findings.error = candidate, roles, None
            if roles.updates > 1 and not options.loop and not options.roles_only:
                return False  # a loop in it may have one update in each iteration
            if not options.loop and not options.given.loss and is_doubtful(roles):
                return False
            unknown = roles.loss_confidence == "unsure" or not roles.with_gradient or roles.updates > 1
            if not options.roles_only and not unknown:
                suspicion = Suspicion(AssigningStatements(files), roles, recorded[0][0], candidate.site)
                batches = RecordedBatches(script, roles, options.max_batches, self.until, recorded)
                self.stage.describe = lambda: f"{batches.progress} of {where}"
                self._run_guards(batches, roles, suspicion)
            return True

    def _infer(
        self,
        candidate: LoopCandidate,
        records: list[IterationRecord],
        frozen_copies: list[FrozenIteration | None],
        where: str,
    ) -> Roles:
        options = self.options

        def infer(given: GivenRoles) -> Roles:
            if options.loss_is_given:
                given = attrs.evolve(given, loss=GIVEN_LOSS)
            if None in frozen_copies:
                return roles_without_replay(records, given)
            now = time.monotonic()
            pushed_until = now + ROLES_SHARE * (self.until - now)
            return infer_roles(records, frozen_copies, pushed_until, given, candidate.site.pair)

        try:
            roles = infer_named_roles(infer, options.given, records, where, only_loop=bool(options.loop))
        except KeyboardInterrupt:
            self.findings.loop, self.findings.roles = candidate, roles_without_replay(records, options.given)
            raise
        if options.loss_is_given and roles.loss is not None:
            roles = attrs.evolve(roles, loss_confidence="certain")
        return roles

    def _run_guards(self, batches: RecordedBatches, roles: Roles, suspicion: Suspicion) -> None:
        findings, run = self.findings, shadowed_run(batches, self.plugins)
        if not roles.descends_loss:
            ignored = (*run.diagnosis.selection.ignore, *IGNORED_FOR_ANOTHER_NUMBER)
            run.diagnosis.selection = attrs.evolve(run.diagnosis.selection, ignore=ignored)
        findings.diagnosis = run.diagnosis
        try:
            drive(run, batches)
        except KeyboardInterrupt:
            findings.interrupted = True
        except RnnCallbacksError:
            raise
        except Exception as error:  # of a guard, which must not cost the findings of the others
            findings.failure = "; ".join([one_line(error), *getattr(error, "__notes__", ())])
        limit_severity(run.diagnosis, roles.loss_confidence)
        attribute_kept_gradients(run.diagnosis)
        findings.batches, findings.stopped_by, findings.error = batches.seen, batches.over, batches.error
        findings.report, findings.validation_report = batches.report, batches.validation
        suspicion.reports = {"train": batches.report, "val": batches.validation}
        findings.lines = {alarm.code: suspicion.lines(alarm) for alarm in run.diagnosis.causes}
