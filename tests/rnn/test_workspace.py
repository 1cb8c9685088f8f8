from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn.workspace import Workspace


@given(shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=30))
def test_arrays_have_their_shape_are_aligned_and_share_the_memory_of_the_largest(shapes: list[tuple[int, int]]) -> None:
    work = Workspace("float32")
    for shape in shapes:
        array = work.array("a", shape)
        assert (array.shape, array.dtype) == (shape, np.float32)
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous
        assert work.array("a", shape) is array
    arrays = [work.array("a", shape) for shape in shapes]
    assert all(np.shares_memory(array, arrays[0]) for array in arrays)
    assert not np.shares_memory(work.array("b", shapes[0]), arrays[0])


def test_steps_are_views_that_follow_the_array_when_it_grows() -> None:
    work = Workspace("float64")
    work.steps("a", (2, 3))
    work.array("a", (50, 3))
    array, steps = work.array("a", (2, 3)), work.steps("a", (2, 3))
    array[1] = 7.0
    assert [step.tolist() for step in steps[1:]] == [[7.0, 7.0, 7.0]]


def test_fresh_memory_is_filled_and_used_memory_is_not() -> None:
    work = Workspace("float64")
    array = work.array("a", (4,), fill=1.0)
    assert array.tolist() == [1.0] * 4
    array[0] = 5.0
    assert work.array("a", (2,), fill=1.0).tolist() == [5.0, 1.0]
    assert work.array("a", (8,), fill=1.0).tolist() == [1.0] * 8


def test_many_shapes_do_not_pile_up() -> None:
    work = Workspace("float64")
    for size in range(1, 2000):
        work.steps("a", (size, 1))
    assert len(work._arrays) <= 512
    assert len(work._steps) <= 512
