"""RNN301 of a sum becomes a note once the run has learned."""

import pytest

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.detectors.loss.learned_sum import LearnedSum


@pytest.mark.parametrize(
    ("severity", "losses", "expected"),
    [
        (None, [0.1] * 20, "info"),
        (None, [0.1] * 19, None),
        (None, [0.3] * 40, None),
        ("info", [0.1] * 20, "not followed"),
    ],
)
def test_losses_that_fell_to_a_twentieth_make_the_sum_a_note(severity, losses, expected):
    learned = LearnedSum()
    learned.begin(Finding("RNN301", "the loss is 8 times a mean", {"factor": 8.0}, severity), first_loss=4.0)
    if expected == "not followed":
        assert not learned.following
        return
    found = [learned.add(loss) for loss in losses][-1]
    assert (None if found is None else found.severity) == expected
    assert learned.following is (expected is None)
