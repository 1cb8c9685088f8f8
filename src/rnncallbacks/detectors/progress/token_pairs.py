"""The tokens of a run's first batches, inputs with their targets, as far as the batches show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.progress.dependence import MISSING
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

NOT_SHOWN = "show the batch's tokens: run.observe(inputs=..., targets=...)"
NO_BATCH_AXIS = "say which axis is the batch: run.backward(..., sequences=) or run.hidden(batch_size)"
NOT_TOKENS = "inputs and targets are not token numbers, and others are not tested"


@attrs.define(eq=False)
class TokenPairs:
    """Inputs and targets of batches, as token numbers of shape (batch_size, seq_len), -1 where there is none.

    Targets may also be one class per sequence, of shape (batch_size,). ``contiguous`` says that the state was carried:
    each row of a batch then continues that of the batch before.
    """

    inputs: list[Array] = state_field(factory=list)
    targets: list[Array] = state_field(factory=list)
    contiguous: bool = state_field(False)

    @property
    def pairs(self) -> int:
        """The number of targets."""
        return sum(int((targets >= 0).sum()) for targets in self.targets)

    @property
    def batches(self) -> int:
        """The number of batches."""
        return len(self.targets)

    def add(self, batch: Batch) -> str:
        """Add the tokens of a batch; return why that is not possible, or the empty string."""
        pair = tokens_of(batch)
        if isinstance(pair, str):
            return pair
        self.inputs.append(pair[0])
        self.targets.append(pair[1])
        self.contiguous |= batch.entering_state is not None and pair[1].ndim == 2
        return ""

    def joined(self) -> tuple[Array, Array, Array | None]:
        """All inputs and targets, and the number of the batch of each column if the batches are contiguous.

        Contiguous batches are joined along time, others along the batch, padded to the longest. Parts of a stream may
        differ in their distribution of tokens, which is no dependence of targets on inputs: hence the numbers.
        """
        inputs, targets = _join(self.inputs, self.contiguous), _join(self.targets, self.contiguous)
        if not self.contiguous:
            return inputs, targets, None
        lengths = [array.shape[1] for array in self.inputs if len(array) == len(inputs)]
        return inputs, targets, np.repeat(np.arange(len(lengths)), lengths)

    def clear(self) -> None:
        """Free the memory."""
        self.inputs, self.targets = [], []


def tokens_of(batch: Batch) -> tuple[Array, Array] | str:
    """Token numbers of a batch's inputs and targets, sequences in rows; or the reason why there are none."""
    shown = sequences_of(batch)
    inputs, targets = shown.inputs, shown.targets
    if inputs is None or targets is None:
        return NOT_SHOWN
    if shown.time_axis is None:
        return NO_BATCH_AXIS
    per_sequence = targets.ndim == 1 and len(targets) == shown.batch_size
    if inputs.ndim != 2 or not (per_sequence or (shown.per_step and targets.ndim == 2)):
        return NOT_TOKENS
    if any(not np.array_equal(array, np.rint(array)) for array in (inputs, targets) if array.dtype.kind == "f"):
        return NOT_TOKENS
    x, y = inputs.astype(np.intp), targets.astype(np.intp)
    mask = getattr(batch.data, "mask", None)
    if isinstance(mask, np.ndarray) and mask.shape == x.shape:
        x = np.where(mask, x, MISSING)
        y = np.where(mask, y, MISSING) if y.ndim == 2 else y
    return (x.T, y.T) if shown.time_axis == 0 else (x, y)


def _join(arrays: list[Array], contiguous: bool) -> Array:
    if arrays[0].ndim == 1:
        return np.concatenate(arrays)
    if contiguous:
        return np.hstack([array for array in arrays if len(array) == len(arrays[0])])
    longest = max(array.shape[1] for array in arrays)
    padded = [np.pad(array, ((0, 0), (0, longest - array.shape[1])), constant_values=MISSING) for array in arrays]
    return np.vstack(padded)
