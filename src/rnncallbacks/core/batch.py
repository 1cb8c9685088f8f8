"""What hooks are handed: the batch that is open, and the summary of an epoch."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Callable
from time import perf_counter
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.core.history import Value
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import DataError, closest

logger = logging.getLogger("rnncallbacks")


class Observed(UserDict[str, Any]):
    """The values that a script gave to ``run.observe`` for one batch, by name.

    A value may be a function without arguments. It is called when the value is first read, and its result is kept. If
    it raises, the error is logged and the value is None.

    Example
    -------
    >>> observed = Observed(norms=lambda: [1.0, 0.5])
    >>> observed["norms"], observed.get("logits")
    ([1.0, 0.5], None)
    """

    def __getitem__(self, name: str) -> Any:
        value = self.data[name]
        if callable(value):
            try:
                self.data[name] = value()
            except Exception as error:
                logger.warning("the function that was observed as %r failed: %s: %s", name, type(error).__name__, error)
                self.data[name] = None
        return self.data[name]


@attrs.define(eq=False)
class Batch:
    """One batch, as hooks see it.

    ``data`` is what the loader gave; ``index`` counts from 1 within the phase, up to ``count`` if the loader knows it.
    ``loss`` is None until the script gives it; ``sequences`` and ``tokens`` are the counts that it gave with the loss.
    ``starts`` is the loader's word on which sequences begin anew, one truth value each, or None if it says nothing.
    ``observed`` holds the values given to ``run.observe``; reading one may compute it, at the current parameters.
    ``batch_size`` and ``entering_state`` are what :meth:`Run.hidden <rnncallbacks.core.run.Run.hidden>` was asked for
    and what the batch before had carried over; the state is None if zeros were handed out, and both are None if it was
    not asked. ``closure`` evaluates the batch's loss at the parameters as
    they are when it is called; None if the script gave none. ``closure_loss`` is its loss at the parameters of
    ``run.backward``; None until a plugin evaluates it there.
    """

    data: Any
    phase: str
    index: int
    count: int | None = None
    starts: npt.NDArray[np.bool_] | None = None
    loss: float | None = None
    sequences: int | None = None
    tokens: int | None = None
    skipped: bool = False
    observed: Observed = attrs.field(factory=Observed)
    batch_size: int | None = None
    entering_state: Any = None
    closure: Callable[[], Any] | None = None
    closure_loss: float | None = state_field(None)
    _left: bool = state_field(False)  # the body broke out of the loop


@attrs.define(eq=False)
class EpochSummary:
    """What is known of an epoch when it ends.

    ``losses`` maps a phase to its average loss; ``logged`` holds the columns that plugins and the script logged;
    ``batches`` counts the batches by phase; ``seconds`` is the wall time so far. ``row`` is all of it as the history
    will hold it.
    """

    epoch: int
    learning_rate: float | None
    started: float = attrs.field(factory=perf_counter)
    losses: dict[str, float] = attrs.field(factory=dict)
    logged: dict[str, Value] = attrs.field(factory=dict)
    batches: dict[str, int] = attrs.field(factory=dict)

    @property
    def seconds(self) -> float:
        return perf_counter() - self.started

    @property
    def row(self) -> dict[str, Value]:
        """The epoch's history row; a logged name that is also an average's gets ``logged_`` in front."""
        row: dict[str, Value] = {"epoch": self.epoch}
        if self.learning_rate is not None:
            row["learning_rate"] = self.learning_rate
        row |= {f"{phase}_loss": float(loss) for phase, loss in self.losses.items()}
        for name, value in self.logged.items():
            row[f"logged_{name}" if name in row else name] = value
        return row

    def value(self, column: str) -> float:
        """The number in a column of ``row``.

        Raises
        ------
        DataError
            The row has no such column, or it holds no number; the message names what there is.
        """
        row = self.row
        if column not in row:
            hint = closest(column, row)
            if column.endswith("_loss"):
                phase = column.removesuffix("_loss")
                hint = (
                    f"it is the average of run.batches(..., phase={phase!r}) by the plugin loss_averaging: "
                    "the first epoch must have both"
                )
            raise DataError(f"epoch {self.epoch} has no column {column!r}; it has {', '.join(row)}", hint=hint)
        value = row[column]
        if isinstance(value, str):
            raise DataError(f"column {column!r} holds the word {value!r}, expected a number")
        return float(value)
