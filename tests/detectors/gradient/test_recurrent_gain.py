"""Recurrent weights of a large spectral radius, and gradients that grow with it."""

import attrs
import numpy as np
import pytest

from rnncallbacks.detectors.gradient.recurrent_gain import RecurrentGain
from rnncallbacks.detectors.gradient.spectral_radius import recurrent_radius
from rnncallbacks.detectors.gradient.update_tracker import MeasuredUpdate

ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]


def params(radius):
    return {"Wx": np.ones((3, 12)), "Wh": radius * ROTATION, "Wy": 0.1 * np.ones((12, 2)), "b": np.ones((12, 1))}


def gradients(ratio):
    generator, norms = np.random.default_rng(1), {"Wx": 0.3137, "Wh": 0.7371 * ratio, "Wy": 0.7371, "b": 9.1733}
    found = {name: generator.normal(size=array.shape) for name, array in params(1.0).items()}
    return {name: array * norms[name] / np.linalg.norm(array) for name, array in found.items()}


FIRST = MeasuredUpdate(gradient_norm=1.3, relative_size=0.02, clipped_size=0.1, cosine=1.0, is_first=True)
LATER = attrs.evolve(FIRST, gradient_norm=9.2, is_first=False)


def play(weights, ratios, later=LATER, first=FIRST, change=dict):
    """The gain after batches with these ratios, the result of the first one, and the last finding."""
    gain = RecurrentGain()
    results, findings = [], []
    for batch, ratio in enumerate(ratios):
        results.append(gain.add(change(gradients(ratio)), weights, max_norm=5.0))
        findings.append(gain.add_update(first if batch == 0 else later, max_norm=5.0))
    return gain, results[0], findings[-1]


@pytest.mark.parametrize(
    ("radius", "ratio", "fires", "doubts"),
    [(4.0, 12.0, True, True), (4.0, 2.0, False, True), (1.2, 12.0, False, False), (1.6, 2.0, False, False)],
)
def test_both_signals_are_needed(radius, ratio, fires, doubts):
    gain, first, finding = play(params(radius), [ratio, ratio])
    assert (finding is not None, list(first.withdrawn)) == (fires, ["RNN401"] * doubts)
    assert bool(gain.doubt) is doubts
    if fires:
        assert finding.evidence["ratio"] == pytest.approx(ratio)
        assert len(finding.message.partition(":")[0]) <= 80
        assert gain.over


def test_one_batch_is_no_proof():
    assert play(params(4.0), [2.0, 12.0])[2] is None
    assert play(params(4.0), [12.0, 2.0])[2] is None
    assert play(params(4.0), [2.0, 12.0, 12.0])[2] is not None


def test_gradients_below_the_bound_do_not_explode():
    assert play(params(4.0), [12.0, 12.0], change=lambda grads: {k: 0.3 * v for k, v in grads.items()})[2] is None


def test_large_output_weights_explain_the_ratio():
    weights = params(4.0)
    assert play({**weights, "Wy": 5.0 * weights["Wy"]}, [12.0, 12.0])[2] is not None  # largest singular value 2.4
    assert play({**weights, "Wy": 20.0 * weights["Wy"]}, [12.0, 12.0])[2] is None  # 9.8


@pytest.mark.parametrize(
    "changes",
    [
        {"first": attrs.evolve(FIRST, cosine=0.6)},  # an adaptive optimizer, or clipped entries
        {"later": attrs.evolve(FIRST, gradient_norm=9.2, clipped_size=0.05, is_first=False)},  # a clipped norm
        {"later": attrs.evolve(FIRST, gradient_norm=9.2, cosine=0.6, is_first=False)},
        {"first": attrs.evolve(FIRST, gradient_norm=8.9)},  # both may have been clipped
    ],
)
def test_gradients_whose_length_does_not_reach_the_parameters_do_no_harm(changes):
    assert play(params(4.0), [12.0, 12.0], **changes)[2] is None


def test_gradients_that_came_clipped_do_not_explode():
    def clipped(given):
        norm = np.sqrt(sum(float((one**2).sum()) for one in given.values()))
        return {k: v * 5.0 / norm for k, v in given.items()}

    gain, _, finding = play(params(4.0), [12.0, 12.0, 12.0], change=clipped)
    assert finding is None
    assert gain.over


def test_a_bias_is_not_taken_for_output_weights_of_one_unit():
    weights = {"Wx": np.ones((2, 12)), "Wh": 4.0 * ROTATION, "Wy": 0.1 * np.ones((12, 1)), "b": np.ones((1, 12))}
    grads = {"Wx": np.full((2, 12), 0.1), "Wy": np.full((12, 1), 2.3), "Wh": 2.1 * ROTATION, "b": np.full((1, 12), 0.1)}
    gain = RecurrentGain()
    for update in (FIRST, LATER):
        gain.add(grads, weights, max_norm=5.0)
        assert gain.add_update(update, max_norm=5.0) is None
    assert gain.doubt


def test_output_weights_of_one_unit_are_found_beside_an_input_matrix():
    weights = {"synapse_0": np.ones((2, 12)), "synapse_1": 0.1 * np.ones((12, 1)), "synapse_h": 4.0 * ROTATION}
    grads = {"synapse_0": np.full((2, 12), 0.1), "synapse_1": np.full((12, 1), 2.3), "synapse_h": 2.1 * ROTATION}
    gain = RecurrentGain()
    for update in (FIRST, LATER):
        gain.add(grads, weights, max_norm=5.0)
        assert gain.add_update(update, max_norm=5.0) is None
    assert gain.doubt


def test_twenty_batches_are_compared():
    assert not play(params(4.0), [1.0] * 20)[0].over
    assert play(params(4.0), [1.0] * 21)[0].over


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
