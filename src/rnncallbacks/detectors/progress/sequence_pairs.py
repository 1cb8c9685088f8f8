"""Inputs and targets of a run's first batches, as far as they are known, with sequences in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.fingerprints import digest
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.one_hot import decode_one_hot
from rnncallbacks.detectors.progress.dependence import MISSING_TOKEN
from rnncallbacks.detectors.sequences import Sequences, sequences_of
from rnncallbacks.detectors.state.observed_state import observed_state

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

NOT_SHOWN = "show the batch's tokens: run.observe(inputs=..., targets=...)"
NO_BATCH_AXIS = "say which axis is the batch: run.backward(..., sequences=) or run.hidden(batch_size)"
NOT_PAIRS = "the shapes of inputs and targets do not show which target belongs to which input"


@attrs.define(eq=False)
class SequencePairs:
    """Inputs and targets of batches, with sequences on the first axis and time on the second.

    Inputs are token numbers of shape (sequences, seq_len), -1 where there is none, or features of shape (sequences,
    seq_len, features). Targets are classes or real numbers: one per step, of shape (sequences, seq_len) or (sequences,
    seq_len, outputs), or one per sequence, without the axis of time.

    Attributes
    ----------
    contiguous:
        Whether the state was carried: each row of a batch then continues that of the batch before.
    axis_known:
        Whether it is known which axis is the batch's; if not, arrays have their axes in the order in which they came.
    pairs:
        The number of targets.
    zeros_enter:
        Whether all batches were seen to begin with a zero state.
    observed:
        Whether the script observed inputs and targets; if not, they are the loader's, and it may train on others.
    """

    inputs: list[Array] = state_field(factory=list)
    targets: list[Array] = state_field(factory=list)
    contiguous: bool = state_field(False)
    axis_known: bool = state_field(True)
    pairs: int = state_field(0)
    zeros_enter: bool = state_field(True)
    observed: bool = state_field(True)
    _rows: set[int] = state_field(factory=set)
    _network_rows: dict[str, int] = state_field(factory=dict)  # of a recognized network, by the shapes of a batch

    @property
    def batches(self) -> int:
        """The number of batches."""
        return len(self.targets)

    @property
    def tokens(self) -> bool:
        """Whether inputs and targets are all token numbers."""
        return all(array.dtype.kind == "i" for array in (*self.inputs, *self.targets))

    def add(self, batch: Batch, *, later_epoch: bool = False) -> str:
        """Add the sequences of a batch; return the reason if that is not possible, else the empty string.

        In a later epoch, batches most of whose rows have been seen are left out. So is a batch with other axes or
        features than the first, whose bits are one-hot vectors by chance, or whose axes are read otherwise.
        """
        data = batch.data if isinstance(batch.data, tuple | list) else ()
        shapes = str([array.shape for array in data[:2] if isinstance(array, np.ndarray)])
        if len(data) > 1 and batch.network_rows is None:  # the network is read in the first batches only
            batch.network_rows = self._network_rows.get(shapes)
        elif batch.network_rows is not None and shapes != "[]":
            self._network_rows[shapes] = batch.network_rows
        pair = pairs_of(batch)
        if isinstance(pair, str):
            return pair
        inputs, targets, axis_known = pair
        axes = [(array.ndim, array.shape[2:]) for array in (inputs, targets)]
        if self.batches and axes != [(array.ndim, array.shape[2:]) for array in (self.inputs[0], self.targets[0])]:
            return ""
        if later_epoch and self._mostly_seen(inputs, targets):
            return ""
        self.inputs.append(inputs)
        self.targets.append(targets)
        self.pairs += _target_count(targets)
        self.axis_known &= axis_known
        self.observed &= "inputs" in batch.observed and "targets" in batch.observed
        state = observed_state(batch)
        self.zeros_enter &= state.known and not any(
            array.any() for array in (state.entering, *state.others) if array is not None
        )
        self.contiguous |= batch.entering_state is not None and targets.shape[:2] == inputs.shape[:2]
        return ""

    @property
    def repeats_inputs(self) -> bool:
        """Whether all batches, three or more, have the same inputs, which are not one token, and different targets."""
        if self.batches < 3 or not self.tokens or not np.ptp(self.inputs[0]):
            return False
        same = all(np.array_equal(one, self.inputs[0]) for one in self.inputs)
        return same and not any(np.array_equal(one, self.targets[0]) for one in self.targets[1:])

    def joined(self, *, transposed: bool = False, separate: bool = False) -> tuple[Array, Array, Array | None]:
        """All inputs and targets, and the number of the batch of each column if the batches are contiguous.

        Contiguous batches are joined along time, others along the batch, padded to the longest; real numbers are cut to
        the shortest. Parts of a stream may differ in their distribution of tokens, which is not a dependence of targets
        on inputs: hence the numbers. ``transposed`` exchanges time and batch, for an axis that is not known, and
        ``separate`` joins contiguous batches along the batch, too.
        """
        inputs, targets = self.inputs, self.targets
        if transposed:
            inputs, targets = [[_transposed(array) for array in arrays] for arrays in (inputs, targets)]
        contiguous = self.contiguous and self.tokens and not transposed and not separate
        lengths = [array.shape[1] for array in inputs]
        if not self.tokens and targets[0].ndim > 1 and lengths == [array.shape[1] for array in targets]:
            shortest = min(lengths)  # of both: real numbers cannot be padded
            inputs, targets = [[array[:, :shortest] for array in arrays] for arrays in (inputs, targets)]
        all_inputs, all_targets = _join(inputs, contiguous), _join(targets, contiguous)
        if not contiguous:
            return all_inputs, all_targets, None
        lengths = [array.shape[1] for array in inputs if len(array) == len(all_inputs)]
        return all_inputs, all_targets, np.repeat(np.arange(len(lengths)), lengths)

    def ways(self) -> list[tuple[Array, Array, Array | None]]:
        """The arrays of :meth:`joined`, and other readings if the layout is not known.

        Time and batch may be exchanged; and the features of a single sequence may be the sequences of one feature, as
        in lists of columns (1, batch).
        """
        found = [self.joined()]
        if not self.axis_known:
            found.append(self.joined(transposed=True))
        for inputs, targets, _ in tuple(found):
            one_sequence = len(inputs) == len(self.inputs) and inputs.ndim == targets.ndim == 3
            if one_sequence and inputs.shape == targets.shape and inputs.shape[2] > 1:
                x, y = (array.transpose(0, 2, 1).reshape(-1, array.shape[1]) for array in (inputs, targets))
                found.append((x, y, None))
        return found

    def clear(self) -> None:
        """Free the memory."""
        self.inputs, self.targets, self.pairs, self._rows = [], [], 0, set()

    def _mostly_seen(self, inputs: Array, targets: Array) -> bool:
        """Whether half of a batch's rows, along the batch or an axis that may be it, are among those added before."""
        if not self._rows:
            self._rows = {key for pair in zip(self.inputs, self.targets, strict=True) for key in self._keys(*pair)}
        keys = self._keys(inputs, targets)
        return 2 * sum(key in self._rows for key in keys) >= (len(keys) if self.axis_known else len(inputs))

    def _keys(self, inputs: Array, targets: Array) -> list[int]:
        """A number for each row, with its target."""
        pairs = [(inputs, targets)]
        if not self.axis_known:
            pairs.append((_transposed(inputs), _transposed(targets)))
        return [digest(x.tobytes() + y.tobytes()) for one in pairs for x, y in zip(*one, strict=True)]


def looks_like_decoder_inputs(inputs: Array, targets: Array) -> bool:
    """Whether the inputs, of shape (sequences, seq_len), contain no more than the earlier targets.

    They are all the same token, or each is the target of the step before. The predictions of a decoder may
    depend only on the inputs of its encoder, which are then not observed.

    Example
    -------
    >>> targets = np.array([[2, 3, 1], [1, 1, 2]])
    >>> looks_like_decoder_inputs(np.array([[0, 2, 3], [0, 1, 1]]), targets)
    True
    """
    shown = inputs[inputs >= 0]
    if len(shown) and (shown == shown[0]).all():
        return True
    if inputs.shape != targets.shape or inputs.shape[1] < 2:
        return False
    later, earlier = inputs[:, 1:], targets[:, :-1]
    known = (later >= 0) & (earlier >= 0)
    starts = inputs[:, 0][inputs[:, 0] >= 0]
    one_start = len(starts) > 1 and bool((starts == starts[0]).all())
    return one_start and bool(known.any() and (later == earlier)[known].all())


def pairs_of(batch: Batch) -> tuple[Array, Array, bool] | str:
    """A batch's inputs and targets, sequences in rows, and whether the axes are known; or why there are none."""
    shown = sequences_of(batch)
    inputs, targets = shown.inputs, shown.targets
    if inputs is None or targets is None or not targets.size:
        return NOT_SHOWN
    square = targets.ndim == 1 and inputs.shape[:2] == 2 * targets.shape  # either axis may be the batch's
    if shown.time_axis is None and not square and not (shown.per_step and targets.ndim <= 3):
        return NO_BATCH_AXIS
    targets = targets if shown.per_step or square else _per_sequence(targets, shown.batch_size)
    if targets is None or inputs.ndim not in (2, 3):
        return NOT_PAIRS
    x, y = _as_tokens(inputs), _as_tokens(targets)
    if not shown.per_step and y.ndim == 2 and y.dtype.kind == "i":
        y, axis = decode_one_hot(y.astype(float), 1)
        if axis != 1:  # a vector of counts or of several labels for each sequence
            return NOT_PAIRS
    elif shown.per_step and y.ndim == 3 and x.dtype.kind == y.dtype.kind == "i":
        if y.shape[2] != 1:
            return NOT_PAIRS
        y = y[:, :, 0]
    x = x.astype(np.float64) if x.ndim == 3 else x  # whole numbers as features are no tokens
    mask = getattr(batch.data, "mask", None)
    if isinstance(mask, np.ndarray) and mask.shape == x.shape and x.dtype.kind == "i":
        x = np.where(mask, x, MISSING_TOKEN)
        y = np.where(mask, y, MISSING_TOKEN) if y.shape == mask.shape and y.dtype.kind == "i" else y
    return _rows_first(shown, x, y)


def _rows_first(shown: Sequences, x: Array, y: Array) -> tuple[Array, Array, bool]:
    if shown.time_axis == 0:
        x, y = x.swapaxes(0, 1), (y.swapaxes(0, 1) if shown.per_step else y)
    return x, y, shown.time_axis is not None


def _per_sequence(targets: Array, batch_size: int | None) -> Array | None:
    """Targets with the sequences first: one class, one number or one vector for each."""
    if batch_size is None or targets.ndim > 2:
        return None
    if targets.ndim == 0:
        return targets.reshape(1) if batch_size == 1 else None
    if len(targets) == batch_size:
        return targets
    if targets.ndim == 2 and targets.shape[1] == batch_size:
        return targets.T
    return targets.reshape(1, -1) if batch_size == 1 and targets.ndim == 1 else None


def _transposed(array: Array) -> Array:
    """Time and batch exchanged; one target for each sequence is unchanged."""
    return array.swapaxes(0, 1) if array.ndim > 1 else array


def _as_tokens(array: Array) -> Array:
    """Whole numbers as integers, others unchanged."""
    if array.dtype.kind != "f":
        return array.astype(np.intp)
    whole = array.ndim < 3 and np.array_equal(array, np.rint(array))
    return array.astype(np.intp) if whole else array


def _target_count(targets: Array) -> int:
    return int((targets >= 0).sum()) if targets.dtype.kind == "i" else targets.size


def _join(arrays: list[Array], contiguous: bool) -> Array:
    if arrays[0].ndim == 1:
        return np.concatenate(arrays)
    if contiguous:
        return np.hstack([array for array in arrays if len(array) == len(arrays[0])])
    lengths = [array.shape[1] for array in arrays]
    if any(array.dtype.kind == "f" for array in arrays):
        return np.concatenate([array[:, : min(lengths)] for array in arrays])
    longest = max(lengths)
    if min(lengths) == longest:
        return np.concatenate(arrays)
    padded = [np.pad(array, ((0, 0), (0, longest - array.shape[1])), constant_values=MISSING_TOKEN) for array in arrays]
    return np.concatenate(padded)
