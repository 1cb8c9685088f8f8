"""The charts of a run: columns of its history and values of its batches, with marks for its alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnncallbacks.files import parse_number
from rnncallbacks.reporting.figures import Chart
from rnncallbacks.reporting.mark_labels import Mark
from rnncallbacks.reporting.run_folder import RunFolder
from rnncallbacks.reporting.shown_columns import LOSS, phases_of, shown_columns

FEW_EPOCHS = 10
"""Number of epochs up to which the loss and the gradient norm of batches are drawn. Chosen by eye."""
MOST_LOGGED = 12
"""Largest number of charts of logged columns, and of logged values of batches. Chosen by eye."""
BATCH_KEYS = ("epoch", "step", "loss", "gradient_norm")
"""Keys of the rows of batches that the library writes."""

Rows = Sequence[Mapping[str, Any]]
Charts = Mapping[str, tuple[str, Mapping[str, str]]]
"""Title, and the column of each series by its label, by the name of the chart."""


def run_charts(run: RunFolder) -> list[Chart]:
    """The charts for which there are values: those of the epochs, and those of the batches."""
    return epoch_charts(run) + batch_charts(run)


def epoch_charts(run: RunFolder) -> list[Chart]:
    """Losses by phase, logged numbers and metrics, learning rate, and gradient norms."""
    found = {name: value for row in run.rows for name, value in _numbers(row).items()}
    losses = {_phase(name): name for name in sorted(found, key=_phase_order) if name.endswith(LOSS)}
    groups: dict[str, dict[str, str]] = {}
    phases = [*phases_of(found), "train", "val"]  # a script may validate in a loop of its own
    for column in shown_columns(found):
        phase = next((one for one in phases if column.startswith(f"{one}_")), None)
        title = column if phase is None else column.removeprefix(f"{phase}_")
        groups.setdefault(title, {})[phase or column] = column
    logged = {f"logged{number}": group for number, group in enumerate(groups.items())}
    return _drawn(
        run,
        "epoch",
        run.rows,
        {
            "loss": ("Loss", losses),
            **dict(list(logged.items())[:MOST_LOGGED]),
            "rate": ("Learning rate", {"learning rate": "learning_rate"}),
            "norm": (
                "Gradient norm, mean of each epoch",
                {"before clipping": "gradient_norm", "after clipping": "clipped_gradient_norm"},
            ),
        },
    )


def batch_charts(run: RunFolder) -> list[Chart]:
    """Loss and gradient norm of the batches, if the run has few epochs, and the values of ``run.log_batch``."""
    charts: dict[str, tuple[str, Mapping[str, str]]] = {}
    if len(run.batches) > len(run.rows) <= FEW_EPOCHS:
        charts["batch-loss"] = ("Loss of training batches", {"loss": "loss"})
        charts["batch-norm"] = ("Gradient norm of training batches, before clipping", {"norm": "gradient_norm"})
    names = dict.fromkeys(name for row in run.batches for name in row if name not in BATCH_KEYS)
    for number, name in enumerate(list(names)[:MOST_LOGGED]):
        charts[f"batch-logged{number}"] = (f"{name} of training batches", {name: name})
    return _drawn(run, "batch", run.batches, charts)


def _drawn(run: RunFolder, unit: str, rows: Rows, charts: Charts) -> list[Chart]:
    key = "epoch" if unit == "epoch" else "step"
    positions = [row[key] if type(row.get(key)) is int else place for place, row in enumerate(rows, 1)]
    found = []
    for name, (title, columns) in charts.items():
        series = {label: [parse_number(row.get(column)) for row in rows] for label, column in columns.items()}
        series = {label: values for label, values in series.items() if any(value is not None for value in values)}
        if series:
            found.append(
                Chart(
                    name=name,
                    title=title,
                    positions=positions,
                    series=series,
                    marks=_marks(run, unit),
                    allow_logarithmic=name != "rate",  # schedules are usually drawn on a linear scale
                    unit=unit,
                )
            )
    return found


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: number for name, value in row.items() if (number := parse_number(value)) is not None}


def _phase_order(column: str) -> tuple[bool, bool, str]:
    """A key for sorting: training first, then validation, then other phases by name."""
    return column != "train_loss", column != "val_loss", column


def _phase(column: str) -> str:
    phase = column.removesuffix(LOSS)
    return f"{phase.removeprefix('logged_')}, as logged" if phase.startswith("logged_") else phase


def _marks(run: RunFolder, unit: str) -> list[Mark]:
    diagnosis = run.diagnosis
    alarms = [one for cause in diagnosis.causes for one in (cause, *diagnosis.consequences(cause))]
    marks = [
        Mark(
            one.epoch if unit == "epoch" else one.step,
            one.code,
            f"{one.code} {one.cause}, epoch {one.epoch}",
            one.severity,
        )
        for one in alarms
    ]
    repairs = diagnosis.repairs
    return marks + [
        Mark(one.epoch if unit == "epoch" else one.step, "repair", f"repaired {one}", "info") for one in repairs
    ]
