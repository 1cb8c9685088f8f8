"""For authors of guards: faults put into trainings on purpose, traps, and scores of what a guard makes of them."""

from rnncallbacks.testing.cases import Fired, Outcome, guards, run_case
from rnncallbacks.testing.fault import HEALTHY, Fault
from rnncallbacks.testing.faults import FAULTS
from rnncallbacks.testing.setups import CELLS, OPTIMISERS, THROUGH, Setup
from rnncallbacks.testing.tasks import TASKS, Task
from rnncallbacks.testing.traps import TRAPS

__all__ = [
    "CELLS",
    "FAULTS",
    "HEALTHY",
    "OPTIMISERS",
    "TASKS",
    "THROUGH",
    "TRAPS",
    "Fault",
    "Fired",
    "Outcome",
    "Setup",
    "Task",
    "guards",
    "run_case",
]
