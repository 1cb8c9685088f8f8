"""What the plugins that watch a history column share: its value at the end of an epoch, and an alarm if it is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnncallbacks.records import EpochSummary
    from rnncallbacks.run import Run


def watched_value(run: Run, summary: EpochSummary, column: str) -> float | None:
    """The epoch's value in a column; None in an epoch without one, if earlier ones had it or the run was stopped.

    The first value of a column that is not finite raises RNN403, once in a run whoever watches it.

    Raises
    ------
    DataError
        The column was never there, or holds no number.
    """
    if column not in summary.row and (run.stop_reason is not None or column in run.history.columns):
        return None
    value = summary.value(column)
    if not math.isfinite(value) and not any(a.code == "RNN403" and column in a.evidence for a in run.alarms):
        run.raise_alarm("RNN403", f"{column} is {value}", evidence={column: value})
    return value
