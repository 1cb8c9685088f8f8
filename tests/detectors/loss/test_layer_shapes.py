"""Hidden units and output classes, by the shapes and the gradients of parameters."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.layer_shapes import has_gates, hidden_sizes, sums_to_zero, zero_sum_lengths
from rnncallbacks.detectors.loss.output_weights import output_weight_scale
from rnncallbacks.detectors.loss.target_classes import find_target_classes

H, X, V = 24, 7, 6


@pytest.mark.parametrize(
    "shapes",
    [
        [(H, X), (H, H), (H,), (V, H), (V,)],
        [(X, H), (H, H), (1, H), (H, V), (1, V)],
        [(4 * H, H + X), (4 * H,), (V, H), (V,)],
        [(H + X, 3 * H), (1, 3 * H), (H, V), (1, V)],
        [(4 * H, X), (4 * H, H), (4 * H,), (V, H), (V,)],
        [(H, H + X), (H, 1), (V, H), (V, 1)],
    ],
)
def test_the_classes_are_neither_hidden_units_nor_gates_nor_a_stacked_input(shapes):
    params = {str(place): np.zeros(shape) for place, shape in enumerate(shapes)}
    assert hidden_sizes(params).units == {H}
    targets = np.array([[0, V - 1], [1, 0]])
    assert find_target_classes(Batch((targets, targets), "train", 1), params).candidates == (V,)


def test_the_gradient_of_a_softmax_sums_to_zero_over_the_classes():
    rng = np.random.default_rng(0)
    difference = rng.normal(size=(V, 50))
    difference -= difference.mean(axis=0)
    states = rng.normal(size=(50, H))
    gradients = {"bias": difference.sum(axis=1), "head": difference @ states, "hidden": rng.normal(size=H)}
    assert zero_sum_lengths(gradients) == {V}
    assert sums_to_zero(gradients["head"], 0)
    assert not sums_to_zero(gradients["head"], 1)
    assert zero_sum_lengths({"bias": np.zeros(V)}) == set()


def test_input_weights_as_wide_as_the_vocabulary_are_no_output_weights():
    rng = np.random.default_rng(0)
    params = {"inputs": np.full((H, V), 2.0), "recurrent": np.eye(H), "head": np.full((V, H), 0.1)}
    assert output_weight_scale(params, V) == pytest.approx(0.1 * H**0.5)
    params["head"] *= 100.0
    difference = rng.normal(size=(V, 9))
    difference -= difference.mean(axis=0)
    gradients = {"inputs": rng.normal(size=(H, V)), "recurrent": np.eye(H), "head": difference @ np.ones((9, H))}
    assert output_weight_scale(params, V, gradients) == pytest.approx(10.0 * H**0.5)


@pytest.mark.parametrize(
    ("shapes", "gated"),
    [
        ({"x": (H, 3 * H), "recurrent": (H, H), "b": (H,), "head": (3 * H, H), "head_bias": (3 * H,)}, False),
        ({"x": (H, 4 * H), "recurrent": (H, H), "b": (H, 1), "head": (H, 4 * H), "head_bias": (1, 4 * H)}, False),
        ({"x": (3 * H, X), "recurrent": (3 * H, H), "b": (3 * H,), "head": (3 * H, H), "head_bias": (3 * H,)}, True),
        ({"x": (2 * H, X), "recurrent": (H, H), "b": (2 * H,), "head": (V, H), "head_bias": (V,)}, True),
        ({"x": (3 * H, X), "recurrent": (3 * H, H), "head": (3 * H, H), "head_bias": (3 * H,)}, True),
        ({"x": (X, H), **dict.fromkeys("abc", (H, H)), "head": (H, V), "head_bias": (V,)}, False),
        ({**{f"x{n}": (X, H) for n in "zrn"}, **dict.fromkeys("zrn", (H, H)), "head": (H, V), "head_bias": (V,)}, True),
        ({**{f"x{n}": (H, H) for n in "zrn"}, **dict.fromkeys("zrn", (H, H)), "head": (H, V), "head_bias": (V,)}, True),
    ],
)
def test_as_many_classes_as_gates_would_be_long_are_no_gates(shapes, gated):
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    gradients = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    gradients["head_bias"] -= gradients["head_bias"].mean()
    assert has_gates(params, gradients) is gated
