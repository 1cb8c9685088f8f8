"""The open batch and the summary of an epoch: the arguments of hooks besides the run."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Callable
from time import perf_counter
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.dlpack import with_readable_views
from rnncallbacks.core.arguments import as_column, as_count, as_loss
from rnncallbacks.core.history import Value
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import DataError, OptionError, RunStateError, closest

logger = logging.getLogger("rnncallbacks")

# Names that a guard reads, by the misspelling that is refused: one s too few or too many.
_MISSPELLED = {"entering_states": "entering_state"} | {
    name.removesuffix("s"): name for name in ("inputs", "targets", "hidden_states", "hidden_gradients", "logits")
}


class Observed(UserDict[str, Any]):
    """The values that a script gave to ``run.observe`` for one batch, by name.

    A value may be a function without arguments. It is called when the value is first read, and its result is kept. If
    it raises, the error is logged and the value is None. A dict of time steps, such as ``{-1: h, 0: h, 1: h}``, becomes
    a list in their order.

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
                logger.warning(
                    "the function given to run.observe as %r failed: %s: %s", name, type(error).__name__, error
                )
                self.data[name] = None
        value = self.data[name] = with_readable_views(self.data[name])
        if type(value) is dict and value and all(type(step) is int for step in value):
            self.data[name] = [value[step] for step in sorted(value)]
        return self.data[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or ``default`` if there is none. The inherited method raises and catches an error for that."""
        return self[name] if name in self.data else default

    def add(self, values: dict[str, Any]) -> None:
        """Add values by name.

        Raises
        ------
        OptionError
            A name differs from one that the guards read by a missing or an added s.
        """
        for name in values.keys() & _MISSPELLED.keys():
            raise OptionError(f"run.observe: no guard reads {name!r}", hint=f"did you mean {_MISSPELLED[name]!r}?")
        self.update(values)


@attrs.define(eq=False)
class Batch:
    """One batch, as hooks see it.

    Attributes
    ----------
    data:
        The item that the loader yielded.
    phase:
        The name of the phase: "train", "val" or another.
    index:
        The number of the batch within its phase and epoch, from 1.
    count:
        The number of batches of the phase, or None if the loader has no length.
    starts:
        One truth value for each sequence: whether it begins with this batch. None if the loader does not say.
    loss:
        The batch's loss, or None until the script gives it.
    sequences, tokens:
        The counts that the script gave with the loss, or None.
    skipped:
        Whether the batch was taken out by ``run.skip_batch``.
    logged:
        The numbers given to ``run.log_batch``.
    observed:
        The values given to ``run.observe``. Reading one may compute it, at the current parameters.
    batch_size:
        The argument of :meth:`run.hidden <rnncallbacks.core.run.Run.hidden>`, or None if it was not called.
    entering_state:
        The carried state that ``run.hidden`` returned, or None if it returned zeros or was not called.
    closure:
        A function that evaluates the batch's loss at the current parameters and changes nothing, or None. It raises
        :class:`~rnncallbacks.core.closure.ClosureError` if the script's function fails.
    no_closure:
        The reason where ``closure`` is None: the argument that the script can add, or why its function was rejected.
    closure_loss:
        The closure's loss at the parameters of ``run.backward``, kept by the first guard that evaluated it.
    network_loss:
        A function that evaluates the batch's loss at the current parameters by a network that a guard recognized, or
        None. It returns None where the batch does not fit the network. None after the batch has ended.
    network_rows:
        The number of sequences in the batch, as the recognized network reads it, or None.
    replaces_targets:
        Whether the loss and the gradients are certainly those of other targets than the loader's.
    sums:
        Sums over the rows of the batch, by name, to which plugins may add from ``on_batch_start`` on. In
        ``on_batch_end``, they are the sums over the rows of all processes.
    reading:
        The sequences that detectors read from ``data`` and ``observed``, cached for other guards; None before that.
    resting:
        For each plugin that can rest, in their order, whether it rests in this batch; empty if none does, None until
        the first hook of the batch.
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
    logged: dict[str, float | int] = attrs.field(factory=dict)
    observed: Observed = attrs.field(factory=Observed)
    batch_size: int | None = None
    entering_state: Any = None
    closure: Callable[[], Any] | None = None
    no_closure: str = "pass closure= to run.backward"
    closure_loss: float | None = state_field(None)
    network_loss: Callable[[], float | None] | None = None
    network_rows: int | None = None
    replaces_targets: bool = False
    sums: dict[str, float] = attrs.field(factory=dict)
    reading: Any = state_field(None)
    resting: tuple[bool, ...] | None = state_field(None)

    def take_loss(self, loss: Any, sequences: Any, tokens: Any, call: str) -> None:
        """Keep the loss, and the counts that are not None; ``call`` names the script's call in an error.

        Raises
        ------
        RunStateError
            The batch has a loss.
        LossError
            The loss is not one number.
        OptionError
            A count is not an integer of at least 1.
        """
        if self.loss is not None:
            raise RunStateError(
                f"{call}: this batch already has a loss", hint="call run.backward or run.record once in a batch"
            )
        number = as_loss(loss, call)
        if sequences is not None:
            self.sequences = as_count(sequences, call, "sequences")
        if tokens is not None:
            self.tokens = as_count(tokens, call, "tokens")
        self.loss = number


@attrs.define(eq=False)
class EpochSummary:
    """The averages and columns of one epoch, while it is open and when it ends.

    Attributes
    ----------
    epoch:
        The number of the epoch, from 1.
    learning_rate:
        The learning rate at the end of the epoch; None before that, or in a run without one.
    seconds:
        The wall time of the epoch, without the hook ``on_epoch_end``; None before its end. For a resumed epoch, it
        includes the time before the checkpoint was saved.
    losses:
        The average loss by phase. ``loss_averaging`` updates it after each batch.
    logged:
        The columns added by ``run.log``.
    batches:
        The number of batches by phase.
    skipped:
        The number of batches by phase that were skipped and left out of the average, as ``loss_averaging`` counts them.
    """

    epoch: int
    learning_rate: float | None
    seconds: float | None = None
    losses: dict[str, float] = attrs.field(factory=dict)
    logged: dict[str, Value] = attrs.field(factory=dict)
    batches: dict[str, int] = attrs.field(factory=dict)
    skipped: dict[str, int] = attrs.field(factory=dict)
    _seconds_before: float = attrs.field(default=0.0)
    _began: float = state_field(factory=lambda: perf_counter())

    @property
    def elapsed(self) -> float:
        """Wall time since the epoch began, in seconds."""
        return self._seconds_before + perf_counter() - self._began

    @property
    def row(self) -> dict[str, Value]:
        """The epoch's history row. A logged column with the name of another column gets the prefix ``logged_``."""
        row: dict[str, Value] = {"epoch": self.epoch}
        if self.learning_rate is not None:
            row["learning_rate"] = self.learning_rate
        if self.seconds is not None:
            row["seconds"] = self.seconds
        row |= {f"{phase}_loss": float(loss) for phase, loss in self.losses.items()}
        for name, value in self.logged.items():
            row[f"logged_{name}" if name in row else name] = value
        return row

    def value(self, column: str) -> float:
        """The number in a column of ``row``.

        Raises
        ------
        DataError
            The row has no such column, or the column holds a string. The message lists the columns.
        """
        row = self.row
        if column not in row:
            hint = closest(column, row)
            if column.endswith("_loss"):
                phase = column.removesuffix("_loss")
                if count := self.skipped.get(phase, 0):
                    raise DataError(
                        f"epoch {self.epoch} has no {column}: all {count} batches of the phase {phase!r} were skipped",
                        hint="run.diagnosis says why they were skipped; a run without batches cannot learn",
                    )
                hint = f"the plugin loss_averaging computes it after each batch of run.batches(..., phase={phase!r})"
            raise DataError(f"epoch {self.epoch} has no column {column!r}; it has {', '.join(row)}", hint=hint)
        value = row[column]
        if isinstance(value, str):
            raise DataError(f"column {column!r} holds the string {value!r}, expected a number")
        return float(value)

    def count_batch(self, phase: str) -> None:
        """Count one more batch of the phase."""
        self.batches[phase] = self.batches.get(phase, 0) + 1

    def log(self, columns: dict[str, Any]) -> None:
        """Add columns.

        Raises
        ------
        OptionError
            A value is neither a number nor a string.
        """
        for name, value in columns.items():
            self.logged[name] = as_column(name, value)

    def log_repair(self, repair: object) -> None:
        """Add a repair to the column ``repairs``, after those that are there."""
        earlier = self.logged.get("repairs")
        self.logged["repairs"] = f"{earlier}; {repair}" if earlier else str(repair)
