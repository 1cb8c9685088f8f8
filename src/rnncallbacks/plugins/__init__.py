"""The plugins of the library, one a module. The core reaches them through their entry points alone.

Each class can be imported from here; only its own module is loaded then.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnncallbacks.plugins.alarms.alarm_selection import AlarmSelection
    from rnncallbacks.plugins.alarms.divergence_alarm import DivergenceAlarm
    from rnncallbacks.plugins.alarms.early_stopping import EarlyStopping
    from rnncallbacks.plugins.alarms.plateau_alarm import PlateauAlarm
    from rnncallbacks.plugins.guards.gradient_guard import GradientGuard
    from rnncallbacks.plugins.guards.hidden_state_guard import HiddenStateGuard
    from rnncallbacks.plugins.guards.loss_function_guard import LossFunctionGuard
    from rnncallbacks.plugins.guards.loss_report_guard import LossReportGuard
    from rnncallbacks.plugins.guards.progress_guard import ProgressGuard
    from rnncallbacks.plugins.guards.protocol_guard import ProtocolGuard
    from rnncallbacks.plugins.guards.update_guard import UpdateGuard
    from rnncallbacks.plugins.output.checkpoint import Checkpoint
    from rnncallbacks.plugins.output.history_log import HistoryLog
    from rnncallbacks.plugins.output.progress import Progress
    from rnncallbacks.plugins.remedies.gradient_clipping import GradientClipping
    from rnncallbacks.plugins.remedies.hidden_state_reset import HiddenStateReset
    from rnncallbacks.plugins.remedies.loss_averaging import LossAveraging
    from rnncallbacks.plugins.remedies.self_repair import SelfRepair
    from rnncallbacks.plugins.schedules.cosine_decay import CosineDecay
    from rnncallbacks.plugins.schedules.exponential_decay import ExponentialDecay
    from rnncallbacks.plugins.schedules.inverse_sqrt import InverseSqrt
    from rnncallbacks.plugins.schedules.one_cycle import OneCycle
    from rnncallbacks.plugins.schedules.reduce_on_plateau import ReduceOnPlateau
    from rnncallbacks.plugins.schedules.step_decay import StepDecay
    from rnncallbacks.plugins.schedules.warmup import Warmup

__all__ = [
    "AlarmSelection",
    "Checkpoint",
    "CosineDecay",
    "DivergenceAlarm",
    "EarlyStopping",
    "ExponentialDecay",
    "GradientClipping",
    "GradientGuard",
    "HiddenStateGuard",
    "HiddenStateReset",
    "HistoryLog",
    "InverseSqrt",
    "LossAveraging",
    "LossFunctionGuard",
    "LossReportGuard",
    "OneCycle",
    "PlateauAlarm",
    "Progress",
    "ProgressGuard",
    "ProtocolGuard",
    "ReduceOnPlateau",
    "SelfRepair",
    "StepDecay",
    "UpdateGuard",
    "Warmup",
]


_FOLDERS = {
    "alarms": {"AlarmSelection", "DivergenceAlarm", "EarlyStopping", "PlateauAlarm"},
    "guards": {
        "GradientGuard",
        "HiddenStateGuard",
        "LossFunctionGuard",
        "LossReportGuard",
        "ProgressGuard",
        "ProtocolGuard",
        "UpdateGuard",
    },
    "output": {"Checkpoint", "HistoryLog", "Progress"},
    "remedies": {"GradientClipping", "HiddenStateReset", "LossAveraging", "SelfRepair"},
    "schedules": {
        "CosineDecay",
        "ExponentialDecay",
        "InverseSqrt",
        "OneCycle",
        "ReduceOnPlateau",
        "StepDecay",
        "Warmup",
    },
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    folder = next(folder for folder, names in _FOLDERS.items() if name in names)
    module = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    return getattr(import_module(f"{__name__}.{folder}.{module}"), name)
