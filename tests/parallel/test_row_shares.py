"""The rows of each rank: all of them once, in order, for every kind of batch."""

from collections import namedtuple

import numpy as np
import pytest

from rnncallbacks.errors import DataError
from rnncallbacks.parallel.row_shares import ShardedLoader, divide, known_share, shard, share_of
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import SequenceLoader

Pair = namedtuple("Pair", "inputs targets")


@pytest.mark.parametrize(("rows", "ranks"), [(7, 3), (4, 4), (2, 4), (1, 2), (9, 1)])
def test_shares_have_each_row_once_and_differ_by_one_at_most(rows: int, ranks: int) -> None:
    shares = [range(rows)[share_of(rows, rank, ranks)] for rank in range(ranks)]
    assert [row for share in shares for row in share] == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "kind", [tuple, list, lambda pair: Pair(*pair), lambda pair: dict(zip("xy", pair, strict=True))]
)
def test_containers_of_arrays_keep_their_class(kind: type) -> None:
    batch = kind((np.arange(20).reshape(2, 5, 2), np.arange(10).reshape(2, 5)))
    parts = [divide(batch, rank, 2, axis=1) for rank in range(2)]
    assert [part.rows for part in parts] == [3, 2]
    assert type(parts[0].data) is type(batch)
    joined = [
        np.concatenate(arrays, axis=1)
        for arrays in zip(*(p.data.values() if isinstance(p.data, dict) else p.data for p in parts), strict=True)
    ]
    for whole, array in zip(batch.values() if isinstance(batch, dict) else batch, joined, strict=True):
        np.testing.assert_array_equal(whole, array)


def test_an_array_for_each_of_which_an_axis_is_given() -> None:
    batch = (np.zeros((4, 6)), np.zeros(6), None, 0.5, "name")
    inputs, labels, nothing, *others = divide(batch, 0, 2, axis=(1, 0, 0, 0, 0)).data
    assert inputs.shape == (4, 3)
    assert labels.shape == (3,)
    assert nothing is None
    assert others == [0.5, "name"]


def test_sequence_batches_are_divided_with_mask_and_starts() -> None:
    tokens, mask = np.arange(12).reshape(3, 4), np.ones((3, 4), bool)
    mask[1:, 0] = False
    batch = SequenceBatch(tokens, tokens, mask, starts=np.array([True, False, True, True]))
    first, second = (divide(batch, rank, 2).data for rank in range(2))
    assert first.mask[:, 0].tolist() == [True, False, False]
    assert second.mask is None
    assert second.starts.tolist() == [True, True]
    assert first.tokens + second.tokens == batch.tokens


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_rank_without_rows_gets_a_row_that_is_not_counted(ranks: int) -> None:
    part = divide((np.arange(3).reshape(1, 3),), ranks - 1, ranks)
    assert part.rows == 0
    assert part.data[0].shape == (1, 3)


def test_a_part_that_is_masked_as_a_whole_is_not_counted() -> None:
    mask = np.array([[True, False], [True, False]])
    part = divide(SequenceBatch(np.zeros((2, 2), int), np.zeros((2, 2), int), mask), 1, 2)
    assert part.rows == 0
    assert part.data.size == 1


@pytest.mark.parametrize(
    ("batch", "axis", "message"),
    [
        (7, 0, "expected batches of NumPy arrays to divide them among the ranks, got int\n"),
        ([[1, 2], [3]], 0, "got list of list, list\n  hint: convert lists and tensors with numpy.asarray"),
        ((0.5, None), 0, "the same number of sequences"),
        ((np.zeros((2, 3)), np.zeros((3, 3))), 0, "the same number of sequences"),
        ((np.zeros((0, 3)),), 0, "the same number of sequences"),
        ((np.zeros((2, 3)),), (0, 1), "one axis for each of the 1 arrays"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(batch: object, axis: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        divide(batch, 0, 2, axis)


def test_a_sharded_loader_has_the_methods_and_the_length_of_its_loader() -> None:
    loader = SequenceLoader([[1, 2, 3]] * 5, batch_size=2)
    parts = [ShardedLoader(loader, 0, rank, 2) for rank in range(2)]
    assert len(parts[0]) == 3
    loader.set_epoch(2)
    first = [batch.inputs for batch in parts[0]]
    parts[1].set_epoch(2)
    parts[1].skip_batches(1)
    assert [batch.shape for batch in first] == [(2, 1), (2, 1), (2, 1)]
    assert len([*parts[1]]) == 2


def test_the_share_of_a_sharded_batch_is_known_while_it_is_the_last() -> None:
    loader = ShardedLoader([np.zeros((3, 1)), np.zeros((3, 1))], 0, 1, 2)
    one, two = loader
    assert known_share(one) is None
    found = known_share(two)
    assert found is not None
    assert found.rows == 1


def test_one_process_keeps_its_loader() -> None:
    loader = [np.zeros(3)]
    assert shard(loader) is loader
