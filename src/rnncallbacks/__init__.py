"""Remedies, alarms and a NumPy trainer for recurrent networks whose loss will not go down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.config.configuration import load_plugins, recommended
from rnncallbacks.core.batch import Batch, EpochSummary
from rnncallbacks.core.function_plugin import on
from rnncallbacks.core.history import History
from rnncallbacks.core.hookspecs import HOOKS_VERSION as __hooks_version__  # noqa: N811  (dunder, as __version__)
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run

if TYPE_CHECKING:
    from rnncallbacks.training.learning_rate_range import lr_range_test
    from rnncallbacks.training.trainer import Trainer

    __version__: str

__all__ = [
    "Alarm",
    "Batch",
    "EpochSummary",
    "Gradients",
    "History",
    "Run",
    "Trainer",
    "__hooks_version__",
    "__version__",
    "hookimpl",
    "load_plugins",
    "lr_range_test",
    "on",
    "recommended",
]


def __getattr__(name: str) -> Any:
    """Import on first use what a custom loop does not need: the trainer with its networks, and the version."""
    if name == "Trainer":
        from rnncallbacks.training.trainer import Trainer

        return Trainer
    if name == "lr_range_test":
        from rnncallbacks.training.learning_rate_range import lr_range_test

        return lr_range_test
    if name == "__version__":
        # From the installed package, so that pyproject.toml is the only place that has it.
        from importlib.metadata import version

        return version(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
