"""The gradient noise scale: its value for gradients of a known noise, and which gradients count."""

import numpy as np
import pytest

from rnncallbacks import Run
from rnncallbacks.plugins import GradientClipping, GradientNoiseScale


def scale_of(gradients, *plugins, window=4, sequences=None, dtype=float):
    sizes = [sequences] * len(gradients) if sequences is None or isinstance(sequences, int) else sequences
    with Run(plugins=[*plugins, GradientNoiseScale(window)]) as run:
        for _ in run.epochs(1):
            for gradient, size in run.batches(list(zip(gradients, sizes, strict=True))):
                run.backward(1.0, {"w": np.array(gradient, dtype), "b": np.zeros(1, dtype)}, sequences=size)
    return run.history[0].get("gradient_noise_scale")


@pytest.mark.parametrize("size", [1, 16])
def test_the_scale_is_that_of_the_noise_for_any_batch_size(size):
    """Sequences with gradients of mean 1 and standard deviation 3 in each of 50 entries: 9 / 1."""
    rng = np.random.default_rng(0)
    gradients = 1.0 + 3.0 / np.sqrt(size) * rng.standard_normal((2000, 50))
    assert scale_of(gradients, window=10, sequences=size) == pytest.approx(9.0, rel=0.05)


def test_the_scale_of_one_window_by_hand():
    # mean of |g|^2: 5, mean gradient (2, 0): |G|^2 = 2 * 4 - 5 = 3, tr(Sigma) = 2 * 8 * (5 - 4) = 16.
    assert scale_of([[3.0, 0.0], [1.0, 0.0]], window=2, sequences=8) == pytest.approx(16 / 3)


def test_it_sees_the_gradients_before_clipping_and_leaves_them_alone():
    gradients = [[3.0, 0.0], [1.0, 0.0]]
    assert scale_of(gradients, GradientClipping(0.1), window=2) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("gradients", "sequences"),
    [
        ([[1.0, 0.0], [3.0, 0.0]], 8),  # no whole window
        ([[1.0, 0.0], [3.0, 0.0], [1.0, 0.0], [3.0, 0.0]], [8, 8, 8, 2]),
        ([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], 8),  # noise alone
        ([[1.0, 0.0], [3.0, 0.0], [np.nan, 0.0], [1.0, 0.0]], 8),
    ],
)
def test_without_an_estimate_there_is_no_column(gradients, sequences):
    assert scale_of(gradients, sequences=sequences) is None
