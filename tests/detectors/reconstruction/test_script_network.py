from itertools import pairwise

import numpy as np
import pytest

from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.detectors.reconstruction.script_network import ScriptNetwork
from rnncallbacks.detectors.training_batch import TrainingBatch
from rnncallbacks.testing.independent import IndependentScript
from rnncallbacks.testing.independent.knobs import Knobs


class Follower:
    """Follows the first batches of a run and keeps what each of them shows."""

    def __init__(self):
        self.network, self.shown, self.rows, self.number = ScriptNetwork(), [], [], 0

    @hookimpl
    def on_backward(self, run, batch, grads):
        self.number += 1
        if self.number <= 12:
            self.network.follow(TrainingBatch(self.number, batch, batch.loss, grads, run.params))
            self.shown.append(dict(batch.observed))
            self.rows.append(batch.network_rows)


def followed(task, cell="lstm", **knobs):
    follower = Follower()
    script = IndependentScript("lists", task, cell, "adam", seed=0, level="bare", knobs=Knobs(**knobs))
    script.train({"one": follower}, max_epochs=1)
    return follower


def entering(shown):
    return [np.asarray(named_arrays(one["entering_state"])["0"]).any() for one in shown]


def test_zeros_enter_batches_of_unrelated_sequences():
    follower = followed("depth")
    assert entering(follower.shown) == [False] * 12
    assert follower.rows == [16] * 12


@pytest.mark.parametrize("knobs", [{"leaks": True}, {}])
def test_the_state_of_the_batch_before_enters_a_stream_and_a_leak(knobs):
    shown = followed("depth" if knobs else "lagged", **knobs).shown
    assert entering(shown) == [False] + [True] * 11
    for earlier, later in pairwise(shown):
        assert np.array_equal(earlier["hidden_states"][-1], later["entering_state"][0])


def test_a_script_that_shows_its_states_keeps_them():
    class Shows(Follower):
        @hookimpl
        def on_backward(self, run, batch, grads):
            batch.observed["hidden_states"] = "its own"
            super().on_backward(run, batch, grads)

    follower = Shows()
    IndependentScript("lists", "depth", "gru", "adam", seed=0, level="bare").train({"one": follower}, max_epochs=1)
    assert all(one == {"hidden_states": "its own"} for one in follower.shown)
    assert follower.rows == [16] * 12  # which axis is the batch is known all the same


def test_noise_that_a_loss_contains_ends_the_following():
    follower = Follower()
    knobs = Knobs(loss_factor=lambda steps, rows: 1.0371)
    script = IndependentScript("lists", "depth", "gru", "adam", seed=0, level="bare", knobs=knobs)
    script.train({"one": follower}, max_epochs=1)
    assert not follower.network.follows
    assert all(not one for one in follower.shown)
