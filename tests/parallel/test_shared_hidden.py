"""Carried states of all rows and of one rank: dividing what was joined gives the parts."""

import numpy as np
import pytest

from rnncallbacks.parallel.shared_hidden import divided, joined


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_parts_of_a_state_are_joined_in_the_order_of_the_ranks(ranks: int) -> None:
    axes = {"0": 1, "1": 0}
    state = (np.arange(12.0).reshape(3, 4), np.arange(4.0))
    due = np.array([False, True, False, False])
    saved = {"carried": state, "due": due}
    parts = [divided(saved, axes, rank, ranks) for rank in range(ranks)]
    assert all(part["carried"][1].shape[0] >= 1 for part in parts)
    rows = [len(part["carried"][1]) if rank < 4 else 0 for rank, part in enumerate(parts)]
    whole = joined(list(zip(rows, parts, strict=True)), axes)
    for one, other in zip(whole["carried"], state, strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole["due"].tolist() == due.tolist()


def test_a_rank_without_a_state_leaves_nothing_to_carry() -> None:
    one = {"carried": np.zeros((2, 3)), "due": None}
    assert joined([(2, one), (2, {"carried": None, "due": None})], {"": 0}) == {"carried": None, "due": None}


def test_rows_to_reset_of_one_rank_are_marked_among_all() -> None:
    one, two = ({"carried": np.zeros((2, 3)), "due": due} for due in (None, np.array([True, False])))
    assert joined([(2, one), (2, two)], {"": 0})["due"].tolist() == [False, False, True, False]
