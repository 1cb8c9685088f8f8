"""Base of the guards: the action on a finding, and the report of codes that were not checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rnncallbacks import options
from rnncallbacks.alarms.alarm import ACTIONS, Action
from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import PluginError

SHORT_RUN = 500
"""Training batches from which a run is not called too short. Chosen by eye: most checks need 60 or fewer."""

if TYPE_CHECKING:
    from rnncallbacks.alarms.finding import Finding
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, kw_only=True)
class Guard:
    """Examines a run and raises alarms; a guard derives from this class, lists its ``codes`` and implements hooks.

    For each code, a guard calls ``run.diagnosis.check(code, compared)`` once it has compared its evidence,
    ``run.diagnosis.report_cannot_tell(code, why)`` if the comparison did not decide, ``run.diagnosis.withdraw(code,
    why)`` if later evidence contradicts an earlier comparison, or ``run.diagnosis.cannot_check(code, why)`` if evidence
    is missing. At the end of the run, the base reports each code for which none was called, with the reason that a
    fault was found first, that the run was short, or that no batch showed it.

    A guard that has nothing to do in the next training batches sets ``due_step``, for example to ``run.step + 50``, or
    to infinity. It rests in the batches before that step: their ``on_batch_start``, ``on_backward`` and
    ``on_batch_end`` are not called. The first and the last batch of a pass over the training data, a batch whose loss
    or gradient is not finite (from ``on_backward`` on), and batches of other phases interrupt the rest. The other hooks
    are always called.

    A guard that waits for a high loss declares ``due_loss: float = state_field(math.inf)``. A batch with a loss above
    it interrupts the rest, from ``on_backward`` on. A guard that needs the losses of the batches in between declares
    ``missed_losses: list[float] = state_field(factory=list)``. The finite losses of batches that were not skipped are
    appended to it, and the guard clears it. ``due_norm`` and ``missed_norms`` do the same for the norm of the gradient.

    The guards of the library are defined with ``on_setattr=attrs.setters.NO_OP``: they assign state in every batch, and
    validators at each assignment would take longer than some of the checks.

    Options
    -------
    action:
        The reaction to an alarm: "warn" continues, "stop" ends the run, "raise" ends it with an error, "repair" leaves
        it to the plugin ``self_repair``.

    Attributes
    ----------
    due_step:
        The step of the first training batch that the guard sees again.
    """

    codes: ClassVar[tuple[str, ...]] = ()
    first_rank_only: ClassVar[bool] = True

    action: Action = attrs.field(default="warn", validator=options.one_of(*ACTIONS))
    due_step: float = state_field(0.0)

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if isinstance(cls.codes, str):
            raise PluginError(
                f"{cls.__name__}: codes: expected a tuple of alarm codes, got {cls.codes!r}",
                hint=f"write codes = ({cls.codes!r},), with the comma",
            )

    def fire(self, run: Run, finding: Finding, *, action: Action | None = None) -> None:
        """Raise the alarm for a finding, with the action of this guard unless another is given."""
        raise_finding(run, finding, self.action if action is None else action)

    def note(self, run: Run, result: CheckResult) -> None:
        """Add the checked and unchecked codes of a result to the diagnosis; :meth:`fire` raises its finding."""
        if result is NOTHING_COMPARED:
            return
        if not isinstance(result, CheckResult):
            raise PluginError(
                f"{type(self).__name__}: expected a CheckResult of the detector, got {result!r}",
                hint="return CheckResult() where nothing was compared",
            )
        for code, compared in result.checked.items():
            run.diagnosis.check(code, compared)
        for code, why in result.cannot_tell.items():
            run.diagnosis.report_cannot_tell(code, why)
        for code, why in result.withdrawn.items():
            run.diagnosis.withdraw(code, why)
        for code, why in result.not_checked.items():
            run.diagnosis.cannot_check(code, why)

    def conclude(self, run: Run, result: CheckResult) -> None:
        """Add a result to the diagnosis, and raise the alarm for its finding if it has one."""
        self.note(run, result)
        if result.finding is not None:
            self.fire(run, result.finding)

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        causes = [alarm.code for alarm in run.diagnosis.causes if alarm.severity != "info"]
        own = [code for code in causes if code in self.codes]
        if causes:
            reason = f"mend {' and '.join(own or causes)} first: this comparison was not made"
        elif run.step < SHORT_RUN:
            reason = "the run was too short"
        else:
            reason = f"none of {run.step} training batches showed it"
        for code in self.codes:
            run.diagnosis.cannot_check(code, reason)


def raise_finding(run: Run, finding: Finding, action: Action) -> None:
    """Raise the alarm for a finding."""
    run.raise_alarm(
        finding.code,
        finding.message,
        evidence=finding.evidence,
        cause=finding.cause,
        remedy=finding.remedy,
        severity=finding.severity,
        explains=finding.explains,
        action=action,
    )
