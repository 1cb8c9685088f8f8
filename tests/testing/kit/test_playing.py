"""Runs of given losses: what may be given, and what is said of the rest."""

import numpy as np
import pytest

from rnncallbacks.errors import OptionError
from rnncallbacks.testing import play


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"losses": 1.0},
            r"losses: expected a list of losses, or one for each epoch, got 1\.0\n.*losses=\[1\.0, 0\.5\]",
        ),
        ({"losses": "text"}, "losses: expected a list of losses, or one for each epoch, got 'text'"),
        ({"losses": [1.0], "validation": 3.0}, r"validation: expected a list of losses, .*, got 3\.0"),
        ({"losses": [[1.0]], "epochs": 2}, "losses: expected the losses of 2 epochs, got those of 1"),
        ({"losses": [1.0], "batches": ["a", "b"]}, "batches: expected as many as losses, 1, got 2"),
        ({"losses": [1.0], "grads": {"w": np.ones(2)}}, r"grads: expected a function .*\n.*grads=lambda step: "),
    ],
)
def test_what_cannot_be_played_is_refused(arguments, message):
    with pytest.raises(OptionError, match=f"play: {message}"):
        play([], **arguments)


def test_losses_may_be_arrays():
    assert play([], losses=np.array([[2.0, 1.0], [1.0, 0.5]]), epochs=2).step == 4
