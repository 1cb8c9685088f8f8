"""Data of other libraries: arrays, pairs, mappings and datasets become loaders and batches, and errors say which."""

import numpy as np
import pytest

from rnncallbacks.errors import DataError, OptionError, ShapeError
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.given_data import BATCH_SIZE, as_batch, as_loaders
from rnncallbacks.rnn.data.loaders import ArrayLoader

INPUTS = np.arange(70.0).reshape(5, 7, 2)
LABELS = np.arange(5)
MASK = np.arange(7) < np.array([[7], [3], [7], [7], [1]])


class Dataset:
    """As far as it is used, a dataset of the library ``datasets``."""

    column_names = ("inputs", "targets")

    def __init__(self):
        self.format = None

    def with_format(self, name):
        formatted = Dataset()
        formatted.format = name
        return formatted

    def __getitem__(self, rows):
        assert self.format == "numpy"
        return {"inputs": INPUTS[rows], "targets": LABELS[rows]}


@pytest.mark.parametrize(
    "data",
    [(INPUTS, LABELS), [INPUTS, LABELS], {"inputs": INPUTS, "targets": LABELS}, Dataset()],
    ids=["tuple", "list", "mapping", "dataset"],
)
def test_arrays_become_loaders(data):
    train, validation = as_loaders(data, data, batch_size=2)
    for loader, shuffled in ((train, True), (validation, False)):
        assert isinstance(loader, ArrayLoader)
        assert (loader.batch_size, loader.shuffle) == (2, shuffled)
    np.testing.assert_array_equal(next(iter(validation)).inputs, INPUTS[:2].swapaxes(0, 1))


def test_a_third_array_is_the_mask():
    targets = np.zeros((5, 7), dtype=int)
    (batch,) = as_loaders(None, (INPUTS, targets, MASK))[1]
    np.testing.assert_array_equal(batch.mask, MASK.T)


def test_loaders_are_left_alone_and_a_batch_size_belongs_to_arrays():
    loader = [SequenceBatch(INPUTS, np.zeros(7, dtype=int))]
    assert as_loaders(loader, None) == (loader, None)
    assert as_loaders((INPUTS, LABELS), None)[0].batch_size == BATCH_SIZE
    assert as_loaders((INPUTS, LABELS), loader, 4)[1] is loader
    pairs = ((INPUTS, LABELS), (INPUTS, LABELS))
    assert as_loaders(pairs, None)[0] is pairs
    with pytest.raises(OptionError, match=r"batch_size: expected None with loaders.*got 4"):
        as_loaders(loader, None, 4)


def test_a_pair_is_a_batch_whose_first_axis_is_the_sequence():
    batch = as_batch((INPUTS, LABELS))
    np.testing.assert_array_equal(batch.inputs, INPUTS.transpose(1, 0, 2))
    np.testing.assert_array_equal(batch.targets, LABELS)
    assert batch.mask is None
    assert as_batch(batch) is batch
    steps = np.arange(35).reshape(5, 7)
    batch = as_batch({"inputs": INPUTS, "targets": steps, "mask": MASK, "index": 3})
    np.testing.assert_array_equal(batch.targets, steps.T)
    np.testing.assert_array_equal(batch.mask, MASK.T)


def test_ignored_targets_are_masked():
    targets = np.arange(35).reshape(5, 7)
    targets[1, 4] = targets[2, 6] = -100
    ignored = targets == -100
    np.testing.assert_array_equal(as_batch((INPUTS, targets)).mask, ~ignored.T)
    np.testing.assert_array_equal(as_batch((INPUTS, targets, MASK)).mask, (MASK & ~ignored).T)
    assert as_batch((INPUTS, targets)).targets.min() == 0


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"inputs": INPUTS, "target": LABELS}, DataError, r"'inputs' and 'targets'.*got \['inputs', 'target'\]"),
        ({"input_ids": INPUTS}, DataError, r"got \['input_ids'\]"),
        (3.0, DataError, "pairs of inputs and targets, got float"),
        (INPUTS, DataError, "got ndarray"),
        ((INPUTS, LABELS[:4]), ShapeError, "targets"),
        ((INPUTS[:, :, 0], LABELS), ShapeError, "inputs: expected floats"),
        ((LABELS, LABELS), ShapeError, r"got one sequence of shape(.|\n)*DataLoader"),
    ],
)
def test_errors_say_what_was_expected(data, error, message):
    with pytest.raises(error, match=message):
        as_batch(data)


def test_a_misspelt_key_has_a_hint():
    with pytest.raises(DataError) as caught:
        as_batch({"inputs": INPUTS, "target": LABELS})
    assert "did you mean 'target'?" in str(caught.value)
