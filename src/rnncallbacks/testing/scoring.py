"""What a guard is worth: shares with intervals, and whether a fault did harm."""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from rnncallbacks.testing.cases import CaseOutcome
from rnncallbacks.testing.fault import Fault
from rnncallbacks.testing.tasks import TASKS

HARM = 0.05
"""Above the healthy twin's loss by more than this share of ln V."""


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).

    Example
    -------
    >>> [round(bound, 3) for bound in wilson(0, 100)]
    [0.0, 0.037]
    """
    if trials == 0:
        return 0.0, 1.0
    z = 1.959964
    share, spread = hits / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def harmful(fault: Fault, outcome: CaseOutcome, twin: CaseOutcome) -> bool:
    """Whether the network ended worse than its healthy twin of the same seed, by more than 0.05 ln V.

    Some faults harm by definition, see :class:`~rnncallbacks.testing.fault.Fault`.
    """
    margin = HARM * math.log(max(TASKS[outcome.task].vocab_size, 2))
    return fault.always_harms or not outcome.true_loss <= twin.true_loss + margin


@attrs.frozen(kw_only=True)
class Score:
    """How often something was found in faulty runs.

    ``detected`` counts a cause louder than a note, ``noted`` any alarm, ``named`` the fault's code among the causes,
    ``mentioned`` the code among all alarms. ``delays`` are the batches until the first loud cause.
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
        loud = [(fault, outcome) for fault, outcome in pairs if outcome.loud]
        return cls(
            runs=len(pairs),
            detected=len(loud),
            noted=sum(bool(outcome.alarms) for _, outcome in pairs),
            named=sum(any(alarm.code in fault.codes for alarm in outcome.loud) for fault, outcome in loud),
            mentioned=sum(any(alarm.code in fault.codes for alarm in outcome.alarms) for fault, outcome in pairs),
            delays=tuple(sorted(min(alarm.batch for alarm in outcome.loud) for _, outcome in loud)),
        )

    def delay(self, share: float) -> float:
        """The batches within which this share of the detected were detected; NaN if none was."""
        if not self.delays:
            return math.nan
        return float(self.delays[min(len(self.delays) - 1, math.ceil(share * len(self.delays)) - 1)])
