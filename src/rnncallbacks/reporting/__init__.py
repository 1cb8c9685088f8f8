"""Output of a run: progress and diagnosis in the terminal, and a report as an HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnncallbacks.reporting.report_file import report

__all__ = ["report"]


def __getattr__(name: str) -> Any:
    """Import on first use what a run without a report does not need."""
    if name == "report":
        from rnncallbacks.reporting.report_file import report

        return report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
