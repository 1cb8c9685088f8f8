"""Updates that go up the gradient: told by their direction, unless the loss shows that it falls."""

import numpy as np
import pytest

from rnncallbacks.detectors.update.ascent import check_ascent, step_cosines
from rnncallbacks.detectors.update.update_record import UpdateRecord


def play(sign, *, updates=6, noise=0.0, changes=None, losses=None):
    """A record of updates along ``sign`` times the negative gradient, turned by noise."""
    generator, record = np.random.default_rng(1), UpdateRecord()
    weights = generator.normal(size=(6, 6))
    for number in range(updates):
        gradient = generator.normal(size=(6, 6))
        record.add_loss(1.0 if losses is None else losses[number], 1.0)
        before, weights = weights, weights - 0.05 * (sign * gradient + noise * generator.normal(size=(6, 6)))
        record.add_update({"w": before.copy()}, {"w": weights}, {"w": gradient}, 1.0)
    if changes is not None:
        record.loss_changes = changes
    return record


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_cosine_is_that_of_the_step_and_the_negative_gradient(sign):
    assert step_cosines(play(sign)) == pytest.approx([sign] * 6)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_flipped_sign_is_named_with_its_cosine(noise):
    finding = check_ascent(play(-1.0, noise=noise)).finding
    assert (finding.code, finding.cause) == ("RNN503", "updates go up the gradient")
    assert finding.evidence["update_gradient_cosine"] < -0.5
    assert len(finding.message.partition(":")[0]) <= 80


@pytest.mark.parametrize(
    "healthy",
    [
        {"sign": 1.0},
        {"sign": 0.2, "noise": 1.0},
        {"sign": -1.0, "updates": 4},
        {"sign": -1.0, "updates": 21},
        {"sign": -1.0, "losses": [1.0, 0.8, 0.7, 0.6, 0.5, 0.4]},  # the gradients have the other sign themselves
        {"sign": -1.0, "changes": [-0.1] * 5},
    ],
)
def test_what_is_no_ascent(healthy):
    assert check_ascent(play(**healthy)).finding is None


def test_steps_that_overflow_have_no_direction():
    record = play(-1.0)
    record.predicted_decreases[0], record.predicted_decreases[1:] = np.nan, [0.0] * 5
    assert check_ascent(record).finding is None
