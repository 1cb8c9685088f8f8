"""A fault kit for authors of guards: runs with known faults, healthy runs with symptoms of a fault, and scores."""

from rnncallbacks.testing.cases import CaseOutcome, FiredAlarm, run_case, shipped_guards
from rnncallbacks.testing.fault import HEALTHY, Fault
from rnncallbacks.testing.faults import FAULTS
from rnncallbacks.testing.setups import CELLS, LOOPS, OPTIMIZERS, Setup
from rnncallbacks.testing.tasks import TASKS, Task
from rnncallbacks.testing.traps import TRAPS

__all__ = [
    "CELLS",
    "FAULTS",
    "HEALTHY",
    "LOOPS",
    "OPTIMIZERS",
    "TASKS",
    "TRAPS",
    "CaseOutcome",
    "Fault",
    "FiredAlarm",
    "Setup",
    "Task",
    "run_case",
    "shipped_guards",
]
