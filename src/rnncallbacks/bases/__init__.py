"""Base classes of plugins, for the library and for third parties: guards, schedules, monitors, loggers, and state."""

from rnncallbacks.alarms.catalogue import Entry
from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.bases.guard import Guard
from rnncallbacks.bases.monitor import ColumnMonitor, column_value
from rnncallbacks.bases.run_logger import RunLogger
from rnncallbacks.bases.schedule import LearningRateSchedule
from rnncallbacks.core.plugin_state import state_field

__all__ = [
    "CheckResult",
    "ColumnMonitor",
    "Entry",
    "Finding",
    "Guard",
    "LearningRateSchedule",
    "RunLogger",
    "column_value",
    "state_field",
]
