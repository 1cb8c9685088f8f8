"""Scores of guards: detection rates with confidence intervals, and the criterion of harm."""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from rnncallbacks.testing.cases import CaseOutcome
from rnncallbacks.testing.fault import Fault
from rnncallbacks.testing.tasks import TASKS

HARM_MARGIN = 0.05
"""Smallest harmful excess of the loss over the healthy twin's, as a fraction of ln V; set by the benchmark's design."""


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a proportion.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).

    Example
    -------
    >>> [round(bound, 3) for bound in wilson(0, 100)]
    [0.0, 0.037]
    """
    if trials == 0:
        return 0.0, 1.0
    z = 1.959964
    proportion, spread = hits / trials, z * z / trials
    center = (proportion + spread / 2) / (1 + spread)
    half_width = z * math.sqrt(proportion * (1 - proportion) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, center - half_width), min(1.0, center + half_width)


def harmful(fault: Fault, outcome: CaseOutcome, twin: CaseOutcome) -> bool:
    """Whether the network's true loss exceeds that of its healthy twin by more than 0.05 ln V.

    The twin is the healthy run of the same task, cell, optimizer, seed and loop. Faults with ``always_harms`` are
    harmful by definition, see :class:`~rnncallbacks.testing.fault.Fault`.
    """
    margin = HARM_MARGIN * math.log(max(TASKS[outcome.task].vocab_size, 2))
    return fault.always_harms or not outcome.true_loss <= twin.true_loss + margin


@attrs.frozen(kw_only=True)
class Score:
    """Counts over faulty runs.

    Parameters
    ----------
    runs:
        Number of runs.
    detected:
        Runs with a cause of severity "warning" or "error".
    noted:
        Runs with any alarm.
    named:
        Detected runs in which one of those causes has a code of the fault.
    mentioned:
        Runs in which any alarm has a code of the fault.
    delays:
        Training batches until the first reported cause, for each detected run, in ascending order.
    """

    runs: int
    detected: int
    noted: int
    named: int
    mentioned: int
    delays: tuple[int, ...]

    @classmethod
    def of(cls, cases: Iterable[tuple[Fault, CaseOutcome]]) -> Score:
        pairs = list(cases)
        reported = [(fault, outcome) for fault, outcome in pairs if outcome.reported]
        return cls(
            runs=len(pairs),
            detected=len(reported),
            noted=sum(bool(outcome.alarms) for _, outcome in pairs),
            named=sum(any(alarm.code in fault.codes for alarm in outcome.reported) for fault, outcome in reported),
            mentioned=sum(any(alarm.code in fault.codes for alarm in outcome.alarms) for fault, outcome in pairs),
            delays=tuple(sorted(min(alarm.batch for alarm in outcome.reported) for _, outcome in reported)),
        )

    def delay(self, quantile: float) -> float:
        """Training batches within which this fraction of the detected runs was detected; NaN if none was."""
        if not self.delays:
            return math.nan
        return float(self.delays[min(len(self.delays) - 1, math.ceil(quantile * len(self.delays)) - 1)])
