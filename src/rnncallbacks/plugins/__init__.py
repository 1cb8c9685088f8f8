"""The plugins that come with the library, one a module. The core reaches them through their entry points alone.

Each class can be imported from here, and only its own module is then loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnncallbacks.plugins.alarm_selection import AlarmSelection
    from rnncallbacks.plugins.checkpoint import Checkpoint
    from rnncallbacks.plugins.cosine_decay import CosineDecay
    from rnncallbacks.plugins.divergence_alarm import DivergenceAlarm
    from rnncallbacks.plugins.early_stopping import EarlyStopping
    from rnncallbacks.plugins.exponential_decay import ExponentialDecay
    from rnncallbacks.plugins.gradient_clipping import GradientClipping
    from rnncallbacks.plugins.gradient_guard import GradientGuard
    from rnncallbacks.plugins.hidden_state_guard import HiddenStateGuard
    from rnncallbacks.plugins.hidden_state_reset import HiddenStateReset
    from rnncallbacks.plugins.history_log import HistoryLog
    from rnncallbacks.plugins.inverse_sqrt import InverseSqrt
    from rnncallbacks.plugins.loss_averaging import LossAveraging
    from rnncallbacks.plugins.loss_function_guard import LossFunctionGuard
    from rnncallbacks.plugins.loss_report_guard import LossReportGuard
    from rnncallbacks.plugins.one_cycle import OneCycle
    from rnncallbacks.plugins.plateau_alarm import PlateauAlarm
    from rnncallbacks.plugins.progress import Progress
    from rnncallbacks.plugins.progress_guard import ProgressGuard
    from rnncallbacks.plugins.protocol_guard import ProtocolGuard
    from rnncallbacks.plugins.reduce_on_plateau import ReduceOnPlateau
    from rnncallbacks.plugins.self_repair import SelfRepair
    from rnncallbacks.plugins.step_decay import StepDecay
    from rnncallbacks.plugins.update_guard import UpdateGuard
    from rnncallbacks.plugins.warmup import Warmup

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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    return getattr(import_module(f"{__name__}.{module}"), name)
