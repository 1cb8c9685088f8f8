from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn.linalg.workspace import Workspace


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


def test_a_workspace_and_its_parts_share_one_scratch_array() -> None:
    work = Workspace("float64")
    below = work.part("0").part("l0")
    assert np.shares_memory(work.scratch((2, 3)), below.scratch((6,)))
    assert np.shares_memory(below.scratch((50, 2)), work.part("1").scratch((3,)))
    assert not np.shares_memory(work.scratch((3,)), work.array("scratch", (3,)))


def test_memory_that_grows_is_never_held_twice() -> None:
    work, sizes = Workspace("float64"), (100_000, 110_000)
    work.array("a", sizes[:1])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work.array("a", sizes[1:])
        work.array("a", (120_000,))
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 8 * 125_000


def test_a_workspace_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        work = Workspace("float64")
        work.part("0").scratch((3,))
        freed = weakref.ref(work)
        del work
        assert freed() is None
    finally:
        gc.enable()
