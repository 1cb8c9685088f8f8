"""Which gradients count as truncated or clipped, and which as wrong, where the network is recognized."""

import numpy as np
import pytest

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.correctness import CorrectnessChecks
from rnncallbacks.detectors.gradient.update_tracker import UpdateTracker
from rnncallbacks.detectors.training_batch import TrainingBatch

STEPS, ROWS, UNITS, TOKENS = 8, 3, 5, 4


def gradients_of(params, x, y, *, chunk=STEPS, lower_through_time=True, aliased=False):
    """The loss and gradients of two tanh layers; ``chunk`` steps go back, the lower layer's perhaps not at all."""
    in1, rec1, in2, rec2, out = params.values()
    h1, h2, outputs = [np.zeros((ROWS, UNITS))], [np.zeros((ROWS, UNITS))], []
    for t in range(STEPS):
        h1.append(np.tanh(in1[x[t]] + h1[-1] @ rec1))
        h2.append(np.tanh(h1[-1] @ in2 + h2[-1] @ rec2))
        z = np.exp(h2[-1] @ out)
        outputs.append(z / z.sum(1, keepdims=True))
    loss = -np.mean([np.log(outputs[t][range(ROWS), y[t]]) for t in range(STEPS)])
    if aliased:
        h1[1:], h2[1:] = [h1[-1]] * STEPS, [h2[-1]] * STEPS
    d_in1, d_rec1, d_in2, d_rec2, d_out = grads = [np.zeros_like(array) for array in params.values()]
    later1 = later2 = 0.0
    for t in reversed(range(STEPS)):
        error = (outputs[t] - np.eye(TOKENS)[y[t]]) / y.size
        d_out += h2[t + 1].T @ error
        d2 = (error @ out.T + later2) * (1 - h2[t + 1] ** 2)
        d1 = (d2 @ in2.T + later1) * (1 - h1[t + 1] ** 2)
        d_in2 += h1[t + 1].T @ d2
        d_rec2 += h2[t].T @ d2
        d_rec1 += h1[t].T @ d1
        np.add.at(d_in1, x[t], d1)
        goes_back = float(t % chunk != 0)
        later2, later1 = goes_back * d2 @ rec2.T, goes_back * lower_through_time * d1 @ rec1.T
    return float(loss), dict(zip(params, grads, strict=True))


@pytest.mark.parametrize(
    ("options", "length", "severities"),
    [
        ({}, 1.0, []),
        ({}, 0.95, ["info"]),
        ({"chunk": 4}, 1.0, ["info"]),
        ({"chunk": 4}, 0.98, ["info"]),
        ({"lower_through_time": False}, 1.0, [None]),
        ({"aliased": True}, 1.0, [None]),
    ],
    ids=str,
)
def test_fewer_steps_or_a_clipped_norm_are_noted_and_other_mistakes_are_errors(options, length, severities):
    generator = np.random.default_rng(0)
    shapes = {"W1": (TOKENS, UNITS), "U1": (UNITS, UNITS), "W2": (UNITS, UNITS), "U2": (UNITS, UNITS)}
    params = {name: generator.normal(0.0, 0.4, shape) for name, shape in (shapes | {"V": (UNITS, TOKENS)}).items()}
    x, y = generator.integers(0, TOKENS, (2, STEPS, ROWS))
    loss, grads = gradients_of(params, x, y, **options)
    shown = Gradients({name: length * array for name, array in grads.items()})
    checks, batch = CorrectnessChecks(), Batch((x, y), "train", 1)
    results = list(checks.check(TrainingBatch(1, batch, loss, shown, params), UpdateTracker(), repaired=False))
    assert checks.network.network is not None
    findings = [one.finding for one in results if one.finding is not None]
    assert [finding.severity for finding in findings] == severities
    assert [finding.evidence.get("backward_fault") for finding in findings if "aliased" in options] == [
        "aliases later"
    ] * bool(options.get("aliased"))
