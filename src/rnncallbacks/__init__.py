"""Remedies, alarms and a NumPy trainer for recurrent networks whose loss will not go down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncallbacks.alarms import Alarm
from rnncallbacks.config import load_plugins, recommended
from rnncallbacks.gradients import Gradients
from rnncallbacks.history import History
from rnncallbacks.hookspecs import hookimpl
from rnncallbacks.records import Batch, EpochSummary
from rnncallbacks.run import Run
from rnncallbacks.trainer import Trainer

if TYPE_CHECKING:
    __version__: str

__all__ = [
    "Alarm",
    "Batch",
    "EpochSummary",
    "Gradients",
    "History",
    "Run",
    "Trainer",
    "__version__",
    "hookimpl",
    "load_plugins",
    "recommended",
]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Asked of the installed package, so that pyproject.toml is the only place that states it; slow to import.
    from importlib.metadata import version

    return version(__name__)
