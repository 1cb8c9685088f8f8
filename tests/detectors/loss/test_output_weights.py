"""The scale of output weights: about 0.6 for common initializations."""

import numpy as np
import pytest

from rnncallbacks.detectors.loss.output_weights import output_weight_scale


def test_the_size_of_output_weights():
    generator = np.random.default_rng(0)
    usual = {"head": generator.uniform(-1, 1, (30, 64)) / 8.0, "Whh": np.eye(64)}
    assert output_weight_scale(usual, 30) == pytest.approx(0.577, rel=0.05)
    assert output_weight_scale({**usual, "head": 30.0 * usual["head"]}, 30) > 3.0


def test_without_an_output_layer_it_is_zero():
    assert output_weight_scale({"bias": np.ones(30), "Whh": np.ones((8, 8))}, 30) == 0.0


def test_one_output_has_the_shortest_column_that_is_no_bias():
    lstm = {"w": np.ones((64, 17)), "b": np.r_[np.zeros(32), np.ones(32)][:, None], "v": np.linspace(-1, 1, 16)[None]}
    expected = np.linalg.norm(lstm["v"])
    assert output_weight_scale(lstm, 1) == pytest.approx(expected)
    assert output_weight_scale({**lstm, "c": np.zeros((1, 1)), "h": np.zeros((16, 1))}, 1) == pytest.approx(expected)
    assert output_weight_scale({"b": np.zeros((16, 1))}, 1) == 0.0


@pytest.mark.parametrize(("norms", "scale"), [((1.0, 2.0), 2.0), ((1.0, 8.0), 0.0)])
def test_vectors_as_long_as_the_state_bound_the_weights_of_one_output(norms, scale):
    vectors = [np.random.default_rng(number).normal(size=16) for number in (1, 2)]
    u, v = (norm * vector / np.linalg.norm(vector) for norm, vector in zip(norms, vectors, strict=True))
    params = {"u": u, "w": np.eye(16), "b": np.zeros(16), "v": v, "c": np.zeros(1)}
    assert output_weight_scale(params, 1) == pytest.approx(scale)
