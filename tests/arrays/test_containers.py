"""Containers of arrays: the flat buffer and its views, paths, and what is refused."""

import copy
import pickle
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

from rnncallbacks.arrays.containers import FlatArrays, all_finite, map_arrays, named_arrays, parameters_of
from rnncallbacks.errors import ContainerError
from rnncallbacks.rnn.model import RecurrentModel

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


def arrays(**shapes):
    return {name: np.zeros(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("added", ["d{}", "grad_{}", "{}_grad", "{}"])
def test_a_name_with_something_added_is_enough(added):
    params = arrays(Wxh=(4, 3), Whh=(4, 4), bh=(4, 1), Why=(4, 4))
    gradients = {added.format(name): array.copy() for name, array in params.items()}
    pairs = parameters_of(gradients, params)
    assert {name: id(array) for name, array in pairs.items()} == {
        added.format(name): id(array) for name, array in params.items()
    }


@pytest.mark.parametrize("named", ["{0}.d{1}", "{0}.{1}_grad", "d_{0}.d{1}", "grads.{0}.g_{1}", "{0}.{1}"])
def test_nested_names_pair_key_by_key(named):
    params = {f"{layer}.{name}": np.zeros((4, 4)) for layer in ("l1", "l2", "1") for name in ("W_hh", "W_xh")}
    wanted = {named.format(*name.replace("_", "").split(".")): id(array) for name, array in params.items()}
    if named.startswith("d_"):  # a position has no prefix
        wanted = {name: array for name, array in wanted.items() if not name.startswith("d_1")}
    pairs = parameters_of({name: np.zeros((4, 4)) for name in wanted}, params)
    assert {name: id(array) for name, array in pairs.items()} == wanted


def test_positions_pair_where_shapes_are_unique_and_nowhere_else():
    params = arrays(Wf=(4, 4), Wi=(4, 4), Why=(3, 4), by=(3, 1))
    gradients = {str(place): array.copy() for place, array in enumerate(params.values())}
    pairs = parameters_of(gradients, params)
    assert set(pairs) == {"2", "3"}
    assert pairs["2"] is params["Why"]


def test_lists_of_both_pair_by_position():
    params = {str(place): np.zeros((4, 4)) for place in range(3)}
    gradients = {name: array.copy() for name, array in params.items()}
    assert parameters_of(gradients, params)["1"] is params["1"]


def test_two_gradients_that_claim_one_parameter_are_both_in_doubt():
    params = arrays(h=(4, 4), x=(4, 4))
    assert set(parameters_of(arrays(dh=(4, 4), gh=(4, 4), dx=(4, 4)), params)) == {"dx"}


def test_a_shape_that_differs_is_no_pair():
    assert parameters_of(arrays(w=(3, 4)), arrays(w=(4, 3))) == {}


@pytest.mark.parametrize(("value", "finite"), [(1.7e308, True), (np.nan, False), (np.inf, False), (-np.inf, False)])
def test_one_entry_decides_whether_all_are_finite(value, finite):
    assert all_finite([np.zeros(2), np.array([[0.0, value]])]) == finite
    assert all_finite([])


class Network:
    """A script's own class, whose arrays are attributes."""

    def __init__(self):
        self.W, self.b, self.rate, self.seen = np.zeros((2, 2)), np.zeros(2), 0.1, np.zeros(3, int)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (Network(), r"params: expected .*, got Network\n  hint: pass its arrays: \{'W': model.W, 'b': model.b\}"),
        (vars(Network()), r"params at 'rate': expected .*, got float\n  hint: leave it out, or make it an array"),
        ({"name": "tanh"}, r"params at 'name': expected .*, got str\n  hint: leave it out: a container holds arrays"),
        (RecurrentModel(4, vocab_size=3), r"got RecurrentModel\n  hint: pass its arrays: model.parameters"),
    ],
    ids=["object", "vars", "text", "model"],
)
def test_what_is_no_array_is_told_what_to_pass(given, hint):
    with pytest.raises(ContainerError, match=hint):
        named_arrays(given, "params")
