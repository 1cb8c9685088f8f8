"""The words of RNN101 and RNN102, for every kind of denominator: a short headline, two numbers, and a remedy."""

import numpy as np
import pytest

from rnncallbacks.detectors.loss.denominator import find_denominator
from rnncallbacks.detectors.loss.denominator_messages import denominator_message, denominator_remedy
from rnncallbacks.detectors.loss.phase_losses import PhaseLosses

BATCHES, SIZE, STEPS = 13, 32, 20


def played(losses, sizes=SIZE, steps=STEPS):
    """A pass over batches with these losses; steps are one number, or one for each batch."""
    seen = PhaseLosses()
    for index, loss in enumerate(losses):
        step = steps if steps is None or np.isscalar(steps) else int(steps[index])
        seen.add(loss, sequences=sizes, steps=step, tokens=None if step is None else sizes * step)
    return seen


def test_the_arithmetic_in_words():
    seen = played([1.731] * 128, steps=None)
    found = find_denominator(1.731 / 32, seen)
    message = denominator_message("train", 1.731 / 32, seen, found)
    assert message == "train_loss is the mean batch loss divided by 32, the batch size: 0.05409 instead of 1.731"
    assert denominator_remedy("train", seen, found) == (
        "divide the sum of the batch losses of train by the 128 batches, not by the 4096 samples"
    )


@pytest.mark.parametrize(
    ("denominator", "claim", "advice"),
    [
        (1, "the sum of the 13 batch losses, not their mean", ""),
        (14, "the sum of the batch losses divided by 14, one too many", ", not by 14"),
        (32, "the sum of the batch losses divided by 32, the batch size", ", not by 32"),
        (99, "the sum of the batch losses divided by 99", ", not by 99"),
        (169, "the mean batch loss divided once more by the 13 batches", " once, not twice"),
        (13 / 32, "the mean batch loss times 32, the batch size", ", and do not multiply it by 32"),
        (13 * 32 * 20, "the mean batch loss divided by 640, tokens per batch", ", not by the 8320 tokens"),
        (13 * 20, "the mean batch loss divided by 20, the number of time steps", ", not by 260"),
        (7, "the sum of the batch losses divided by 7, the batches of train", ", not by 7"),
    ],
)
def test_each_kind_has_its_words(denominator, claim, advice):
    seen = played([1.5] * BATCHES)
    reported = 19.5 / denominator
    train = played(np.random.default_rng(1).uniform(1.0, 2.0, 7), sizes=1)
    found = find_denominator(reported, seen, other_phases={"train": train})
    assert denominator_message("val", reported, seen, found) == f"val_loss is {claim}: {reported:.4g} instead of 1.5"
    assert len(f"val_loss is {claim}") <= 80
    assert (
        denominator_remedy("val", seen, found) == f"divide the sum of the batch losses of val by the 13 batches{advice}"
    )


def test_losses_weighted_by_a_length_of_their_batch_in_words():
    losses, steps = np.random.default_rng(0).uniform(1.0, 2.0, BATCHES), list(range(2, 2 + BATCHES))
    seen = played(losses, 1, steps)
    for power, what in ((1, "multiplied by"), (-1, "divided by")):
        reported = float(np.mean(losses * np.array(steps, float) ** power))
        found = find_denominator(reported, seen)
        message = denominator_message("train", reported, seen, found)
        headline, _, numbers = message.partition(": ")
        assert headline == f"train_loss is the mean of the batch losses, each {what} its time steps"
        assert numbers == f"{reported:.4g} instead of {seen.mean:.4g}"
        assert denominator_remedy("train", seen, found).endswith("by the 13 batches, without its time steps in the sum")
