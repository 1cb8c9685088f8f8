"""The plugins of the library, one a module. Each class can be imported from here, which loads its own module alone."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnncallbacks.plugins.alarms.alarm_selection import AlarmSelection as AlarmSelection
    from rnncallbacks.plugins.alarms.divergence_alarm import DivergenceAlarm as DivergenceAlarm
    from rnncallbacks.plugins.alarms.early_stopping import EarlyStopping as EarlyStopping
    from rnncallbacks.plugins.alarms.plateau_alarm import PlateauAlarm as PlateauAlarm
    from rnncallbacks.plugins.guards.gradient_guard import GradientGuard as GradientGuard
    from rnncallbacks.plugins.guards.hidden_state_guard import HiddenStateGuard as HiddenStateGuard
    from rnncallbacks.plugins.guards.loss_function_guard import LossFunctionGuard as LossFunctionGuard
    from rnncallbacks.plugins.guards.loss_report_guard import LossReportGuard as LossReportGuard
    from rnncallbacks.plugins.guards.progress_guard import ProgressGuard as ProgressGuard
    from rnncallbacks.plugins.guards.protocol_guard import ProtocolGuard as ProtocolGuard
    from rnncallbacks.plugins.guards.update_guard import UpdateGuard as UpdateGuard
    from rnncallbacks.plugins.output.checkpoint import Checkpoint as Checkpoint
    from rnncallbacks.plugins.output.gradient_noise_scale import GradientNoiseScale as GradientNoiseScale
    from rnncallbacks.plugins.output.history_log import HistoryLog as HistoryLog
    from rnncallbacks.plugins.output.mlflow import Mlflow as Mlflow
    from rnncallbacks.plugins.output.optuna import Optuna as Optuna
    from rnncallbacks.plugins.output.progress import Progress as Progress
    from rnncallbacks.plugins.output.tensorboard import Tensorboard as Tensorboard
    from rnncallbacks.plugins.processes.data_parallel import DataParallel as DataParallel
    from rnncallbacks.plugins.remedies.exponential_moving_average import (
        ExponentialMovingAverage as ExponentialMovingAverage,
    )
    from rnncallbacks.plugins.remedies.gradient_clipping import GradientClipping as GradientClipping
    from rnncallbacks.plugins.remedies.hidden_state_reset import HiddenStateReset as HiddenStateReset
    from rnncallbacks.plugins.remedies.loss_averaging import LossAveraging as LossAveraging
    from rnncallbacks.plugins.remedies.self_repair import SelfRepair as SelfRepair
    from rnncallbacks.plugins.remedies.time_limit import TimeLimit as TimeLimit
    from rnncallbacks.plugins.schedules.cosine_decay import CosineDecay as CosineDecay
    from rnncallbacks.plugins.schedules.cosine_restarts import CosineRestarts as CosineRestarts
    from rnncallbacks.plugins.schedules.exponential_decay import ExponentialDecay as ExponentialDecay
    from rnncallbacks.plugins.schedules.inverse_sqrt import InverseSqrt as InverseSqrt
    from rnncallbacks.plugins.schedules.one_cycle import OneCycle as OneCycle
    from rnncallbacks.plugins.schedules.piecewise_constant import PiecewiseConstant as PiecewiseConstant
    from rnncallbacks.plugins.schedules.polynomial_decay import PolynomialDecay as PolynomialDecay
    from rnncallbacks.plugins.schedules.reduce_on_plateau import ReduceOnPlateau as ReduceOnPlateau
    from rnncallbacks.plugins.schedules.step_decay import StepDecay as StepDecay
    from rnncallbacks.plugins.schedules.warmup import Warmup as Warmup


FOLDERS = ("alarms", "guards", "output", "processes", "remedies", "schedules")


def __dir__() -> list[str]:
    """The names of the classes, for completion in notebooks, without loading a module."""
    from pkgutil import iter_modules

    folders = [f"{path}/{folder}" for path in __path__ for folder in FOLDERS]
    return sorted("".join(map(str.capitalize, module.name.split("_"))) for module in iter_modules(folders))


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    module = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    for folder in FOLDERS:
        path = f"{__name__}.{folder}.{module}"
        if module != name and find_spec(path):
            return getattr(import_module(path), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
