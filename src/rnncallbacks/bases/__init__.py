"""Base classes of plugins, for the library and for third parties: guards, schedules, monitors, and their state."""

from rnncallbacks.alarms.catalogue import Entry
from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.bases.guard import Guard
from rnncallbacks.bases.monitor import ColumnMonitor, column_value
from rnncallbacks.bases.schedule import LearningRateSchedule
from rnncallbacks.core.plugin_state import state_field

__all__ = [
    "CheckResult",
    "ColumnMonitor",
    "Entry",
    "Finding",
    "Guard",
    "LearningRateSchedule",
    "column_value",
    "state_field",
]
