"""Matrices whose gradient is always zero are reported once, and not where that may be right."""

import numpy as np
import pytest

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.zero_gradients import ZeroGradientDetector, always_zero
from rnncallbacks.detectors.training_batch import TrainingBatch

SHAPES = {"U": (4, 6), "V": (4, 4), "b": (4,), "h0": (4, 1), "W": (6, 4)}


def follow(*, zero=("V",), seq_len=5, batches=120, moves=lambda number: True, is_zero=lambda number: True):
    """The detector at its end, the number of the last batch, and the finding."""
    generator, detector = np.random.default_rng(0), ZeroGradientDetector()
    params = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
    for number in range(1, batches + 1):
        batch = Batch((generator.integers(0, 6, (3, seq_len)), np.zeros(3, dtype=int)), "train", number, batch_size=3)
        gradients = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
        for name in zero if is_zero(number) else ():
            gradients[name][...] = 0.0
        finding = detector.check(TrainingBatch(number, batch, 1.0, Gradients(gradients), params))
        if detector.over:
            return detector, number, finding
        for name, gradient in gradients.items() if moves(number) else ():
            params[name] = params[name] - 1e-3 * gradient
    return detector, batches, None


def test_a_matrix_is_reported_after_ten_updates():
    detector, number, finding = follow()
    assert number == 11
    assert (finding.code, finding.severity, finding.evidence["array"]) == ("RNN404", "warning", "V")
    assert detector._entries is None


@pytest.mark.parametrize(
    ("case", "last"),
    [
        ({"zero": ("b", "h0")}, 1),  # biases, and a column
        ({"zero": ("U", "V", "b")}, 11),  # dead units
        ({"seq_len": 1}, 100),  # nothing comes from a step before
        ({"moves": lambda number: number % 16 == 0}, 100),
        ({"moves": lambda number: False}, 100),
        ({"is_zero": lambda number: number != 7}, 7),
    ],
)
def test_a_gradient_that_may_be_zero_is_not(case, last):
    detector, number, finding = follow(**case)
    assert (finding, number, detector.over) == (None, last, True)


def test_all_matrices_are_named_behind_a_short_headline():
    finding = always_zero(["rnn.weight_hh_l0", "rnn.weight_ih_l0", "head.weight"], 10)
    assert finding.message.startswith("the gradient of 'rnn.weight_hh_l0' and of 2 more is exactly zero:")
    assert "('rnn.weight_hh_l0', 'rnn.weight_ih_l0', 'head.weight')" in finding.message
    assert (finding.evidence["array"], finding.evidence["ratio"]) == ("rnn.weight_hh_l0", 0.0)
    assert len(finding.message.partition(":")[0]) <= 80
