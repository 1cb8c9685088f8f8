"""The gradient of the output bias of a softmax is no longer than its cross-entropy allows."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.output_bias_length import OutputBiasLengthDetector

STEPS, ROWS = 20, 4
POSITIONS = STEPS * ROWS


def codes_of(
    kind="mean", reported=1.0, given=1.0, classes=6, batches=12, updates=True, follows=True, vectors=1, real=False
):
    """The codes and severities that a softmax regression on its output bias has in its first batches."""
    generator, detector, total, found = np.random.default_rng(0), OutputBiasLengthDetector(), 0.0, []
    bias, weights, common = np.zeros(classes), np.linspace(1.0, 5.0, classes), generator.dirichlet(np.ones(classes))
    for number in range(batches):
        targets = generator.choice(classes, (STEPS, ROWS), p=common)
        onehot = np.eye(classes)[targets.ravel()]
        if kind == "smoothed":
            onehot = 0.9 * onehot + 0.1 / classes
        scores = bias + generator.normal(0.0, 0.3, (POSITIONS, classes))
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        factors = weights[targets.ravel()] if kind == "weighted" else np.ones(POSITIONS)
        if kind == "masked":
            factors = (np.arange(POSITIONS) % 3 == 0) * 1.0
        if kind == "sigmoid":
            p = 1.0 / (1.0 + np.exp(-scores))
            loss = float(-(onehot * np.log(p) + (1 - onehot) * np.log(1 - p)).sum() / POSITIONS)
        else:
            loss = float((factors[:, None] * -onehot * np.log(p)).sum() / POSITIONS)
        gradient = (factors[:, None] * (p - onehot)).sum(0) / POSITIONS
        total = total * (kind == "accumulated" or (kind == "micro-batches" and number % 8 > 0)) + gradient
        gradients = {f"b{vector}": given * total * (vector + 1) for vector in range(vectors)}
        shown = targets.astype(float) if real else targets
        finding = detector.check(
            Batch((shown, shown), "train", number + 1),
            reported * loss,
            gradients,
            updates_each_batch=updates,
            follows_gradient=follows,
        )
        found += [] if finding is None else [(finding.code, finding.severity)]
        bias = bias - 0.05 * gradient
    return found


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ({"given": POSITIONS}, [("RNN405", None)]),
        ({"given": POSITIONS, "follows": False}, [("RNN405", "info")]),
        ({"given": STEPS, "classes": 2}, [("RNN405", None)]),
        ({"kind": "accumulated"}, [("RNN406", None)]),
        ({"kind": "accumulated", "updates": False}, []),
        ({"kind": "micro-batches", "updates": False}, []),
        ({}, []),
        ({"given": POSITIONS, "reported": POSITIONS}, []),
        ({"given": STEPS, "reported": STEPS}, []),
        ({"given": 0.5}, []),
        ({"reported": 0.04}, []),
        ({"given": -POSITIONS}, []),
        ({"kind": "smoothed"}, []),
        ({"kind": "weighted"}, []),
        ({"kind": "masked"}, []),
        ({"kind": "sigmoid", "given": POSITIONS}, []),
        ({"classes": 2}, []),
        ({"given": POSITIONS, "vectors": 2}, []),
        ({"given": POSITIONS, "real": True}, []),
    ],
    ids=str,
)
def test_only_a_gradient_that_is_longer_than_its_loss_allows_is_found(case, wanted):
    assert codes_of(**case) == wanted


def regression_codes(kind="mean", given=1.0, outputs=2, offset=1.0):
    """The codes that a regression on its output bias has in its first batches."""
    generator, detector, total, codes = np.random.default_rng(0), OutputBiasLengthDetector(), 0.0, []
    bias = np.zeros(outputs)
    for number in range(12):
        targets = generator.normal(offset, 1.0, (STEPS, ROWS, outputs))
        errors = (bias - targets).reshape(POSITIONS, outputs)
        gradient, loss = 2.0 * errors.mean(0) / outputs, float((errors**2).mean())
        if kind == "half":
            gradient, loss = gradient / 2.0, loss / 2.0
        elif kind == "sum over outputs":
            gradient, loss = outputs * gradient, outputs * loss
        elif kind == "sum":
            gradient, loss = errors.size * gradient, errors.size * loss
        elif kind == "absolute":
            gradient, loss = np.sign(errors).mean(0), float(np.abs(errors).mean())
        total = gradient + (total if kind == "accumulated" else 0.0)
        batch = Batch((targets, targets), "train", number + 1)
        gradients = {"by": given * total, "bh": np.ones(outputs + 3), "wy": np.ones((outputs, 7))}
        finding = detector.check(batch, loss, gradients, updates_each_batch=True)
        codes += [] if finding is None else [finding.code]
        bias = bias - 0.02 * gradient
    return codes


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        *[({"kind": kind}, []) for kind in ("mean", "half", "sum over outputs", "sum", "absolute")],
        ({"given": POSITIONS}, ["RNN405"]),
        ({"given": POSITIONS, "offset": 0.0}, ["RNN405"]),
        ({"given": POSITIONS, "outputs": 1, "kind": "half"}, ["RNN405"]),
        ({"kind": "accumulated"}, ["RNN406"]),
        ({"kind": "absolute", "given": 0.9, "offset": 0.01}, []),
    ],
)
def test_a_squared_error_bounds_the_gradient_of_its_output_bias(case, wanted):
    assert regression_codes(**case) == wanted
