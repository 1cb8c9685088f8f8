"""Inputs that saturate the units at the first batch, by their own scale and that of the initial input weights."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.state.input_scale import check_input_scale

H, T, B = 16, 9, 4


def draw(*shape):
    return np.random.default_rng(len(shape)).normal(0, 0.25, shape)


LAYOUTS = {
    "columns": {"u": draw(H, 1), "w": draw(H, H), "b": np.zeros((H, 1)), "v": draw(1, H)},
    "stacked": {"w": draw(4 * H, H + 1), "b": np.zeros((4 * H, 1)), "v": draw(1, H), "c": np.zeros((1, 1))},
    "rows": {"u": draw(1, 3 * H), "w": draw(H, 3 * H), "b": np.zeros(3 * H), "v": draw(H, 1)},
}


def check(scale, params, features=1):
    inputs = scale * np.random.default_rng(0).normal(size=(T, B, features))
    return check_input_scale(Batch((inputs, inputs), "train", 1, batch_size=B), params).finding


@pytest.mark.parametrize("name", LAYOUTS)
def test_large_inputs_are_named_with_the_number_to_divide_them_by(name):
    finding = check(200.0, LAYOUTS[name])
    assert (finding.code, finding.severity) == ("RNN407", "warning")
    assert "scale the inputs" in finding.remedy
    assert f"{finding.evidence['input_deviation']:.4g}" in finding.remedy
    assert len(finding.message.partition(":")[0]) <= 80
    assert check(1.0, LAYOUTS[name]) is None


def test_large_inputs_of_small_weights_saturate_nothing():
    assert check(200.0, {name: 0.05 * array for name, array in LAYOUTS["columns"].items()}) is None


def test_tokens_have_no_scale():
    tokens = np.full((T, B), 500)
    assert check_input_scale(Batch((tokens, tokens), "train", 1), LAYOUTS["columns"]).finding is None
