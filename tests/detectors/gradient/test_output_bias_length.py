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
