"""Finds the first non-finite value of a batch in causal order (RNN403).

The search reads all known arrays of the batch, so it is made only if the loss or a gradient is NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.batch_arrays import (
    BatchArray,
    arrays_in_causal_order,
    floating_arrays,
    loss_and_gradients,
)

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

SOURCE_NAMES = {
    "data": "the data of the loader",
    "inputs": "the inputs",
    "entering_state": "the state that entered it",
    "parameters": "the parameters",
    "hidden_states": "the hidden states",
    "logits": "the logits",
    "targets": "the targets",
    "loss": "the loss",
    "hidden_gradients": "the gradients of the hidden states",
    "gradients": "the gradient",
}


@attrs.frozen(kw_only=True)
class NonFiniteValues:
    """The non-finite values of one array, or of one time step of it.

    Parameters
    ----------
    source, path:
        The source of the array, and its name within it; see
        :class:`~rnncallbacks.detectors.batch_arrays.BatchArray`.
    non_finite, entries:
        The number of entries that are NaN or infinite, and of all entries.
    time_step, seq_len:
        The time step, from 1 to ``seq_len``; None if it is unknown.
    row, rows:
        The first sequence with a non-finite value, from 1 to ``rows``; None if it is unknown.

    Example
    -------
    >>> print(NonFiniteValues(source="hidden_states", non_finite=3, entries=512, time_step=7, seq_len=20))
    the hidden states, time step 7 of 20 (3 of 512 entries)
    """

    source: str
    path: str = ""
    non_finite: int
    entries: int
    time_step: int | None = None
    seq_len: int | None = None
    row: int | None = None
    rows: int | None = None

    @property
    def array(self) -> str:
        """Source and path as one name, such as ``gradients.head.weight``."""
        return f"{self.source}.{self.path}" if self.path else self.source

    @property
    def name(self) -> str:
        """A description of the array."""
        if not self.path:
            return SOURCE_NAMES[self.source]
        if self.source in ("parameters", "gradients"):
            return f"the {self.source.removesuffix('s')} {self.path!r}"
        return f"{SOURCE_NAMES[self.source]}, array {self.path!r}"

    @property
    def share(self) -> str:
        """The numbers of non-finite and of all entries, in words."""
        return f"{self.non_finite} of {self.entries} entries"

    def __str__(self) -> str:
        step = "" if self.time_step is None else f", time step {self.time_step} of {self.seq_len}"
        row = "" if self.row is None or self.rows == 1 else f", row {self.row} of {self.rows}"
        return f"{self.name}{step}{row} ({self.share})"


@attrs.frozen(kw_only=True)
class NonFiniteOrigin:
    """The origin of the non-finite values of a batch.

    Parameters
    ----------
    symptom:
        The loss, or the first gradient, that is not finite.
    first:
        The first non-finite values in causal order.
    finite:
        The sources before it, which are finite.
    parameter:
        The first parameter that is not finite; None if all are.
    non_finite_parameters:
        The number of non-finite entries of all parameters; None if the parameters are unknown.
    """

    symptom: NonFiniteValues
    first: NonFiniteValues
    finite: tuple[str, ...]
    parameter: NonFiniteValues | None
    non_finite_parameters: int | None


def find_non_finite(batch: Batch, params: Any, grads: Mapping[str, Array] | None = None) -> NonFiniteOrigin | None:
    """The origin of the non-finite values of a batch; None if its loss and gradients are finite.

    The causal order is that of :func:`rnncallbacks.detectors.batch_arrays.arrays_in_causal_order`.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> batch = Batch(np.array([[1.0], [np.inf], [1.0]]), "train", 1, loss=np.nan)
    >>> print(find_non_finite(batch, params=None).first)
    the data of the loader (1 of 3 entries)
    """
    symptom = _first(loss_and_gradients(batch, grads))
    if symptom is None:
        return None
    parameters = list(floating_arrays("parameters", params))
    affected = [values for one in parameters if (values := non_finite_values(one)) is not None]
    finite: dict[str, None] = {}
    first = symptom
    for one in arrays_in_causal_order(batch, parameters, grads):
        values = non_finite_values(one)
        if values is not None:
            first = values
            break
        finite[one.source] = None
    return NonFiniteOrigin(
        symptom=symptom,
        first=first,
        finite=tuple(source for source in finite if source != first.source),
        parameter=affected[0] if affected else None,
        non_finite_parameters=sum(values.non_finite for values in affected) if parameters else None,
    )


def non_finite_values(batch_array: BatchArray) -> NonFiniteValues | None:
    """The non-finite values of one array; None if all of its values are finite."""
    bad = ~np.isfinite(batch_array.array)
    if not bad.any():
        return None
    row = rows = None
    if batch_array.row_axis is not None:
        others = tuple(axis for axis in range(bad.ndim) if axis != batch_array.row_axis)
        row, rows = int(np.argmax(bad.any(axis=others))) + 1, int(bad.shape[batch_array.row_axis])
    return NonFiniteValues(
        source=batch_array.source,
        path=batch_array.path,
        non_finite=int(np.count_nonzero(bad)),
        entries=int(bad.size),
        time_step=batch_array.time_step,
        seq_len=batch_array.seq_len,
        row=row,
        rows=rows,
    )


def _first(arrays: Iterable[BatchArray]) -> NonFiniteValues | None:
    return next((values for one in arrays if (values := non_finite_values(one)) is not None), None)
