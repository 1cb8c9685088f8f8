"""The inputs and targets of a batch in the layout of a script: tokens, axes, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.dlpack import with_readable_views
from rnncallbacks.detectors.one_hot import decode_one_hot
from rnncallbacks.detectors.padding_mask import padding_mask
from rnncallbacks.detectors.sequence_axes import aligned, find_time_axis

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

INPUT_NAMES = ("inputs", "input", "x", "X", "tokens", "input_ids", "features", "source", "src", "sequences", "sequence")
TARGET_NAMES = ("targets", "target", "y", "Y", "labels", "label", "answers", "answer", "tgt", "tags", "classes")
"""Names by which a batch that is an object or a mapping gives its inputs and its targets, the usual ones first."""


@attrs.frozen(eq=False)
class Sequences:
    """Inputs and targets of one batch.

    Parameters
    ----------
    inputs:
        Token numbers of shape (time, batch) or (batch, time), or features with one axis more. One-hot vectors have
        become token numbers, with -1 for vectors of zeros (padding). None if the batch has no inputs.
    targets:
        As the inputs, or one per sequence, with one axis less.
    time_axis:
        0 or 1; None if it is unknown.
    vocab_size:
        The length of the targets' one-hot axis; None if they have none.
    """

    inputs: Array | None
    targets: Array | None
    time_axis: int | None
    vocab_size: int | None

    @property
    def seq_len(self) -> int | None:
        """Number of time steps, None if it is unknown."""
        return None if self.inputs is None or self.time_axis is None else int(self.inputs.shape[self.time_axis])

    @property
    def batch_size(self) -> int | None:
        """Number of sequences, None if it is unknown."""
        return None if self.inputs is None or self.time_axis is None else int(self.inputs.shape[1 - self.time_axis])

    @property
    def per_step(self) -> bool:
        """Whether inputs and targets have a token or a vector for each step."""
        return self.inputs is not None and self.targets is not None and self.inputs.shape[:2] == self.targets.shape[:2]

    def time_first(self) -> tuple[Array, Array | None]:
        """Inputs, and the targets if there is one for each step, with time on the first axis.

        There must be inputs. If the axis of time is not known, the second is used.

        Example
        -------
        >>> inputs, targets = Sequences(np.zeros((4, 9)), np.ones((4, 9)), time_axis=1, vocab_size=None).time_first()
        >>> inputs.shape, targets.shape
        ((9, 4), (9, 4))
        """
        assert self.inputs is not None
        targets = self.targets if self.per_step else None
        if self.time_axis == 0:
            return self.inputs, targets
        return self.inputs.swapaxes(0, 1), None if targets is None else targets.swapaxes(0, 1)


def sequences_of(batch: Batch) -> Sequences:
    """The batch's sequences: those that the script observed, else those that the loader yielded.

    The loader may yield an object or a mapping with ``inputs`` and ``targets`` (or ``x`` and ``y``, or ``labels``), or
    a tuple or list that begins with the two. In a mapping of two arrays one of these names is enough, and an array of
    one label for each sequence needs none. The axis of time follows from the batch size (given to ``run.hidden``, or
    with the loss, or that of a recognized network), else from the number of observed hidden states, else from targets
    that are the next inputs along one axis only, else from the layout.
    Costs a pass over the arrays, so guards call it only in some batches. The result is cached in the batch as long as
    the same objects are observed.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> tokens = np.array([[0, 1, 2], [2, 1, 0]])
    >>> shown = sequences_of(Batch((np.eye(3)[tokens], tokens), "train", 1, batch_size=2))
    >>> shown.inputs.tolist(), shown.seq_len, shown.batch_size
    ([[0, 1, 2], [2, 1, 0]], 3, 2)
    """
    given, kept = _given_data(batch), batch.reading
    if kept is not None and all(map(is_, kept[0], _shown(batch, given))):
        sequences: Sequences = kept[1]
        return sequences
    sequences = _read_sequences(batch, given)
    batch.reading = _shown(batch, given), sequences  # after it: reading may compute what a function shows
    return sequences


def _shown(batch: Batch, given: _GivenData) -> tuple[Any, ...]:
    """All that :func:`_read_sequences` depends on; functions that were not called yet stay functions."""
    states: Any = getattr(batch.observed, "data", batch.observed)  # past the call of functions
    size = batch.batch_size or batch.sequences or batch.network_rows
    return *given, states.get("hidden_states"), states.get("entering_state"), size


def hidden_states_of(batch: Batch) -> Any:
    """The observed hidden states, with time first: an array of shape (batch, time, units) has its axes swapped.

    Such an array is known by the inputs: their two axes, with a state more along the second; or as many states, if
    there is a target for each entry of the first.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> observed = {"hidden_states": np.zeros((10, 13, 20))}
    >>> hidden_states_of(Batch((np.zeros((10, 12, 2)), np.zeros(10)), "train", 1, observed=observed)).shape
    (13, 10, 20)
    """
    states = batch.observed.get("hidden_states")
    if not isinstance(states, np.ndarray) or states.ndim != 3:
        return states
    given = _given_data(batch)
    rows, steps = (*getattr(given.inputs, "shape", ()), 0, 0)[:2]
    targets = getattr(given.targets, "shape", ())
    with_entering = states.shape[:2] == (rows, steps + 1)
    without = states.shape[:2] == (rows, steps) and targets == (rows,) and rows != steps
    return states.swapaxes(0, 1) if with_entering or without else states


def _read_sequences(batch: Batch, given: _GivenData) -> Sequences:
    given_inputs, given_targets = _as_array(given.inputs), _as_array(given.targets)
    mask = padding_mask(batch.data, given_targets)
    if mask is not None and given_targets is not None and "targets" not in batch.observed:
        given_targets = np.where(mask, given_targets, -1)
    if given_inputs is None or given_inputs.ndim == 0 or not given_inputs.size:
        return Sequences(None, None, None, None)
    inputs, one_hot_axis = decode_one_hot(given_inputs)
    targets, vocab_size = given_targets, None
    if given_targets is not None:
        same_shape = given_targets.shape == given_inputs.shape
        targets, axis = decode_one_hot(given_targets, preferred_axis=one_hot_axis if same_shape else None)
        vocab_size = None if axis is None else int(given_targets.shape[axis])
    batch_size = batch.batch_size or batch.sequences or batch.network_rows or _single_state_size(batch)
    if _is_single_sequence(inputs, batch_size):
        return Sequences(*_with_batch_axis(inputs, targets), 0, vocab_size)
    hidden_states = hidden_states_of(batch)
    inputs, targets = aligned(inputs, targets, batch_size, hidden_states)
    time_axis = find_time_axis(inputs, targets, batch_size, hidden_states)
    if time_axis is None:
        # Of one-hot vectors, those with the vocabulary between the two others are columns, with time first.
        time_axis = 0 if given.time_first or one_hot_axis == 1 else _time_axis_by_targets(inputs, targets)
    return Sequences(inputs, targets, time_axis, vocab_size)


def inputs_of(batch: Batch) -> Any:
    """The inputs as the script or the loader gave them, None if there are none. Takes almost no time."""
    data = batch.data
    if type(data) is tuple and len(data) == 2 and not batch.observed:
        return data[0]  # most loaders
    return _given_data(batch).inputs


def indices_of(batch: Batch) -> Array | None:
    """The indices that the loader yields in place of data, for a whole batch or one for each sequence; None if not.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> indices_of(Batch(np.int64(7), "train", 1)), indices_of(Batch(np.zeros((2, 3)), "train", 1))
    (array([7]), None)
    """
    data = batch.data
    if isinstance(data, bool | np.bool_) or not isinstance(data, int | np.integer | np.ndarray):
        return None
    array = np.atleast_1d(np.asarray(data))
    return array if array.ndim == 1 and array.dtype.kind in "iu" else None


def mask_of(batch: Batch, sequences: Sequences) -> Array | None:
    """The positions that count in the loss; None if all of them do, or if that is unknown.

    Taken from the batch's ``mask``, else from the targets: positions with a target of 0 or more count.

    Returns
    -------
    Array or None
        Truth values in the layout of the inputs.
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


class _GivenData(NamedTuple):
    """Inputs and targets as they were given; ``time_first``: they have the library's own layout."""

    inputs: Any
    targets: Any
    time_first: bool


def _given_data(batch: Batch) -> _GivenData:
    data, observed = batch.data, batch.observed
    inputs, targets, time_first = None, None, False
    if hasattr(data, "inputs") and hasattr(data, "targets"):
        inputs, targets, time_first = data.inputs, data.targets, True
    elif isinstance(data, (tuple, list)):
        if len(data) == 2 or (len(data) > 2 and _agree_on_two_axes(*data[:2])):
            inputs, targets = data[:2]
    elif isinstance(data, (dict, Mapping)):  # dict first: isinstance is slow for an abstract class
        inputs, targets = _by_names(data)
    elif hasattr(data, "__dict__"):
        inputs, targets = _by_names(vars(data))
    if "inputs" in observed or "targets" in observed:
        time_first = False
    return _GivenData(observed.get("inputs", inputs), observed.get("targets", targets), time_first)


def _first_of(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((values[name] for name in names if name in values), None)


def _by_names(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Inputs and targets by their names; of two arrays alone, one name or one label per sequence is enough."""
    inputs, targets = _first_of(values, INPUT_NAMES), _first_of(values, TARGET_NAMES)
    arrays = [value for value in values.values() if isinstance(value, np.ndarray) and value.ndim]
    if len(arrays) != 2 or (inputs is not None and targets is not None):
        return inputs, targets
    one, other = arrays
    if inputs is not None or targets is not None:
        known = targets if inputs is None else inputs
        rest = other if known is one else one
        return (rest, targets) if inputs is None else (inputs, rest)
    sequences, labels = sorted(arrays, key=lambda array: -array.ndim)
    return (sequences, labels) if _has_label_each(sequences, labels) else (None, None)


def _has_label_each(sequences: Array, labels: Array) -> bool:
    """Whether the second array has one number for each sequence of the first."""
    return sequences.ndim in (2, 3) and labels.ndim == 1 and len(labels) in sequences.shape[:2]


def _agree_on_two_axes(inputs: Any, targets: Any) -> bool:
    """Whether the first two members of a longer tuple are inputs and targets; a third is then lengths, or a mask."""
    arrays = isinstance(inputs, np.ndarray) and isinstance(targets, np.ndarray)
    return arrays and inputs.ndim >= 2 and targets.ndim >= 2 and inputs.shape[:2] == targets.shape[:2]


def _as_array(value: Any) -> Array | None:
    value = with_readable_views(value)
    if isinstance(value, list | tuple) and value:
        try:
            value = np.asarray(value)
        except ValueError:  # rows of different lengths
            return None
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else None


def _is_single_sequence(inputs: Array, batch_size: int | None) -> bool:
    """Whether inputs are one sequence without a batch axis, of tokens or of features."""
    features = inputs.ndim == 2 and inputs.dtype.kind == "f" and 1 not in inputs.shape
    return inputs.ndim == 1 or (features and batch_size == 1)


def _single_state_size(batch: Batch) -> int | None:
    """1 if the observed states are vectors, which belong to a single sequence; else None."""
    states = batch.observed.get("hidden_states")
    state = batch.observed.get("entering_state") if states is None else states
    while isinstance(state, list | tuple) and len(state):
        state = state[0]
    vectors = 2 if isinstance(states, np.ndarray) else 1
    return 1 if isinstance(state, np.ndarray) and state.ndim == vectors else None


def _with_batch_axis(inputs: Array, targets: Array | None) -> tuple[Array, Array | None]:
    """A single sequence, time first, with a batch axis of length 1; a target for the whole sequence is unchanged."""
    if targets is not None and targets.ndim in (1, 2) and len(targets) == len(inputs):
        targets = targets[:, None]
    return inputs[:, None], targets


def _time_axis_by_targets(inputs: Array, targets: Array | None) -> int | None:
    """The axis that the targets, one for each sequence, do not have; they may be a column of numbers."""
    if targets is None or targets.shape[1:] not in ((), (1,)) or not targets.ndim or inputs.shape[0] == inputs.shape[1]:
        return None
    if targets.ndim == 2 and 1 in inputs.shape[:2]:  # a column for each step of one sequence
        return None
    return 1 - inputs.shape.index(len(targets)) if len(targets) in inputs.shape[:2] else None
