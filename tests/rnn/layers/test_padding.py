from __future__ import annotations

import numpy as np
import pytest

from rnncallbacks.rnn.layers.padding import Reversal, sequence_lengths


def test_the_last_step_that_counts() -> None:
    mask = np.array([[True, False, False, True], [False, False, True, True], [False, False, False, True]])
    assert sequence_lengths(mask).tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("lengths", [None, [4, 1, 0]])
def test_reversed_twice_is_the_original(lengths: list[int] | None) -> None:
    array = np.arange(24.0).reshape(4, 3, 2)
    reversal = Reversal(None if lengths is None else np.array(lengths), 4)
    np.testing.assert_array_equal(reversal(reversal(array)), array)
    assert not np.shares_memory(reversal(array), array)


def test_padding_stays_where_it_is() -> None:
    tokens = np.array([[1, 4, 7], [2, 5, 0], [3, 0, 0]])
    assert Reversal(np.array([3, 2, 1]), 3)(tokens).T.tolist() == [[3, 2, 1], [5, 4, 0], [7, 0, 0]]
