"""What a batch shows of its sequences, however the script lays them out: tokens, axes, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(eq=False)
class Sequences:
    """Inputs and targets of one batch.

    ``inputs`` are token numbers (two axes: time and batch, in one order or the other) or features (one axis more).
    ``targets`` are likewise, or one per sequence (one axis less). One-hot vectors have become token numbers, and
    vectors of zeros among them, which stand for padding, -1.
    ``time_axis`` is 0 or 1, None if nothing tells. ``vocab_size`` is the length of the targets' one-hot axis, None if
    they have none.
    """

    inputs: Array | None
    targets: Array | None
    time_axis: int | None
    vocab_size: int | None

    @property
    def seq_len(self) -> int | None:
        """Number of time steps, None if nothing tells."""
        return None if self.inputs is None or self.time_axis is None else int(self.inputs.shape[self.time_axis])

    @property
    def batch_size(self) -> int | None:
        """Number of sequences, None if nothing tells."""
        return None if self.inputs is None or self.time_axis is None else int(self.inputs.shape[1 - self.time_axis])

    @property
    def per_step(self) -> bool:
        """Whether inputs and targets have a token or a vector for each step."""
        return self.inputs is not None and self.targets is not None and self.inputs.shape[:2] == self.targets.shape[:2]


def sequences_of(batch: Batch) -> Sequences:
    """What is known of the batch's sequences: what the script observed, else what the loader yielded.

    The loader may yield an object or a mapping with ``inputs`` and ``targets``, or a tuple or list that begins with the
    two. Which axis is time follows from the batch size (of ``run.hidden``, or given with the loss), else from the
    number of observed hidden states, else from targets that are the next inputs along one axis only, else from the
    layout. Costs a pass over the arrays, so guards ask only in some batches.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> tokens = np.array([[0, 1, 2], [2, 1, 0]])
    >>> shown = sequences_of(Batch((np.eye(3)[tokens], tokens), "train", 1, batch_size=2))
    >>> shown.inputs.tolist(), shown.seq_len, shown.batch_size
    ([[0, 1, 2], [2, 1, 0]], 3, 2)
    """
    inputs, targets, time_first = _found(batch)
    x, y = _as_array(inputs), _as_array(targets)
    if x is None or x.ndim == 0 or not x.size:
        return Sequences(None, None, None, None)
    shape, (x, hot_axis) = x.shape, _without_one_hot(x)
    vocab_size = None
    if y is not None:
        before = y
        y, axis = _without_one_hot(y, prefer=hot_axis if y.shape == shape else None)
        vocab_size = None if axis is None else int(before.shape[axis])
    size = batch.batch_size or batch.sequences
    if x.ndim == 1 or (x.ndim == 2 and size == 1 and 1 not in x.shape and x.dtype.kind == "f"):
        x, y = _one_sequence(x, y)  # by itself, of tokens or of features
        return Sequences(x, y, 0, vocab_size)
    states = batch.observed.get("hidden_states")
    last = x.shape[2] if x.ndim == 3 and x.shape[2] not in x.shape[:2] else None
    if last is not None and (size == last or (size is None and _is_batch(last, x, y, states))):
        x = np.moveaxis(x, 2, 1)  # features in columns, the batch last
        if y is not None and y.ndim == 3 and y.shape[2] == last:
            y = np.moveaxis(y, 2, 1)
    if y is not None and y.shape[:2] != x.shape[:2] and y.shape[1::-1] == x.shape[:2]:
        y = y.swapaxes(0, 1)  # the two came in different layouts
    time_axis = _time_axis(x, y, size, _step_count(states))
    if time_axis is None:
        if time_first or hot_axis == 1:
            time_axis = 0
        elif y is not None and y.ndim == 1 and x.shape[0] != x.shape[1] and len(y) in x.shape[:2]:
            time_axis = 1 - x.shape.index(len(y))
    return Sequences(x, y, time_axis, vocab_size)


def inputs_of(batch: Batch) -> Any:
    """The inputs as the script or the loader gave them, None if they are not to be seen. Costs next to nothing."""
    return _found(batch)[0]


def mask_of(batch: Batch, sequences: Sequences) -> Array | None:
    """Which positions count, laid out as the inputs are; None if all of them do, as far as can be seen.

    Those are what the batch's ``mask`` says, or else where the target is not below 0.
    """
    if sequences.inputs is None:
        return None
    data = batch.data
    mask = data.get("mask") if isinstance(data, Mapping) else getattr(data, "mask", None)
    if isinstance(mask, np.ndarray) and mask.shape == sequences.inputs.shape[:2]:
        return mask.astype(bool, copy=False)
    targets = sequences.targets
    if targets is None or not sequences.per_step or targets.dtype.kind != "i" or targets.ndim != 2:
        return None
    counted: Array = targets >= 0
    return None if counted.all() else counted


def _found(batch: Batch) -> tuple[Any, Any, bool]:
    """Inputs, targets, and whether they come in the library's own layout, time first."""
    data, observed = batch.data, batch.observed
    inputs, targets, time_first = None, None, False
    if hasattr(data, "inputs") and hasattr(data, "targets"):
        inputs, targets, time_first = data.inputs, data.targets, True
    elif isinstance(data, (tuple, list)):
        if len(data) == 2 or (len(data) > 2 and _look_like_a_pair(*data[:2])):
            inputs, targets = data[:2]
    elif isinstance(data, (dict, Mapping)):  # dict by itself first: the question to the abstract class is slow
        inputs, targets = data.get("inputs"), data.get("targets")
    if "inputs" in observed or "targets" in observed:
        time_first = False
    return observed.get("inputs", inputs), observed.get("targets", targets), time_first


def _look_like_a_pair(inputs: Any, targets: Any) -> bool:
    """Whether two arrays agree on the axes of time and batch; a third member is then lengths, or a mask."""
    arrays = isinstance(inputs, np.ndarray) and isinstance(targets, np.ndarray)
    return arrays and inputs.ndim >= 2 and targets.ndim >= 2 and inputs.shape[:2] == targets.shape[:2]


def _as_array(value: Any) -> Array | None:
    if isinstance(value, list | tuple) and value:
        try:
            value = np.asarray(value)
        except ValueError:  # rows of different lengths
            return None
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else None


def _without_one_hot(array: Array, prefer: int | None = None) -> tuple[Array, int | None]:
    """Token numbers in place of one-hot vectors, and the axis on which these lay; else the array itself, and None."""
    integer = array.dtype.kind != "f"
    if array.ndim < (3 if integer else 2) or not array.size:
        return array, None
    axes = [1, array.ndim - 1, 0] if array.ndim <= 3 else [array.ndim - 1]
    if prefer is not None:
        axes.insert(0, prefer)
    # In the order of memory, where a search for the few that are not zero is one quick pass.
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    straight = array.transpose(order)
    filled = straight != 0
    count = int(np.count_nonzero(filled))
    axes = [axis for axis in axes if array.shape[axis] > 1 and _may_be_one_hot(count, array, axis)]
    axes.sort(key=lambda axis: -array.shape[axis])  # the fewer vectors, the fewer blank ones
    if not axes:
        return array, None
    where = np.unravel_index(np.flatnonzero(filled), filled.shape)
    if not (straight[where] == 1).all():
        return array, None
    places = {axis: where[position] for position, axis in enumerate(order)}
    for axis in axes:
        rest = [other for other in range(array.ndim) if other != axis]
        tokens = np.full([array.shape[other] for other in rest], -1, dtype=np.intp)
        tokens[tuple(places[other] for other in rest)] = places[axis]
        # As many vectors are not blank as there are ones: each of these has exactly one.
        if np.count_nonzero(tokens >= 0) == count:
            return tokens, axis
    return array, None


def _may_be_one_hot(ones: int, array: Array, axis: int) -> bool:
    """Whether there are as many ones as vectors; of three axes, up to half of the vectors may be blank."""
    vectors = array.size // array.shape[axis]
    return ones == vectors or (array.ndim == 3 and vectors <= 2 * ones <= 2 * vectors)


def _is_batch(last: int, x: Array, y: Array | None, hidden_states: Any) -> bool:
    """Whether the last axis of features in columns is the batch's: a target for each, or a state, has its length."""
    if y is not None and y.ndim == 1 and len(y) == last:
        return True
    if not isinstance(hidden_states, list | tuple | np.ndarray) or not len(hidden_states):
        return False
    first = hidden_states[0]
    if not isinstance(first, np.ndarray) or first.ndim != 2:
        return False
    return first.shape[1] == last and not set(first.shape) & set(x.shape[:2])


def _one_sequence(x: Array, y: Array | None) -> tuple[Array, Array | None]:
    """A single sequence, time first, with its batch axis of length 1; a target for the whole of it stays as it is."""
    if y is not None and y.ndim in (1, 2) and len(y) == len(x):
        y = y[:, None]
    return x[:, None], y


def _time_axis(x: Array, y: Array | None, size: int | None, steps: int | None) -> int | None:
    fitting = [axis for axis in (0, 1) if x.shape[axis] == size]
    if len(fitting) == 1:
        return 1 - fitting[0]
    fitting = [axis for axis in (0, 1) if x.shape[axis] == steps]
    if len(fitting) == 1:
        return fitting[0]
    if y is None or y.shape != x.shape:
        return None
    # Along the axis of time, and along no other, the next input is the target.
    shifted = [axis for axis in (0, 1) if _next_is_target(x.swapaxes(0, axis), y.swapaxes(0, axis))]
    return shifted[0] if len(shifted) == 1 else None


def _next_is_target(x: Array, y: Array) -> bool:
    # Padding and a few noisy labels may break the rule in places.
    return len(x) > 1 and bool(np.count_nonzero(x[1:] == y[:-1]) >= 0.9 * x[1:].size)


def _step_count(hidden_states: Any) -> int | None:
    """The time steps that observed hidden states belong to: one fewer than there are, as the entering one is first."""
    return len(hidden_states) - 1 if isinstance(hidden_states, list | tuple | np.ndarray) else None
