"""Independent training scripts with faults and traps, in three coding styles that the guards were not written for."""

from rnncallbacks.testing.independent.independent_case import (
    IndependentCase,
    IndependentOutcome,
    named_fault,
    run_independent_case,
)
from rnncallbacks.testing.independent.independent_fault import LEVELS, STYLES, IndependentFault, Split
from rnncallbacks.testing.independent.independent_faults import INDEPENDENT_FAULTS
from rnncallbacks.testing.independent.independent_script import IndependentScript
from rnncallbacks.testing.independent.independent_tasks import INDEPENDENT_TASKS, IndependentTask
from rnncallbacks.testing.independent.independent_traps import INDEPENDENT_HEALTHY, INDEPENDENT_TRAPS
from rnncallbacks.testing.independent.knobs import Knobs

__all__ = [
    "INDEPENDENT_FAULTS",
    "INDEPENDENT_HEALTHY",
    "INDEPENDENT_TASKS",
    "INDEPENDENT_TRAPS",
    "LEVELS",
    "STYLES",
    "IndependentCase",
    "IndependentFault",
    "IndependentOutcome",
    "IndependentScript",
    "IndependentTask",
    "Knobs",
    "Split",
    "named_fault",
    "run_independent_case",
]
