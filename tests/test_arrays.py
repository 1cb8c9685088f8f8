"""Containers of arrays: the flat buffer and its views, paths, and what is refused."""

import copy
import pickle
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

from rnncallbacks.arrays import FlatArrays, map_arrays, named_arrays
from rnncallbacks.errors import ContainerError

SHAPES = {"weight": (2, 3), "bias": (2,), "scale": (), "none": (0, 4)}


def test_the_arrays_are_views_of_one_buffer_in_the_order_of_the_shapes():
    arrays = FlatArrays(SHAPES)
    arrays["weight"][:] = 1.0
    arrays["bias"][:] = 2.0
    arrays["scale"][...] = 3.0
    assert arrays.flat.tolist() == [1, 1, 1, 1, 1, 1, 2, 2, 3]
    arrays.flat *= 2
    assert arrays["weight"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert {name: array.shape for name, array in arrays.items()} == SHAPES
    assert all(np.shares_memory(array, arrays.flat) for array in arrays.values() if array.size)


def test_the_buffer_is_float32_unless_told_otherwise():
    assert FlatArrays(SHAPES).flat.dtype == np.float32
    assert FlatArrays(SHAPES, dtype="float64")["bias"].dtype == np.float64


def test_zeros_like_has_the_same_names_shapes_and_dtype_and_memory_of_its_own():
    arrays = FlatArrays(SHAPES, dtype="float64")
    arrays.flat[:] = 1.0
    others = arrays.zeros_like()
    assert list(others) == list(arrays)
    assert [one.shape for one in others.values()] == [one.shape for one in arrays.values()]
    assert others.flat.dtype == np.float64
    assert not others.flat.any()
    assert not np.shares_memory(others.flat, arrays.flat)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda arrays: pickle.loads(pickle.dumps(arrays))])
def test_a_copy_is_independent_and_its_arrays_are_still_views_of_its_buffer(copied):
    arrays = FlatArrays(SHAPES)
    arrays.flat[:] = np.arange(9)
    kept = copied({"best": arrays})["best"]
    arrays.flat[:] = 0.0
    assert kept["bias"].tolist() == [6, 7]
    kept.flat[:] = 1.0
    assert kept["bias"].tolist() == [1, 1]
    assert not arrays.flat.any()


def test_paths_join_keys_and_positions_in_the_containers_order():
    w, b, h = np.zeros((2, 2)), np.zeros(2), np.zeros(())
    found = named_arrays(OrderedDict([("z", [w, (b, None)]), ("a", {0: h})]))
    assert list(found) == ["z.0", "z.1.0", "a.0"]
    assert found["z.0"] is w
    assert found["z.1.0"] is b
    assert found["a.0"] is h


def test_a_bare_array_has_the_empty_path_and_nothing_has_none():
    array = np.zeros(2)
    assert list(named_arrays(array).values()) == [array]
    assert list(named_arrays(array)) == [""]
    assert named_arrays(None) == {}
    assert named_arrays([]) == {}


def test_flat_arrays_are_a_container_like_any_other():
    assert list(named_arrays({"cell": FlatArrays({"w": (1,), "b": (1,)})})) == ["cell.w", "cell.b"]


@pytest.mark.parametrize("leaf", [1.0, "word", {1, 2}, np.float64(1.0), object()])
def test_a_leaf_that_is_no_array_is_refused_with_its_place_and_type(leaf):
    with pytest.raises(ContainerError, match=rf"gradients at 'cell\.1': .*got {type(leaf).__name__}"):
        named_arrays({"cell": [np.zeros(1), leaf]}, "gradients")


def test_a_bare_leaf_that_is_no_array_is_refused():
    with pytest.raises(ContainerError, match=r"params: expected a NumPy array.*got float"):
        named_arrays(1.5, "params")


@pytest.mark.parametrize("container", [{"a.b": np.ones(1), "a": {"b": np.ones(1)}}, {0: np.ones(1), "0": np.ones(1)}])
def test_two_arrays_of_one_path_are_refused(container):
    with pytest.raises(ContainerError, match="two arrays have the path"):
        named_arrays(container)


State = namedtuple("State", ["hidden", "cell"])


@pytest.mark.parametrize(
    "container",
    [
        np.ones(2),
        [np.ones(2), None],
        (np.ones(2), np.ones(3)),
        State(np.ones(2), np.ones(2)),
        {"hidden": np.ones(1), "layers": [(np.ones(2),)]},
    ],
    ids=lambda container: type(container).__name__,
)
def test_map_arrays_keeps_the_structure_and_changes_each_array(container):
    mapped = map_arrays(lambda array: array * 3, container)
    assert type(mapped) is type(container)
    before, after = named_arrays(container), named_arrays(mapped)
    assert list(before) == list(after)
    assert all((after[name] == 3).all() and (before[name] == 1).all() for name in before)
