"""The state of generators, arrays and objects."""

import random

import numpy as np
import pytest

from rnncallbacks.core.object_state import has_state, set_state, state_of


class Stateful:
    def __init__(self):
        self.values = [1]

    def state_dict(self):
        return {"values": self.values}

    def load_state_dict(self, state):
        self.values = state["values"]


GENERATORS = [
    (np.random.default_rng(0), lambda rng: rng.normal()),
    (np.random.Generator(np.random.MT19937(0)), lambda rng: rng.normal()),
    (np.random.Generator(np.random.Philox(0)), lambda rng: rng.normal()),
    (np.random.PCG64(0), lambda bits: bits.random_raw()),
    (np.random.RandomState(0), lambda state: state.standard_normal()),
    (np.random, lambda module: module.standard_normal()),
    (random.Random(0), lambda generator: generator.gauss(0, 1)),
    (random, lambda module: module.gauss(0, 1)),
]


@pytest.mark.parametrize(
    ("generator", "draw"), GENERATORS, ids=lambda one: getattr(one, "__name__", type(one).__name__)
)
def test_a_generator_draws_again_what_it_drew(generator, draw):
    draw(generator)  # the legacy generators keep the second of two normal numbers
    state = state_of(generator)
    drawn = [draw(generator) for _ in range(5)]
    for _ in range(2):
        set_state(generator, state)
        assert [draw(generator) for _ in range(5)] == drawn


def test_states_are_copies():
    array, holder = np.zeros(2), Stateful()
    states = state_of(array), state_of(holder)
    array += 1
    holder.values.append(2)
    set_state(array, states[0])
    set_state(holder, states[1])
    holder.values.append(3)
    set_state(holder, states[1])
    assert (array.tolist(), holder.values) == ([0, 0], [1])


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, np.float32)),
        (np.zeros(2), 0.0),
        (np.random.default_rng(0), {"bit_generator": "MT19937"}),
        (np.random.RandomState(0), {"bit_generator": "PCG64"}),
        (random.Random(0), (3, (1, 2), None)),
        (Stateful(), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_state_of_another_kind_is_an_error(value, state):
    with pytest.raises(Exception):  # noqa: B017, PT011  (whatever the object raises)
        set_state(value, state)


@pytest.mark.parametrize("value", [None, 3, "word", [], Stateful, np.float64(1.0), np.zeros])
def test_other_values_have_no_state(value):
    assert not has_state(value)
