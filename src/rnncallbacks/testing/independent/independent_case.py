"""Runs an independent script with a fault under plugins, and compares it with its healthy twin."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import attrs

from rnncallbacks.testing.cases import FiredAlarm, shipped_guards
from rnncallbacks.testing.independent.independent_fault import IndependentFault
from rnncallbacks.testing.independent.independent_faults import INDEPENDENT_FAULTS
from rnncallbacks.testing.independent.independent_script import (
    TRAINING_EPOCHS,
    EvidenceLevel,
    IndependentScript,
    Style,
)
from rnncallbacks.testing.independent.independent_tasks import INDEPENDENT_TASKS
from rnncallbacks.testing.independent.independent_traps import INDEPENDENT_HEALTHY, INDEPENDENT_TRAPS
from rnncallbacks.testing.independent.independent_updates import OptimizerName
from rnncallbacks.testing.independent.knobs import Knobs
from rnncallbacks.testing.independent.styled_network import CellName
from rnncallbacks.testing.scoring import HARM_MARGIN

LEARNED_LOSS_SHARE = 0.9
"""Largest clean loss of a healthy twin that has learned, as a share of the loss of the best constant prediction."""


def named_fault(name: str) -> IndependentFault:
    """The fault or trap of a name, or the healthy script for "healthy"."""
    return {INDEPENDENT_HEALTHY.name: INDEPENDENT_HEALTHY, **INDEPENDENT_FAULTS, **INDEPENDENT_TRAPS}[name]


@attrs.frozen
class IndependentCase:
    """A fault or trap by name, and everything that its run depends on."""

    fault: str
    style: Style
    task: str
    cell: CellName
    optimizer: OptimizerName
    seed: int
    level: EvidenceLevel

    def script(self) -> IndependentScript:
        """The script of this case."""
        knobs = named_fault(self.fault).knobs
        return IndependentScript(self.style, self.task, self.cell, self.optimizer, self.seed, self.level, knobs)

    def twin_loss(self) -> float:
        """The clean loss of the healthy script of the same seed, trained without plugins."""
        script = IndependentScript(self.style, self.task, self.cell, self.optimizer, self.seed, "bare", Knobs())
        script.train({})
        return script.clean_loss()


@attrs.frozen(kw_only=True)
class IndependentOutcome:
    """The result of a case.

    Attributes
    ----------
    case:
        What was run.
    alarms:
        All alarms, causes and consequences.
    headlines:
        The alarms' headlines by code.
    passed:
        The codes that were checked and not raised.
    clean_loss:
        The task's own loss of the trained network on unchanged held-out data.
    """

    case: IndependentCase
    alarms: tuple[FiredAlarm, ...]
    headlines: Mapping[str, str]
    passed: tuple[str, ...]
    clean_loss: float

    @property
    def reported(self) -> tuple[FiredAlarm, ...]:
        """The causes of severity "warning" or "error"."""
        return tuple(alarm for alarm in self.alarms if alarm.explained_by is None and alarm.severity != "info")

    @property
    def named(self) -> bool:
        """Whether a code of the fault is among the reported causes."""
        return any(alarm.code in named_fault(self.case.fault).codes for alarm in self.reported)

    @property
    def passed_falsely(self) -> bool:
        """Whether the exact code of the fault has passed, and no other code of the fault was reported."""
        codes = named_fault(self.case.fault).codes
        return not self.named and codes[:1] != () and codes[0] in self.passed

    def harmed(self, twin_loss: float) -> bool:
        """Whether the network is worse than its twin by more than 5% of the loss of the best constant prediction."""
        margin = HARM_MARGIN * INDEPENDENT_TASKS[self.case.task].uninformed
        return named_fault(self.case.fault).always_harms or not self.clean_loss <= twin_loss + margin

    def learned(self, twin_loss: float) -> bool:
        """Whether a healthy script learns with this task, cell, optimizer and seed, so that an alarm is a false one."""
        return twin_loss < LEARNED_LOSS_SHARE * INDEPENDENT_TASKS[self.case.task].uninformed


def run_independent_case(
    case: IndependentCase, plugins: Mapping[str, object] | None = None, *, max_epochs: int = TRAINING_EPOCHS
) -> IndependentOutcome:
    """Trains the script of a case and returns the alarms and the loss of its run.

    Alarms are not logged.

    Parameters
    ----------
    case:
        The case.
    plugins:
        The plugins by name; None for the shipped guards with the action "warn".
    max_epochs:
        Largest number of epochs, for tests of the first batches.

    Example
    -------
    >>> case = IndependentCase("no_update", "rows", "parity", "tanh", "sgd", seed=0, level="bare")
    >>> [alarm.code for alarm in run_independent_case(case).reported]
    ['RNN503']
    """
    logger = logging.getLogger("rnncallbacks")
    disabled, logger.disabled = logger.disabled, True
    script = case.script()
    try:
        run = script.train(shipped_guards() if plugins is None else plugins, max_epochs=max_epochs)
    finally:
        logger.disabled = disabled
    return IndependentOutcome(
        case=case,
        alarms=tuple(FiredAlarm.of(alarm) for alarm in run.diagnosis.alarms),
        headlines={alarm.code: alarm.message for alarm in run.diagnosis.alarms},
        passed=tuple(run.diagnosis.passed),
        clean_loss=script.clean_loss(),
    )
