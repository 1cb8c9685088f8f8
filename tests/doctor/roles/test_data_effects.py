"""Inputs are what changes the most, targets what changes only the loss and the gradients."""

import numpy as np
import pytest

from rnncallbacks.doctor.roles.data_effects import DataEffect, pair_of_effects
from rnncallbacks.doctor.roles.data_pair import VaryingValue, whole_numbers_of

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
    "a step of the inputs": ([effect("x", EVERYTHING, ["x_last"]), effect("x_last", BACKWARD)], None),
    "no targets": ([effect("x", EVERYTHING)], None),
}


@pytest.mark.parametrize(("effects", "expected"), CASES.values(), ids=CASES)
def test_inputs_and_targets_by_their_effects(effects, expected):
    found = pair_of_effects(effects)
    assert (found and tuple(one[2] for one in found)) == expected
