"""Sums and initial weights that are too large, by the loss and the output layer's gradient alone."""

import numpy as np
import pytest

from rnncallbacks.detectors.loss.prediction_entropy import check_entropy, has_no_softmax, is_of_softmax

CLASSES, UNITS, POSITIONS = 7, 12, 20


def check(*, scale=0.2, summed=False, transposed=False, tied=False, off=1.0, clipped=1.0, unlikely=False):
    """The finding on one batch of a softmax layer with random states; ``unlikely``: all targets are of one class."""
    generator = np.random.default_rng(1)
    states, targets = generator.uniform(-1, 1, (POSITIONS, UNITS)), generator.integers(0, CLASSES, POSITIONS)
    params = {"head": scale * generator.normal(size=(UNITS, CLASSES)), "bias": 0.1 * generator.normal(size=CLASSES)}
    if unlikely:
        states[:] = np.sign(states[0])
    logits = states @ params["head"] + params["bias"]
    if unlikely:
        targets[:] = logits[0].argmin()
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    losses = -np.log(p[np.arange(POSITIONS), targets])
    d = (p - np.eye(CLASSES)[targets]) * clipped / (1 if summed else POSITIONS)
    gradients = {"head": states.T @ d + tied * generator.normal(size=(UNITS, CLASSES)), "bias": d.sum(axis=0)}
    if transposed:
        params, gradients = ({name: array.T for name, array in one.items()} for one in (params, gradients))
    hidden = {"cell": generator.normal(size=(UNITS, UNITS)), "b": np.zeros(UNITS)}
    noise = {name: generator.normal(size=array.shape) for name, array in hidden.items()}
    return check_entropy(off * float(losses.sum() if summed else losses.mean()), hidden | params, noise | gradients)


@pytest.mark.parametrize("transposed", [False, True])
def test_sum_over_positions(transposed):
    finding = check(summed=True, transposed=transposed)
    assert finding.code == "RNN301"
    assert finding.evidence["factor"] == pytest.approx(POSITIONS, abs=1)


def test_predictions_that_are_certain_from_the_start():
    finding = check(scale=8.0)
    assert (finding.code, finding.evidence["expected"]) == ("RNN303", pytest.approx(np.log(CLASSES)))


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"scale": 0.0},
        {"scale": 1.0},
        {"scale": 0.35, "unlikely": True},
        {"tied": True, "summed": True},  # the weights are an embedding as well
        {"off": 20.0},  # the gradient is that of a mean
        {"scale": 8.0, "clipped": 0.01},
        {"summed": True, "clipped": 0.01},
    ],
)
def test_nothing_is_said_of_other_losses(case):
    assert check(**case) is None


@pytest.mark.parametrize("likely", [0.0, 0.2, 0.35])
@pytest.mark.parametrize(("squared", "expected"), [(False, True), (True, False)])
def test_a_low_loss_of_two_classes_is_a_likelihood_by_its_gradient(likely, squared, expected):
    p = np.array([0.5 + likely / 2, 0.5 - likely / 2])  # the targets are all of the first class
    d = p - np.array([1.0, 0.0])
    loss = float(d @ d) if squared else -float(np.log(p[0]))
    d_scores = 2.0 * (np.diag(p) - np.outer(p, p)) @ d if squared else d
    params = {"head": np.zeros((5, 2)), "bias": np.log(p)}
    gradients = {"head": np.tile(d_scores, (5, 1)), "bias": d_scores}
    assert is_of_softmax(loss, params, gradients) is expected


def test_gradients_of_sigmoids_are_those_of_no_softmax():
    errors = np.random.default_rng(0).normal(size=(20, 2))
    assert has_no_softmax({"bias": errors.mean(axis=0), "hidden": np.ones(8)}, (2,))
    assert not has_no_softmax({"bias": (errors - errors.mean(axis=1, keepdims=True)).mean(axis=0)}, (2,))
    assert not has_no_softmax({"hidden": np.ones(8)}, (2,))
