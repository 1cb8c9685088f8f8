"""Inputs are what changes the most, targets what changes only the loss and the gradients."""

import math

import attrs
import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.data_effects import (
    DataEffect,
    find_pair_by_effect,
    groups_of,
    pair_of_effects,
    taken_by_index,
)
from rnncallbacks.doctor.roles.data_pair import VaryingValue, find_data_pair, tokens_of_mask, whole_numbers_of
from rnncallbacks.doctor.value_walk import Steps
from rnncallbacks.doctor.watch_messages import ReplayRequest

FORWARD = ["hs", "cs", "logits", "probs", "h"]
BACKWARD = ["loss", "dlogits", "dW", "dV"]


def key(name):
    return "end", "__main__", name


def effect(name, changed, data=(), values=(1.0, 2.5, 3.0)):
    value = VaryingValue(key(name), (np.array(values),), None)
    tokens = whole_numbers_of(value.latest)
    if tokens is not None:
        value = VaryingValue(value.key, value.values, (tokens,))
    return DataEffect((value.key,), value, frozenset(map(key, changed)), frozenset(map(key, data)))


EVERYTHING = FORWARD + BACKWARD
CASES = {
    "names say nothing": ([effect("a", BACKWARD), effect("b", EVERYTHING)], ("b", "a")),
    "names that mislead": ([effect("x", BACKWARD), effect("y", EVERYTHING)], ("y", "x")),
    "encoder and decoder": (
        [effect("source", EVERYTHING), effect("fed", EVERYTHING[2:]), effect("wanted", BACKWARD)],
        ("source", "wanted"),
    ),
    "a mask of the loss": (
        [effect("tok", EVERYTHING), effect("mask", BACKWARD[1:]), effect("tag", BACKWARD)],
        ("tok", "tag"),
    ),
    "a source of the batch": (
        [effect("block", EVERYTHING, ["x", "y"]), effect("x", EVERYTHING), effect("y", BACKWARD)],
        ("x", "y"),
    ),
    "two views of one array": ([effect("x", EVERYTHING, ["y"]), effect("y", EVERYTHING, ["x"])], None),
    "two inputs without names": (
        [effect("a", EVERYTHING), effect("b", EVERYTHING, values=(4.0, 1.5, 2.0)), effect("c", BACKWARD)],
        None,
    ),
    "the bits of two inputs": (
        [
            effect("a", EVERYTHING, values=(0.0, 1.0, 1.0)),
            effect("b", EVERYTHING, values=(1.0, 1.0, 0.0)),
            effect("c", [*BACKWARD, "dc"], values=(1.0, 0.0, 0.0)),
        ],
        ("a", "c"),
    ),
    "two columns of one array": (
        [
            effect("data[i, 0:n]", EVERYTHING),
            effect("data[i, n:m]", EVERYTHING, values=(4.0, 1.5, 2.0)),
            effect("data[i, -1]", BACKWARD, values=1.5),
        ],
        ("data[i, 0:n]", "data[i, -1]"),
    ),
    "a step of the inputs": ([effect("x", EVERYTHING, ["x_last"]), effect("x_last", BACKWARD)], None),
    "no targets": ([effect("x", EVERYTHING)], None),
}


@pytest.mark.parametrize(("effects", "expected"), CASES.values(), ids=CASES)
def test_inputs_and_targets_by_their_effects(effects, expected):
    found = pair_of_effects(effects)
    assert (found and tuple(one[2] for one in found)) == expected


@pytest.mark.parametrize(
    ("both", "rolled"), [(("return", "batch", "return"), ["x", "y"]), (("local", "batch", "steps"), [])]
)
def test_inputs_and_targets_that_are_returned_as_a_pair_are_no_steps_of_a_sequence(both, rolled):
    x, y = np.random.default_rng(0).standard_normal((2, 4, 3))
    record = IterationRecord(2, 1, end={key("x"): x, key("y"): y}, inside={both: Steps(np.stack([x, y]))})
    record.identities = {key("x"): 1, key("y"): 2, both: 3}
    varying = [VaryingValue(key("x"), (x,), None), VaryingValue(key("y"), (y,), None)]
    varying.append(VaryingValue(both, (np.stack([x, y]),), None))
    assert [group[0].key[2] for group in groups_of(varying, record)][: len(rolled)] == rolled
    assert sum(group[0].key in (key("x"), key("y")) for group in groups_of(varying, record)) == len(rolled)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((7.0, 9.0), "want"), ((8.0, 10.0), "want"), ((7.0, 8.0), "rows"), ((1.0, 3.0), "rows")],
)
def test_targets_that_are_rows_of_a_data_set_are_not_the_index(values, expected):
    sets = {key("X"): np.arange(6.0), key("y"): np.arange(6.0, 12.0)}
    record = IterationRecord(2, 1, start=sets, end={key("x"): np.array([1.0, 3.0]), key("want"): np.array(values)})
    targets = effect("rows", BACKWARD, ["want"], values=(1.0, 3.0))
    assert taken_by_index(targets, key("x"), record) == key(expected)


def test_inputs_that_equal_the_targets_are_not_the_sequence_from_which_both_are_taken():
    rows = np.random.default_rng(0).normal(size=(2, 9))
    records = [
        IterationRecord(number, 1, end={key("seq"): row, key("xs"): row[:-1], key("ys"): row[:-1]})
        for number, row in enumerate(rows)
    ]
    assert find_data_pair(records, set()) == (key("xs"), key("ys"))


@pytest.mark.parametrize(("other", "expected"), [([[7, 2, 5], [1, 6, 4]], None), ([[1, 0, 1], [0, 1, 1]], "rest")])
def test_an_array_that_remains_is_the_targets_unless_it_is_an_index(other, expected):
    draws = np.random.default_rng(0).normal(size=(2, 3, 4))
    records = [
        IterationRecord(number, 1, end={key("xb"): draws[number], key("rest"): np.array(one)})
        for number, one in enumerate(other)
    ]
    assert find_data_pair(records, set()) == ((key("xb"), key("rest")) if expected else (None, None))


def test_of_two_arrays_with_names_of_inputs_none_is_the_targets():
    draws = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    records = [
        IterationRecord(n, 1, end={key("weighted_input"): a, key("inputs"): b}) for n, (a, b) in enumerate(draws)
    ]
    assert find_data_pair(records, set()) == (None, None)


def test_an_argument_of_the_loss_function_that_is_rolled_too_late_for_the_loss_is_data():
    y, loss, gradient, hidden = ("local", "nll", "y"), ("return", "nll", "return"), key("dW"), key("hs")
    rows = np.random.default_rng(0).normal(size=(2, 2, 3))
    names = {key("x"): 1, y: 2}
    records = [
        IterationRecord(number, 1, end={key("x"): a, y: b, gradient: a, hidden: a, loss: 1.0}, identities=names)
        for number, (a, b) in enumerate(rows)
    ]

    class Replay:
        def replay(self, request):
            changed = {gradient} if y in request.rolled else {gradient, hidden, loss}
            values = {one: value + 1.0 if one in changed else value for one, value in records[-1].end.items()}
            return attrs.evolve(records[-1], end=values)

    computed = frozenset({gradient, hidden, loss})
    found = find_pair_by_effect(records, Replay(), set(), computed, computed, frozenset({loss}), math.inf)
    assert found == (key("x"), y)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ([], ("inputs", "targets")),
        (["x", "y"], ("x", "y")),
        (["step"], ("inputs", "targets")),  # a view and what is made of the other are no pair
    ],
)
def test_views_of_one_array_are_the_pair_unless_the_network_is_fed_with_what_is_made_of_them(encoded, expected):
    loss, hidden = key("loss"), key("hidden")
    places = {key("inputs"): (0, 320), key("targets"): (8, 328), key("x"): (400, 720), key("y"): (800, 1120)}
    places[key("step")] = (1200, 1520)
    records = []
    for number, row in enumerate(np.random.default_rng(0).normal(size=(2, 41))):
        end = {key("inputs"): row[:-1], key("targets"): row[1:], loss: row[0], hidden: row[1]}
        end |= {key(name): row[one : one + 40] + 1.0 for one, name in enumerate(encoded)}
        names = {one: place for place, one in enumerate(places) if one in end}
        records.append(IterationRecord(number, 1, end=end, identities=names, memory=places))

    class Replay:
        def replay(self, request):
            (rolled,) = request.rolled
            # Views of one array change together; what is made of them changes with them.
            changed = {loss, rolled} if rolled in (key("y"), key("step")) else {loss, hidden, rolled}
            if rolled == key("inputs") or (rolled == key("targets") and "step" not in encoded):
                changed |= records[-1].end.keys()
            values = {one: value + 1.0 if one in changed else value for one, value in records[-1].end.items()}
            return attrs.evolve(records[-1], end=values)

    computed = frozenset({loss, hidden})
    found = find_pair_by_effect(records, Replay(), set(), computed, computed, frozenset({loss}), math.inf)
    assert found == tuple(map(key, expected))


@attrs.define
class LinearNetwork:
    """An iteration of a network without a loop, with one weight and the same data in each iteration."""

    weight: float
    rows: int
    data: dict

    def replay(self, request):
        names = {name: request.pushes.get(key(name), self.data[name]) for name in "xy"}
        names |= {name: np.roll(value, 1, axis=0) for name, value in names.items() if key(name) in request.rolled}
        hidden = self.weight * names["x"][: self.rows]
        rest = hidden - names["y"][: self.rows]
        end = {key("hs"): hidden, key("rest"): rest, key("loss"): float(np.sum(rest**2)), key("dw"): rest * hidden}
        start = {key(name): value for name, value in self.data.items()}
        names = {key("x"): 1, key("y"): 2}
        return IterationRecord(2, 1, start=start, end=start | end, start_identities=names, identities=names)


@pytest.mark.parametrize(("rows", "expected"), [(4, (key("x"), key("y"))), (2, None)])
def test_data_that_is_the_same_in_each_iteration_is_a_pair_if_the_loss_depends_on_all_rows(rows, expected):
    x, y = np.random.default_rng(0).normal(size=(2, 4, 3))
    iterations = [LinearNetwork(weight, rows, {"x": x, "y": y}) for weight in (1.0, 0.9)]
    records = [one.replay(ReplayRequest()) for one in iterations]
    computed = frozenset(map(key, ("hs", "rest", "loss", "dw")))
    losses = frozenset([key("loss")])
    assert find_pair_by_effect(records, iterations[-1], set(), computed, computed, losses, math.inf) == expected


@pytest.mark.parametrize(("ids", "expected"), [([[3, 1, 0], [2, 0, 0]], "ids"), ([[3, 1, 0], [0, 2, 0]], "mask")])
def test_the_inputs_are_the_tokens_of_a_mask(ids, expected):
    arrays = {"mask": np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), "ids": np.array(ids), "label": np.array([1, 0])}
    varying = [VaryingValue(key(name), (one,), (whole_numbers_of(one),)) for name, one in arrays.items()]
    assert tokens_of_mask((key("mask"), key("label")), varying) == key(expected)
