"""For authors of guards: faults put into trainings on purpose, traps, and scores of what a guard makes of them."""

from rnncallbacks.testing.cases import CaseOutcome, Fired, run_case, shipped_guards
from rnncallbacks.testing.fault import HEALTHY, Fault
from rnncallbacks.testing.faults import FAULTS
from rnncallbacks.testing.setups import CELLS, OPTIMIZERS, THROUGH, Setup
from rnncallbacks.testing.tasks import TASKS, Task
from rnncallbacks.testing.traps import TRAPS

__all__ = [
    "CELLS",
    "FAULTS",
    "HEALTHY",
    "OPTIMIZERS",
    "TASKS",
    "THROUGH",
    "TRAPS",
    "CaseOutcome",
    "Fault",
    "Fired",
    "Setup",
    "Task",
    "run_case",
    "shipped_guards",
]
