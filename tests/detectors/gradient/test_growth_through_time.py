import numpy as np
import pytest

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.growth_through_time import check_growth, state_growth
from rnncallbacks.detectors.reconstruction.recognized_network import recognized_networks
from rnncallbacks.testing.independent import IndependentScript


def recognized(cell, scale):
    script = IndependentScript("lists", "depth", cell, "adam", seed=0, level="bare")
    arrays = named_arrays(script.net.params)
    for array in script.net.blocks(arrays)["recurrent"]:
        array *= scale
    x, y = script.training[0]
    loss, _, _ = script.batch_loss(x, y, script.net.zero_state(script.rows))
    batch = Batch(script.net.shown_batch(x, y, labels_per_step=True), "train", 1)
    network = next(recognized_networks(arrays, batch, loss))
    return network, network.evaluate(arrays, network.read(batch), ((None, None),))


def test_growth_is_that_of_the_product_of_jacobians():
    network, forward = recognized("tanh", 3.0)
    states, recurrent = forward.states, forward.weights[0, "recurrent"]
    change = np.random.default_rng(0).standard_normal(states[0].shape)
    grown = change.copy()
    for after in states[1:]:
        grown = (grown @ recurrent.T) * (1.0 - after**2)
    expected = np.linalg.norm(grown) / np.linalg.norm(change)
    assert state_growth(network, forward) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_usual_weights_are_no_explosion(cell):
    assert check_growth(*recognized(cell, 1.0), max_norm=5.0) == CheckResult()


def test_some_growth_does_not_let_gradients_of_usual_length_pass():
    result = check_growth(*recognized("tanh", 1.5), max_norm=5.0)
    assert result.finding is None
    assert list(result.cannot_tell) == ["RNN401"]


def test_recurrent_weights_four_times_too_large_explode():
    finding = check_growth(*recognized("tanh", 4.0), max_norm=5.0).finding
    assert (finding.code, finding.severity) == ("RNN401", None)
    assert finding.evidence["growth"] > 40.0
    assert 3.0 < finding.evidence["spectral_radius"] < 5.5
