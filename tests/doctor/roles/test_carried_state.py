"""A state that keeps a push, as an open cell does, is told from parameters by the statements that change them."""

import numpy as np
import pytest

from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.carried_state import is_carried_on, names_of_states
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.value_walk import Steps

LOSS = ("end", "__main__", "loss")


def key(name):
    return "end", "__main__", name


def pushes(grown, assigned):
    """Pushes of arrays that statements add to, and of one that another statement assigns; all move the loss."""
    site = {text: Site("change", "a.py", 1, text, "f", additive=text == "w -= g") for text in ("w -= g", "h = new")}
    names = [*grown, *assigned]
    record = IterationRecord(1, 1, start_identities={key(name): number for number, name in enumerate(names)})
    record.changes = {n: (site["w -= g" if name in grown else "h = new"],) for n, name in enumerate(names)}
    return [Push(key(name), record, np.ones(2), 0.5, {LOSS: 1.0}) for name in names]


@pytest.mark.parametrize(
    ("grown", "assigned", "expected"),
    [("abc", "h", "h"), ("abcd", "", ""), ("ab", "h", ""), ("abc", "hk", "")],
    ids=["a state", "only parameters", "too few parameters", "two assigned arrays"],
)
def test_an_array_that_is_assigned_among_arrays_that_are_added_to_is_a_state(grown, assigned, expected):
    found = pushes(grown, assigned)
    assert "".join(one.key[2] for one in found if is_carried_on(one, found, {}, LOSS, [])) == expected


def test_an_array_that_does_not_move_the_loss_is_none():
    found = pushes("abc", "m")
    found[-1].derivatives.clear()
    assert not any(is_carried_on(one, found, {}, LOSS, []) for one in found)


def test_the_value_of_a_state_before_an_iteration_has_its_names():
    record = IterationRecord(2, 1, start={key("h"): np.ones(2)}, end={key("h"): np.zeros(2), key("x"): np.full(2, 3.0)})
    record.inside = {("local", "step", "before"): np.ones(2)}
    assert names_of_states([key("h")], record) == {key("h"), ("local", "step", "before")}


def test_what_the_iteration_before_has_computed_is_a_state():
    states = key("hs")
    before = IterationRecord(1, 1, end={states: Steps(np.arange(6.0).reshape(3, 2)), key("x"): np.full(2, 7.0)})
    record = IterationRecord(2, 1, end={key("x"): np.full(2, 7.0)})
    record.inside = {("local", "step", "h"): np.array([4.0, 5.0])}
    assert names_of_states([], record, before, frozenset([states])) == {("local", "step", "h")}
