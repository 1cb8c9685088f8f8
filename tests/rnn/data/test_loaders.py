import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, OptionError, ShapeError
from rnncallbacks.rnn.data.loaders import ArrayLoader, SequenceLoader

SEEDS = st.integers(0, 2**32 - 1)


def assert_same(one, other):
    """Two lists of batches hold the same numbers."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for name in ("inputs", "targets", "mask", "starts"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name, strict=True)


def differ(one, other):
    return any(not np.array_equal(a.inputs, b.inputs) for a, b in zip(one, other, strict=True))


def counted(batch, array):
    """The entries that count, row by row."""
    mask = np.ones(batch.inputs.shape[:2], dtype=bool) if batch.mask is None else batch.mask
    return [array[mask[:, row], row].tolist() for row in range(batch.size)]


SEQUENCES = st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=15), min_size=1, max_size=60)


class TestSequenceLoader:
    @given(SEQUENCES, st.integers(1, 20), st.booleans(), st.booleans(), SEEDS)
    def test_every_sequence_appears_once(self, sequences, batch_size, shuffle, bucket, seed):
        loader = SequenceLoader(sequences, batch_size, shuffle=shuffle, bucket=bucket, seed=seed)
        seen = []
        for batch in loader:
            inputs, targets = counted(batch, batch.inputs), counted(batch, batch.targets)
            assert all(one[1:] == other[:-1] for one, other in zip(inputs, targets, strict=True))
            seen += [[*one, other[-1]] for one, other in zip(inputs, targets, strict=True)]
        assert sorted(seen) == sorted(sequences)

    @given(SEQUENCES, st.integers(1, 20), SEEDS)
    def test_masks_count_every_target(self, sequences, batch_size, seed):
        batches = list(SequenceLoader(sequences, batch_size, seed=seed))
        assert sum(batch.tokens for batch in batches) == sum(map(len, sequences)) - len(sequences)

    @given(SEQUENCES, st.integers(1, 20), SEEDS)
    def test_padding_is_zeros_on_the_right(self, sequences, batch_size, seed):
        for batch in SequenceLoader(sequences, batch_size, seed=seed):
            if batch.mask is None:
                continue
            assert not batch.mask.all()
            assert batch.mask[0].all()
            assert (batch.mask[1:] <= batch.mask[:-1]).all()
            assert not batch.inputs[~batch.mask].any()
            assert not batch.targets[~batch.mask].any()

    @given(SEQUENCES, st.integers(1, 20), st.booleans())
    def test_the_last_batch_is_ragged_and_kept(self, sequences, batch_size, bucket):
        loader = SequenceLoader(sequences, batch_size, bucket=bucket)
        sizes = [batch.size for batch in loader]
        whole, rest = divmod(len(sequences), batch_size)
        assert sizes == [batch_size] * whole + [rest] * bool(rest)
        assert len(loader) == len(sizes)

    def test_drop_last_leaves_out_a_ragged_batch(self):
        loader = SequenceLoader([[1, 2]] * 10, 4, drop_last=True)
        assert [batch.size for batch in loader] == [4, 4]
        assert len(loader) == 2

    def test_drop_last_does_not_always_drop_the_longest(self):
        loader = SequenceLoader([[1, 2]] * 8 + [[1, 2, 3]], 4, drop_last=True)
        seen = [sum(batch.tokens for batch in loader) for _ in range(40)]
        assert set(seen) == {8, 9}

    @given(SEQUENCES, st.integers(1, 20), SEEDS)
    def test_same_seed_same_batches(self, sequences, batch_size, seed):
        one, other = (SequenceLoader(sequences, batch_size, seed=seed) for _ in range(2))
        for _ in range(3):
            assert_same(list(one), list(other))

    @given(st.integers(0, 5), SEEDS)
    def test_setting_epoch_repeats_that_iteration(self, epoch, seed):
        sequences = [list(range(2 + number % 7)) for number in range(30)]
        through, resumed = (SequenceLoader(sequences, 4, seed=seed) for _ in range(2))
        for _ in range(epoch):
            list(through)
        assert through.epoch == epoch
        resumed.set_epoch(epoch + 1)
        assert resumed.epoch == epoch
        assert_same(list(resumed), list(through))

    @given(SEQUENCES, st.integers(1, 20), st.integers(0, 9), SEEDS)
    def test_skipped_batches_are_left_out_of_the_next_iteration_alone(self, sequences, batch_size, skipped, seed):
        whole, loader = (SequenceLoader(sequences, batch_size, seed=seed) for _ in range(2))
        loader.skip_batches(skipped)
        for begin in (skipped, 0):
            assert_same(list(loader), list(whole)[begin:])

    @pytest.mark.parametrize("bucket", [True, False])
    def test_iterations_and_seeds_differ(self, bucket):
        sequences = [[number, number + 1] for number in range(40)]
        loader = SequenceLoader(sequences, 4, bucket=bucket)
        first = list(loader)
        assert differ(first, list(loader))
        assert differ(first, list(SequenceLoader(sequences, 4, bucket=bucket, seed=1)))

    def test_without_shuffling_or_buckets_the_order_is_kept(self):
        loader = SequenceLoader([[n, n] for n in range(7)], 3, shuffle=False, bucket=False)
        for _ in range(2):
            assert [batch.inputs[0].tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6]]

    def test_buckets_save_padding(self):
        generator = np.random.default_rng(0)
        sequences = [np.zeros(length, int) for length in generator.integers(2, 100, 1000)]

        def filled(bucket):
            batches = list(SequenceLoader(sequences, 16, bucket=bucket))
            return sum(batch.tokens for batch in batches) / sum(batch.inputs.size for batch in batches)

        # 16 lengths drawn evenly up to 100 have a mean of 51 and a maximum near 94.
        assert filled(bucket=False) < 0.6
        assert filled(bucket=True) > 0.95

    def test_buckets_are_not_visited_by_length(self):
        sequences = [np.zeros(length, int) for length in range(2, 102)]
        lengths = [batch.inputs.shape[0] for batch in SequenceLoader(sequences, 4)]
        assert lengths != sorted(lengths)

    def test_equal_lengths_need_no_mask(self):
        (batch,) = SequenceLoader([[1, 2, 3], [4, 5, 6]], 2)
        assert batch.mask is None
        assert batch.starts is None

    @pytest.mark.parametrize(
        ("options", "error", "expected"),
        [
            ({"sequences": []}, DataError, "at least one sequence, got none"),
            ({"sequences": [[1, 2], [3]]}, DataError, "sequence 1: expected at least 2 tokens.*got 1"),
            ({"sequences": [[1, 2], []]}, DataError, "sequence 1: .*got 0"),
            ({"sequences": [[1, 2], [0.5, 1]]}, DataError, "sequence 1: expected token numbers.*float64"),
            ({"sequences": [[1, 2], [3, -1]]}, DataError, "sequence 1: .*got -1 at 1"),
            ({"sequences": [[[1, 2]]]}, ShapeError, r"sequence 0: expected one axis.*\(1, 2\)"),
            ({"batch_size": 0}, OptionError, "batch_size: expected an integer >= 1, got 0"),
            ({"seed": -1}, OptionError, "seed: expected an integer >= 0, got -1"),
            ({"batch_size": 3, "drop_last": True}, OptionError, "no batch is left of 2 sequences with batch_size 3"),
        ],
    )
    def test_bad_input(self, options, error, expected):
        with pytest.raises(error, match=expected):
            SequenceLoader(**{"sequences": [[1, 2], [3, 4]], "batch_size": 1} | options)


class TestArrayLoader:
    @given(st.integers(1, 30), st.integers(1, 12), st.booleans(), SEEDS)
    def test_every_sequence_appears_once_with_its_target_and_mask(self, count, batch_size, shuffle, seed):
        generator = np.random.default_rng(seed)
        inputs = generator.normal(size=(count, 5, 2)).astype(np.float32)
        targets = inputs.sum(axis=2, keepdims=True)
        mask = generator.random((count, 5)) < 0.5
        mask[:, 0] = True
        batches = list(ArrayLoader(inputs, targets, batch_size, mask=mask, shuffle=shuffle, seed=seed))
        seen = np.concatenate([batch.inputs for batch in batches], axis=1)
        assert seen.shape == (5, count, 2)
        assert sorted(seen[:, row].tolist() for row in range(count)) == sorted(inputs.tolist())
        for batch in batches:
            np.testing.assert_array_equal(batch.targets, batch.inputs.sum(axis=2, keepdims=True))
            for row in range(batch.size):
                origin = int(np.flatnonzero((inputs == batch.inputs[:, row]).all(axis=(1, 2)))[0])
                np.testing.assert_array_equal(batch.mask[:, row], mask[origin])

    def test_keeps_the_order_without_shuffling(self):
        loader = ArrayLoader(np.arange(35).reshape(7, 5), np.arange(7), 3, shuffle=False)
        for _ in range(2):
            assert [batch.targets.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6]]
        assert next(iter(loader)).inputs[:, 1].tolist() == [5, 6, 7, 8, 9]

    @pytest.mark.parametrize(
        ("targets", "expected"),
        [
            (np.zeros((4, 5), int), (5, 4)),
            (np.zeros((4, 5, 2)), (5, 4, 2)),
            (np.zeros(4, int), (4,)),
            (np.zeros((4, 2)), (4, 2)),
        ],
    )
    def test_targets_per_step_and_per_sequence(self, targets, expected):
        (batch,) = ArrayLoader(np.zeros((4, 5, 3)), targets, 4)
        assert batch.inputs.shape == (5, 4, 3)
        assert batch.targets.shape == expected
        assert batch.inputs.flags.c_contiguous

    def test_length_and_drop_last(self):
        arrays = np.zeros((10, 5, 3)), np.zeros(10, int)
        assert [batch.size for batch in ArrayLoader(*arrays, 4)] == [4, 4, 2]
        assert len(ArrayLoader(*arrays, 4)) == 3
        assert [batch.size for batch in ArrayLoader(*arrays, 4, drop_last=True)] == [4, 4]
        assert len(ArrayLoader(*arrays, 4, drop_last=True)) == 2

    def test_skipped_batches_are_left_out_of_the_next_iteration_alone(self):
        whole, loader = (ArrayLoader(np.arange(60).reshape(20, 3), np.arange(20), 6) for _ in range(2))
        for skipped in (2, 0, 4, 9):
            loader.skip_batches(skipped)
            assert_same(list(loader), list(whole)[skipped:])
        assert_same(list(loader), list(whole))

    def test_same_seed_same_batches_and_epoch_repeats_an_iteration(self):
        one, other, third = (ArrayLoader(np.arange(60).reshape(20, 3), np.arange(20), 6, seed=s) for s in (5, 5, 6))
        epochs = [list(one) for _ in range(3)]
        other.set_epoch(3)
        assert_same(list(other), epochs[2])
        assert differ(epochs[0], epochs[1])
        assert differ(epochs[0], list(third))

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("name", ["inputs", "targets"])
    def test_names_the_position_of_a_value_that_is_not_finite(self, name, wrong):
        arrays = {"inputs": np.zeros((4, 5, 3), np.float32), "targets": np.zeros((4, 5, 1), np.float32)}
        arrays[name][2, 3, 0] = arrays[name][3, 0, 0] = wrong
        with pytest.raises(DataError, match=rf"{name}: .* got {wrong} at \(2, 3, 0\) \(the first of 2\)"):
            ArrayLoader(**arrays, batch_size=2)

    def test_values_whose_sum_overflows_are_fine(self):
        largest = np.finfo(np.float64).max
        assert len(ArrayLoader(np.full((4, 5, 3), largest), np.zeros(4, int), 2)) == 2

    @pytest.mark.parametrize(
        ("options", "error", "expected"),
        [
            ({"inputs": np.zeros((4, 5))}, ShapeError, r"inputs: expected floats \(sequences, seq_len, features\)"),
            ({"inputs": np.zeros((0, 5, 3)), "targets": np.zeros(0, int)}, DataError, r"one sequence.*\(0, 5, 3\)"),
            ({"inputs": np.full((4, 5), -1)}, DataError, r"inputs: .*got -1 at \(0, 0\)"),
            ({"targets": np.zeros(5, int)}, ShapeError, r"targets int64 \(5,\).*\(4, 5, 3\)"),
            ({"targets": np.zeros((5, 4), int)}, ShapeError, r"targets int64 \(5, 4\).*\(4, 5, 3\)"),
            ({"targets": np.zeros(4)}, ShapeError, r"targets float64 \(4,\).*\n.*targets\[\.\.\., None\]"),
            ({"targets": [0, 1, -2, 3]}, DataError, "targets: .*got -2 at 2"),
            ({"mask": np.ones((5, 4), bool)}, ShapeError, r"mask of shape \(5, 4\).*\(4, 5, 3\)"),
            ({"mask": np.ones((4, 5), int)}, DataError, "mask: expected booleans, got int64"),
            ({"inputs": [[1, 2], [3]]}, ShapeError, "inputs: .* differ in length.*\n.*SequenceLoader"),
            (
                {"mask": np.repeat([[True], [True], [False], [True]], 5, 1)},
                DataError,
                "all steps of sequence 2 are masked",
            ),
            ({"batch_size": 0}, OptionError, "batch_size: expected an integer >= 1, got 0"),
            ({"batch_size": 5, "drop_last": True}, OptionError, "no batch is left of 4 sequences with batch_size 5"),
            ({"seed": 0.5}, OptionError, r"seed: expected an integer >= 0, got 0\.5"),
        ],
    )
    def test_bad_input(self, options, error, expected):
        with pytest.raises(error, match=expected):
            ArrayLoader(**{"inputs": np.zeros((4, 5, 3)), "targets": np.zeros(4, int), "batch_size": 2} | options)
