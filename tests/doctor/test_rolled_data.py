"""A replay rolls data when it is complete, wherever the running frame or its callers hold it."""

import sys
from collections import namedtuple

import numpy as np
import pytest

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.loop_items import value_of
from rnncallbacks.doctor.rolled_data import roll_requested
from rnncallbacks.doctor.value_walk import copy_of, walk
from rnncallbacks.doctor.watch_messages import ReplayRequest


def forward(tokens, request, loop_frame):
    roll_requested(request, sys._getframe(), loop_frame, OwnModules({__name__}))
    return list(tokens)


@pytest.mark.parametrize(
    ("key", "final", "expected"),
    [
        (("local", "forward", "tokens"), [4, 5, 6], [6, 4, 5]),
        (("end", "test_data_is_rolled_once_it_is_complete", "batch['x']"), [4, 5, 6], [6, 4, 5]),
        (("local", "forward", "tokens"), [4, 5, 0], [4, 5, 6]),  # not yet complete
        (("local", "backward", "tokens"), [4, 5, 6], [4, 5, 6]),  # not running
        (("local", "forward", "missing.name"), [4, 5, 6], [4, 5, 6]),
    ],
)
@pytest.mark.parametrize("make", [list, np.array])
def test_data_is_rolled_once_it_is_complete(key, final, expected, make):
    batch = {"x": make([4, 5, 6])}
    request = ReplayRequest(rolled={key: copy_of(make(final))})
    assert forward(batch["x"], request, sys._getframe()) == expected
    assert forward(batch["x"], request, sys._getframe()) == expected


def test_named_tuples_are_followed_through_their_fields():
    batch = namedtuple("Batch", "bits parity")(np.zeros(2), np.ones(2))
    assert [name for name, _ in walk({"batch": batch}, frozenset())] == ["batch.bits", "batch.parity"]
    assert value_of("batch.parity", {"batch": batch}) is batch.parity
