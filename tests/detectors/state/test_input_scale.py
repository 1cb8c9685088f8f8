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


@pytest.mark.parametrize(("scale", "found"), [(150.0, True), (0.5, False)])
def test_embeddings_that_saturate_the_units_are_named(scale, found):
    rng = np.random.default_rng(0)
    params = {
        "E": scale * rng.normal(size=(30, 8)),
        "W": rng.normal(size=(8, 64)) / np.sqrt(8),
        "U": rng.normal(size=(16, 64)) / 4,
        "b": np.zeros(64),
        "w": rng.normal(size=(16, 2)),
    }
    finding = check_input_scale(Batch((np.zeros((9, 4), int), np.zeros(4, int)), "train", 1), params).finding
    assert (finding is not None) is found
    if found:
        assert "'E'" in finding.message
        assert len(finding.message.partition(":")[0]) <= 80
