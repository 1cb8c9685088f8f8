"""The charts of a run: columns of its history, with marks for its alarms."""

from __future__ import annotations

import attrs

from rnncallbacks.files import parse_number
from rnncallbacks.reporting.figures import Chart
from rnncallbacks.reporting.mark_labels import Mark
from rnncallbacks.reporting.run_folder import RunFolder


def run_charts(run: RunFolder) -> list[Chart]:
    """The charts that the history has values for: losses by phase, learning rate, gradient norms."""
    epochs = [row["epoch"] if isinstance(row.get("epoch"), int) else place for place, row in enumerate(run.rows, 1)]
    names = dict.fromkeys(name for row in run.rows for name in row)
    losses = {_phase(name): name for name in sorted(names, key=_phase_order) if name.endswith("_loss")}
    norms = {"before clipping": "gradient_norm", "after clipping": "clipped_gradient_norm"}
    found = []
    for name, title, columns in (
        ("loss", "Loss", losses),
        ("rate", "Learning rate", {"learning rate": "learning_rate"}),
        ("norm", "Gradient norm, mean of each epoch", norms),
    ):
        series = {label: [parse_number(row.get(column)) for row in run.rows] for label, column in columns.items()}
        series = {label: values for label, values in series.items() if any(value is not None for value in values)}
        if series:
            chart = Chart(name=name, title=title, epochs=epochs, series=series, marks=_marks(run))
            # Schedules are usually drawn on a linear scale.
            found.append(attrs.evolve(chart, allow_logarithmic=name != "rate"))
    return found


def _phase_order(column: str) -> tuple[bool, bool, str]:
    """A key for sorting: training first, then validation, then other phases by name."""
    return column != "train_loss", column != "val_loss", column


def _phase(column: str) -> str:
    phase = column.removesuffix("_loss")
    return f"{phase.removeprefix('logged_')}, as logged" if phase.startswith("logged_") else phase


def _marks(run: RunFolder) -> list[Mark]:
    found = run.diagnosis
    alarms = [one for cause in found.causes for one in (cause, *found.consequences(cause))]
    marks = [Mark(one.epoch, one.code, f"{one.code} {one.cause}, epoch {one.epoch}", one.severity) for one in alarms]
    return marks + [Mark(repair.epoch, "repair", f"repaired {repair}", "info") for repair in found.repairs]
