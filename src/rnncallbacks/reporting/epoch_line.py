"""One line of text for each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rnncallbacks.reporting.shown_columns import shown_columns

COLUMNS = {
    "learning_rate": ("lr", "{:.2e}"),
    "gradient_norm": ("grad norm", "{:.3g}"),
    "clipped_fraction": ("clipped", "{:.0%}"),
    "stopped_after": ("stopped after batch", "{}"),
    "seconds": ("", "{:.1f}s"),
}
"""Columns of the history that are shown last: a label and the format of the number."""


def epoch_line(row: Mapping[str, Any], max_epochs: int | None, width: int | None = None) -> str:
    """The losses of an epoch by phase, the numbers of ``run.log`` and of metrics, the learning rate, the gradient norm
    before clipping, the share of batches clipped, and the time.

    A line that is longer than ``width`` characters leaves out, in this order: the time, the share, the norm, the rate,
    and the logged numbers from the last to the first.

    >>> row = {"epoch": 3, "learning_rate": 2e-3, "seconds": 2.0, "train_loss": 1.5, "val_loss": 1.75, "accuracy": 0.9}
    >>> epoch_line(row, 20)
    'epoch  3/20  train 1.5000  val 1.7500  accuracy 0.9  lr 2.00e-03  2.0s'
    >>> epoch_line(row, 20, width=40)
    'epoch  3/20  train 1.5000  val 1.7500'
    """
    total = "" if max_epochs is None else f"/{max_epochs}"
    digits = 0 if max_epochs is None else len(str(max_epochs))
    parts = [f"epoch {row['epoch']:>{digits}}{total}"]
    parts += [
        f"{name.removesuffix('_loss')} {loss_text(value)}"
        for name, value in row.items()
        if name.endswith("_loss") and not isinstance(value, str)
    ]
    optional = [f"{name} {row[name]:.4g}" for name in shown_columns(row)]
    optional += [f"{label} {form.format(row[name])}".lstrip() for name, (label, form) in COLUMNS.items() if name in row]
    while width is not None and optional and len("  ".join([*parts, *optional])) > width:
        optional.pop()
    return "  ".join([*parts, *optional])


def batch_line(
    epoch: int, max_epochs: int | None, phase: str, batch: int, batches: int | None, loss: float | None, seconds: float
) -> str:
    """The position of a run within an epoch, the mean loss of the phase so far, and the time since the epoch began.

    >>> batch_line(3, 20, "train", 120, 400, 1.5, 61.0)
    'epoch 3/20  train batch 120/400  loss 1.5000  61.0s'
    """
    of_epochs = "" if max_epochs is None else f"/{max_epochs}"
    of_batches = "" if batches is None else f"/{batches}"
    parts = [f"epoch {epoch}{of_epochs}", f"{phase} batch {batch}{of_batches}"]
    parts += [] if loss is None else [f"loss {loss_text(loss)}"]
    return "  ".join([*parts, f"{seconds:.1f}s"])


def loss_text(loss: float) -> str:
    """A loss with four decimals; with four significant digits where four decimals would be long or only zeros.

    >>> loss_text(2.5), loss_text(1e300), loss_text(2.5e-7), loss_text(float("nan"))
    ('2.5000', '1e+300', '2.5e-07', 'nan')
    """
    has_four_decimals = not math.isfinite(loss) or loss == 0 or 1e-3 <= abs(loss) < 1e6
    return f"{loss:.4f}" if has_four_decimals else f"{loss:.4g}"
