"""The state of a run without its loop: parameters, learning rate, and where a checkpoint puts it."""

import numpy as np
import pytest

from rnncallbacks.core.run_state import RunState
from rnncallbacks.errors import ContainerError, RunStateError


def state(params=None, learning_rate=None, hidden_size=None):
    return RunState(params, None, learning_rate, hidden_size, zeros=None, reset=None)


def test_parameters_are_replaced_by_arrays_of_the_same_shapes_only():
    made = state({"w": np.zeros(2)})
    made.params = new = {"w": np.ones(2)}
    assert made.params is new
    with pytest.raises(ContainerError, match=r"run.params: expected arrays \{'w': \(2,\)\}, got \{'w': \(3,\)\}"):
        made.params = {"w": np.ones(3)}


def test_the_learning_rate_is_the_base_times_the_scales():
    made = state(learning_rate=0.5)
    made.scale_learning_rate("decay", 0.25)
    assert (made.base_learning_rate, made.learning_rate, made.scales) == (0.5, 0.125, {"decay": 0.25})


def test_resuming_replaces_everything_and_comes_before_the_first_epoch():
    made = state(learning_rate=1.0, hidden_size=1)
    hidden = {"train": np.ones((1, 2)), "val": None}
    arguments = {"scales": {"decay": 0.5}, "rows": [{"epoch": 3}], "alarms": [], "repairs": [], "hidden": hidden}
    made.resume(epoch=3, step=12, **arguments)
    assert (made.epoch, made.step, made.learning_rate) == (3, 12, 0.5)
    assert made.history[-1] == {"epoch": 3}
    assert made.hidden_states() == hidden
    with pytest.raises(RunStateError, match="cannot resume: this run has begun already"):
        made.resume(epoch=4, step=12, **arguments)
