"""The part of a run for alarms and plugins: raise, report, register, unregister."""

from __future__ import annotations

from collections.abc import Mapping

from rnncallbacks.alarms.alarm import Action, Alarm, AlarmRaised, make_alarm
from rnncallbacks.alarms.catalogue import Severity
from rnncallbacks.alarms.diagnosis_content import Repair
from rnncallbacks.core.run_state import RunState
from rnncallbacks.errors import RunStateError


class RunAlarms(RunState):
    """The state of a run, and the calls for alarms and plugins; ``Run`` adds the loop."""

    def raise_alarm(
        self,
        code: str,
        message: str,
        *,
        evidence: Mapping[str, float | int | str] | None = None,
        cause: str | None = None,
        remedy: str | None = None,
        severity: Severity | None = None,
        explains: str | None = None,
        action: Action = "warn",
    ) -> Alarm:
        """Raise an alarm: list it in ``run.alarms``, log it, call ``on_alarm``, then carry out ``action``.

        ``cause``, ``remedy``, ``severity`` and ``explains``, the codes that are consequences of this one, default to
        those of the catalogue. ``action`` is "warn" (nothing more), "stop" (:meth:`stop`), "raise"
        (:class:`~rnncallbacks.alarms.alarm.AlarmRaised`) or "repair" (left to the plugin ``self_repair``). A code that
        was raised before is counted; it is logged again only if it is more severe now. A code that the selection leaves
        out has no effect.

        Raises
        ------
        OptionError
            The code is not in the catalogue, and cause, remedy or severity is missing; or the action is unknown.
        AlarmRaised
            ``action`` is "raise", and no plugin repaired.
        """
        self._cycle.require("new", "entered", "fitting", doing="raise an alarm")
        alarm = make_alarm(
            code,
            message,
            evidence or {},
            cause=cause,
            remedy=remedy,
            severity=severity,
            action=action,
            epoch=self.epoch,
            step=self.step,
            explains=explains,
        )
        if not self.diagnosis.selection.selects(code):
            return alarm
        alarm = self.diagnosis.report(alarm)
        repairs = len(self.diagnosis.repairs)
        self.plugins.call("on_alarm", run=self, alarm=alarm)
        if len(self.diagnosis.repairs) > repairs:
            return alarm
        if action == "stop":
            self.stop(f"{code} {message}", code=code)
        elif action == "raise":
            raise AlarmRaised(alarm)
        return alarm

    def report_repair(self, alarm: Alarm, what: str) -> None:
        """Report, from ``on_alarm``, the repair of an alarm. The action of the alarm is then not carried out."""
        self._cycle.require("entered", "fitting", doing="report a repair")
        repair = Repair(code=alarm.code, what=what, epoch=self.epoch, step=self.step)
        self.diagnosis.report_repair(repair)
        if self.epoch_summary is not None:
            self.epoch_summary.log_repair(repair)

    def register(self, plugin: object, name: str | None = None) -> str:
        """Add a plugin after the others and return its name: ``name``, or its class's name in snake_case.

        Raises
        ------
        PluginError
            The object cannot serve as a plugin.
        RunStateError
            A batch is open, or the run has ended.
        """
        self._require_no_batch("register a plugin")
        return self.plugins.register(plugin, name)

    def unregister(self, name: str) -> object:
        """Take out a plugin and its learning-rate scale, and return the plugin.

        Raises
        ------
        PluginError
            No plugin has this name.
        RunStateError
            A batch is open, or the run has ended.
        """
        self._require_no_batch("unregister a plugin")
        known = name in self.plugins
        try:
            return self.plugins.unregister(name)
        finally:
            if known:
                self.scales.pop(name, None)

    def _repr_html_(self) -> str:
        from html import escape  # only notebooks need it

        return f"<p><code>{escape(repr(self))}</code></p>{self.history._repr_html_()}{self.diagnosis._repr_html_()}"

    def __repr__(self) -> str:
        limit = "" if self.max_epochs is None else f" of {self.max_epochs}"
        parts = [f"epoch {self.epoch}{limit}", f"step {self.step}"]
        parts += [repr(self.history)] if len(self.history) else []
        parts += [f"causes: {', '.join(cause.code for cause in self.diagnosis.causes)}"] if self.alarms else []
        parts += [f"stopped: {self.stop_reason}"] if self.stop_reason else []
        return f"{type(self).__name__}({', '.join(parts)})"

    def _require_no_batch(self, doing: str) -> None:
        self._cycle.require("new", "entered", "fitting", doing=doing)
        if self._batches.close_abandoned() is not None:
            raise RunStateError(f"cannot {doing} while a batch is open", hint="do it before or between batches")
