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
