"""Recurrent weights of a large spectral radius, and gradients that grow with it."""

import numpy as np
import pytest

from rnncallbacks.detectors.gradient.recurrent_gain import RecurrentGain
from rnncallbacks.detectors.gradient.spectral_radius import recurrent_radius

ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]


def params(radius):
    return {"Wx": np.ones((3, 12)), "Wh": radius * ROTATION, "Wy": np.ones((12, 2)), "b": np.ones((12, 1))}


def gradients(ratio):
    generator, norms = np.random.default_rng(1), {"Wx": 0.3137, "Wh": 0.7371 * ratio, "Wy": 0.7371, "b": 9.1733}
    found = {name: generator.normal(size=array.shape) for name, array in params(1.0).items()}
    return {name: array * norms[name] / np.linalg.norm(array) for name, array in found.items()}


@pytest.mark.parametrize(
    ("radius", "ratio", "fires", "doubts"),
    [(4.0, 12.0, True, True), (4.0, 2.0, False, True), (1.2, 12.0, False, False), (1.6, 2.0, False, False)],
)
def test_both_signals_are_needed(radius, ratio, fires, doubts):
    gain = RecurrentGain()
    result = gain.add(gradients(ratio), params(radius), max_norm=5.0)
    assert (result.finding is not None, list(result.withdrawn)) == (fires, ["RNN401"] * doubts)
    assert bool(gain.doubt) is doubts
    if fires:
        assert result.finding.evidence["ratio"] == pytest.approx(ratio)
        assert len(result.finding.message.partition(":")[0]) <= 80
        assert gain.over


def test_gradients_that_came_clipped_do_not_explode():
    given = gradients(12.0)
    norm = np.sqrt(sum(float((one**2).sum()) for one in given.values()))
    assert RecurrentGain().add({k: v * 5.0 / norm for k, v in given.items()}, params(4.0), max_norm=5.0).finding is None


def test_twenty_batches_are_compared():
    gain = RecurrentGain()
    for _ in range(20):
        assert not gain.over
        gain.add(gradients(1.0), params(4.0), max_norm=5.0)
    assert gain.over


@pytest.mark.parametrize("scale", [0.0, 1e-30, 0.9, 4.0, 1e30])
def test_the_radius_neither_overflows_nor_vanishes(scale):
    assert recurrent_radius({"W": scale * ROTATION}) == ("W" if scale else "", pytest.approx(scale))


def test_the_radius_is_close_to_the_eigenvalue():
    for seed in range(5):
        matrix = np.random.default_rng(seed).normal(size=(40, 40)) / np.sqrt(40.0)
        assert recurrent_radius({"W": matrix})[1] == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=0.1)


@pytest.mark.parametrize("shape", ["three axes", "columns", "rows"])
def test_each_gate_has_a_recurrent_matrix(shape):
    gates = [0.9 * ROTATION, 1.1 * ROTATION, 6.0 * ROTATION]
    array = {"three axes": np.array(gates), "columns": np.hstack(gates), "rows": np.vstack(gates)}[shape]
    assert recurrent_radius({"V": np.ones((12, 3)), "U": array}) == ("U", pytest.approx(6.0))
