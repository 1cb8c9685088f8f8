"""Inputs by the gradients of their weights and bias: large, constant, and those that are neither."""

import numpy as np
import pytest

from rnncallbacks.detectors.state.unseen_inputs import UnseenInputs


def check(inputs_of_batch, *, weight=1.0, trained=False, name="Wx"):
    generator, unseen, finding = np.random.default_rng(0), UnseenInputs(), None
    params = {
        name: weight * generator.normal(size=(2, 24)),
        "Wh": np.zeros((6, 24)),
        "b": np.repeat([0.0, 1.0, 0.0, 0.0], 6) + (generator.normal(size=24) if trained else 0.0),
        "Wy": np.ones((6, 2)),
        "by": np.zeros(2),
    }
    for batch in range(8):
        errors, inputs = generator.normal(size=(40, 24)), inputs_of_batch(batch, generator)
        gradients = {name: inputs.T @ errors, "Wh": np.ones((6, 24)), "b": errors.sum(0)}
        finding = unseen.check(params, {**gradients, "Wy": np.ones((6, 2)), "by": np.ones(2)})
    return finding


def test_large_inputs_saturate_units_unless_their_weights_are_small():
    large = {"inputs_of_batch": lambda _, generator: 400.0 * generator.normal(size=(40, 2))}
    finding = check(**large)
    assert (finding.code, finding.evidence["array"]) == ("RNN407", "Wx")
    assert finding.evidence["input_rms"] == pytest.approx(400.0, rel=0.6)
    assert check(**large, weight=0.01) is None


def test_constant_inputs_are_told_with_their_values():
    finding = check(lambda *_: np.tile([1.0, -2.0], (40, 1)))
    assert (finding.code, finding.cause) == ("RNN603", "inputs that are all the same")
    assert "times (1, -2), as if" in finding.message


@pytest.mark.parametrize(
    "inputs_of_batch",
    [
        lambda _, generator: generator.normal(size=(40, 2)),
        lambda batch, _: np.tile([1.0, batch], (40, 1)),
        lambda _, generator: np.eye(2)[generator.integers(0, 2, 40)],
    ],
    ids=["usual", "constant within a batch", "one-hot"],
)
def test_other_inputs_are_not_reported(inputs_of_batch):
    assert check(inputs_of_batch) is None


def test_a_network_that_was_trained_before_is_not_compared():
    assert check(lambda *_: np.full((40, 2), 500.0), trained=True) is None


def test_errors_that_cancel_in_every_bias_do_not_show_large_inputs():
    generator, unseen = np.random.default_rng(0), UnseenInputs()
    params = {"Wx": generator.normal(size=(6, 2)), "Wh": np.eye(6), "b": np.zeros(6)}
    params |= {"Wy": np.ones((3, 6)), "by": np.zeros(3)}
    half = generator.normal(size=(20, 2))
    inputs = np.concatenate([half, -half])  # each input with its negative, and errors that follow the inputs
    outputs, errors = np.tanh(inputs @ params["Wx"].T), inputs @ generator.normal(size=(2, 3))
    for batch in range(8):
        deltas = (errors @ params["Wy"]) * (1.0 - outputs**2) + 1e-4 * batch
        shifted = errors + 1e-4 * batch
        gradients = {"Wx": deltas.T @ inputs, "Wh": deltas.T @ outputs, "b": deltas.sum(0)}
        finding = unseen.check(params, {**gradients, "Wy": shifted.T @ outputs, "by": shifted.sum(0)})
    assert unseen.over
    assert finding is None


def test_a_layer_that_no_error_reaches_is_not_judged():
    unseen, params = UnseenInputs(), {"Wx": np.ones((6, 2)), "Wh": np.eye(6), "b": np.zeros(6)}
    zeros = {name: np.zeros_like(array) for name, array in params.items()}
    assert [unseen.check(params, zeros) for _ in range(8)] == [None] * 8
    assert unseen.over
