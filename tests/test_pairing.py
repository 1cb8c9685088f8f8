"""Gradients find their parameters by name or by shape, and none is guessed."""

import numpy as np
import pytest

from rnncallbacks.pairing import parameters_of


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
