"""RNN302 of errors without a square: a gradient that is the same in all batches, and a loss below 0."""

import numpy as np
import pytest

from rnncallbacks.detectors.loss.linear_loss import LinearLoss


def check(loss_of, gradient_of, batches=30):
    linear = LinearLoss()
    found = (
        linear.check(loss_of(number), {"W": np.full((2, 2), 1.0 + number), "b": gradient_of(number)})
        for number in range(batches)
        if not linear.over
    )
    return [finding.code for finding in found if finding is not None]


@pytest.mark.parametrize(
    ("loss_of", "gradient_of", "codes"),
    [
        (lambda n: 0.5 - 0.1 * n, lambda n: np.array([0.5, 0.5]), ["RNN302"]),
        (lambda n: 2.0 - 0.1 * n, lambda n: np.array([0.5, 0.5]), ["RNN302"]),
        (lambda n: 3.0 - 0.01 * n, lambda n: np.array([-0.5, -0.5]), []),
        (lambda n: 0.5 - 0.1 * n, lambda n: np.array([0.5, 0.5 + 1e-6 * n]), []),
        (lambda n: 0.5 - 0.1 * n, lambda n: np.zeros(2), []),
        (lambda n: 0.5 - 0.1 * n, lambda n: np.full(2, 2.8e-17), []),
    ],
    ids=["falls below 0", "does later", "absolute errors", "a density", "no gradient", "a critic"],
)
def test_a_loss_without_a_minimum_is_reported(loss_of, gradient_of, codes):
    assert check(loss_of, gradient_of) == codes
