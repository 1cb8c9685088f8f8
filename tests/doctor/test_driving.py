"""The iterations of a script that drive a run end in time."""

import math
from collections import deque
from types import SimpleNamespace

import pytest

from rnncallbacks.doctor.driving import RecordedBatches


@pytest.mark.parametrize(
    ("until", "over", "seen", "ended_by"),
    [
        (math.inf, "script", 3, "script"),
        (-math.inf, "", 1, "time"),  # guards that take long are not given what was recorded for the roles
        (-math.inf, "script", 1, "script"),
    ],
)
def test_recorded_iterations_are_left_out_once_the_time_is_over(until, over, seen, ended_by):
    waiting = deque((SimpleNamespace(activation=1), None) for _ in range(3))
    batches = RecordedBatches(SimpleNamespace(), SimpleNamespace(), 80, until, waiting, over=over)
    first = batches.next()
    assert first is not None
    assert len(list(batches.activation(first))) == seen
    assert (batches.seen, batches.over) == (seen, ended_by)
