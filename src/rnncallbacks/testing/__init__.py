"""For authors: a kit that tries plugins, and for guards runs with known faults, traps, and scores."""

from rnncallbacks.testing.cases import CaseOutcome, FiredAlarm, run_case, shipped_guards
from rnncallbacks.testing.fault import HEALTHY, Fault
from rnncallbacks.testing.faults import FAULTS
from rnncallbacks.testing.kit.playing import play
from rnncallbacks.testing.kit.plugin_check import PluginCheckError, check_plugin
from rnncallbacks.testing.kit.recorder import Recorder
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
    "PluginCheckError",
    "Recorder",
    "Setup",
    "Task",
    "check_plugin",
    "play",
    "run_case",
    "shipped_guards",
]
