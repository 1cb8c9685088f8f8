"""Targets that a script trains on in place of its loader's, and scripts that only look like it."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.reconstruction.replaced_targets import find_replaced_targets, replaced_targets_finding

GENERATOR = np.random.default_rng(5)
ARRAYS = {
    name: 0.6 * GENERATOR.normal(size=shape)
    for name, shape in {"Wx": (4, 7), "Wh": (7, 7), "bh": (7,), "Wy": (7, 4), "by": (4,)}.items()
}
TOKENS = GENERATOR.integers(0, 4, (9, 6))
INPUTS, NEXT = TOKENS[:-1], TOKENS[1:]


def train_step(targets, *, real=False, decay=0.0, wrong=False, scale=1.0):
    """The loss and the gradients of the output layer of a tanh network, batch second."""
    state, states = np.zeros((6, 7)), []
    for tokens in INPUTS:
        state = np.tanh(ARRAYS["Wx"][tokens] + state @ ARRAYS["Wh"] + ARRAYS["bh"])
        states.append(state)
    states = np.array(states)
    outputs = states @ ARRAYS["Wy"] + ARRAYS["by"]
    if real:
        errors = 2.0 * (outputs - targets) / outputs.size
        loss = np.mean((outputs - targets) ** 2)
    else:
        probabilities = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True)
        right = np.eye(4)[targets]
        errors, loss = (probabilities - right) / targets.size, -np.mean(np.log((probabilities * right).sum(-1)))
    gradients = {name: np.ones_like(array) for name, array in ARRAYS.items()}
    read = np.roll(states, 1, axis=0) if wrong else states
    gradients["Wy"] = np.einsum("tbh,tbv->hv", read, errors) + decay * ARRAYS["Wy"]
    gradients["by"] = errors.sum((0, 1))
    return scale * (loss + decay / 2.0 * np.square(ARRAYS["Wy"]).sum()), gradients


def find(targets, shown=NEXT, **step):
    loss, gradients = train_step(targets, **step)
    return find_replaced_targets(ARRAYS, gradients, Batch((INPUTS, shown), "train", 1), float(loss))


LABELS = GENERATOR.integers(0, 4, NEXT.shape)
NUMBERS = GENERATOR.normal(size=(*NEXT.shape, 4))


@pytest.mark.parametrize(
    ("targets", "shown", "found"),
    [
        (INPUTS, NEXT, "the inputs"),
        (np.roll(NEXT, -1, axis=0), NEXT, "the next inputs in another order"),
        (np.roll(NEXT, 1, axis=1), NEXT, "the next inputs in another order"),
        (LABELS[::-1], LABELS, "others"),
        (GENERATOR.permutation(LABELS.ravel()).reshape(LABELS.shape), LABELS, "others"),
        (GENERATOR.integers(0, 4, NEXT.shape), LABELS, "others"),
        (np.concatenate([0 * INPUTS[:1], INPUTS[:-1]]), NEXT, "others"),
    ],
    ids=["inputs", "two ahead", "other rows", "reversed", "shuffled", "random", "inputs of the step before"],
)
def test_other_targets_are_proven_by_the_output_layer(targets, shown, found):
    assert find(targets, shown) == found
    finding = replaced_targets_finding(found)
    assert (finding is None) == (found == "others")


def test_real_targets_in_another_order_are_proven_too():
    assert find(NUMBERS[:, ::-1], NUMBERS, real=True) == "others"
    assert find(GENERATOR.normal(size=NUMBERS.shape), NUMBERS, real=True) is None


@pytest.mark.parametrize(
    "step",
    [{}, {"decay": 0.01}, {"wrong": True}, {"wrong": True, "scale": 1.3}, {"scale": 0.99}],
    ids=["usual", "decay in the loss", "wrong gradient", "wrong gradient and loss", "running mean"],
)
def test_the_loaders_targets_are_not_replaced(step):
    assert find(NEXT, **step) is None


def test_wrong_gradients_prove_nothing_of_other_targets():
    assert find(np.roll(NEXT, -1, axis=0), wrong=True) is None
