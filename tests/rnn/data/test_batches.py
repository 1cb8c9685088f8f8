import numpy as np
import pytest
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, ShapeError
from rnncallbacks.rnn.data.batches import SequenceBatch


class TestSequenceBatch:
    def test_counts_positions_without_a_mask(self):
        batch = SequenceBatch(np.zeros((5, 3), int), np.zeros((5, 3), int))
        assert (batch.size, batch.tokens, batch.last_step) == (3, 15, False)

    def test_counts_positions_with_a_mask(self):
        mask = np.zeros((5, 3), bool)
        mask[:2] = True
        assert SequenceBatch(np.zeros((5, 3), int), np.zeros((5, 3), int), mask=mask).tokens == 6

    @pytest.mark.parametrize("targets", [np.zeros(3, int), np.zeros((3, 2), np.float32)])
    def test_counts_sequences_for_a_last_step_target(self, targets):
        mask = np.ones((5, 3), bool)
        batch = SequenceBatch(np.zeros((5, 3, 4), np.float32), targets, mask=mask)
        assert (batch.tokens, batch.last_step) == (3, True)

    @pytest.mark.parametrize(
        ("arrays", "expected"),
        [
            ({"inputs": np.zeros((5, 3))}, r"inputs: expected floats \(seq_len, batch, features\).* float64 \(5, 3\)"),
            ({"inputs": np.zeros((5, 3, 1), int)}, r"got int64 \(5, 3, 1\)"),
            ({"targets": np.zeros((3, 5), int)}, r"targets int64 \(3, 5\) do not match inputs of shape \(5, 3\)"),
            ({"targets": np.zeros(5, int)}, r"targets int64 \(5,\).*\(5, 3\)"),
            ({"targets": np.zeros((5, 2))}, r"targets float64 \(5, 2\).*\(5, 3\)"),
            ({"targets": np.zeros((5, 3, 2), int)}, r"targets int64 \(5, 3, 2\).*\(5, 3\)"),
            ({"targets": np.zeros((5, 3, 2, 2))}, r"targets float64 \(5, 3, 2, 2\).*\(5, 3\)"),
            ({"mask": np.ones((3, 5), bool)}, r"mask of shape \(3, 5\).*\(5, 3\)"),
            ({"starts": np.ones(5, bool)}, r"starts of shape \(5,\).*\(5, 3\): expected \(3,\)"),
        ],
    )
    def test_names_both_shapes(self, arrays, expected):
        with pytest.raises(ShapeError, match=expected):
            SequenceBatch(**{"inputs": np.zeros((5, 3), int), "targets": np.zeros((5, 3), int)} | arrays)

    @pytest.mark.parametrize(
        ("arrays", "expected"),
        [
            ({"inputs": np.zeros((5, 0), int), "targets": np.zeros((5, 0), int)}, r"at least one sequence.*\(5, 0\)"),
            ({"inputs": np.zeros((0, 3), int), "targets": np.zeros((0, 3), int)}, r"of one step.*\(0, 3\)"),
            ({"inputs": np.zeros((5, 3), bool)}, "inputs: expected token numbers.* got bool"),
            ({"targets": np.full((5, 3), "a")}, "targets: expected token numbers.* got <U1"),
            ({"mask": np.ones((5, 3))}, "mask: expected booleans, got float64"),
            ({"mask": np.zeros((5, 3), bool)}, "mask: all positions are masked"),
            ({"starts": np.ones(3, int)}, "starts: expected booleans, got int64"),
        ],
    )
    def test_refuses_what_cannot_be_trained_on(self, arrays, expected):
        with pytest.raises(DataError, match=expected):
            SequenceBatch(**{"inputs": np.zeros((5, 3), int), "targets": np.zeros((5, 3), int)} | arrays)

    @pytest.mark.parametrize("name", ["inputs", "targets", "mask", "starts"])
    def test_refuses_what_is_no_array(self, name):
        arrays = {"inputs": np.zeros((5, 3), int), "targets": np.zeros((5, 3), int)}
        with pytest.raises(DataError, match=f"{name}: expected an array, got list"):
            SequenceBatch(**arrays | {name: [[True, False]]})

    def test_numbers_that_are_no_floats_yet_are_told_from_tokens(self):
        floats, integers = np.zeros((3, 2, 4)), np.zeros((3, 2, 4), int)
        with pytest.raises(ShapeError) as caught:
            SequenceBatch(integers, floats)
        assert "inputs.astype(np.float32)" in caught.value.hint
        with pytest.raises(ShapeError) as caught:
            SequenceBatch(floats, integers)
        assert "targets.astype(np.float32)" in caught.value.hint


SEQUENCES = st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=15), min_size=1, max_size=60)
