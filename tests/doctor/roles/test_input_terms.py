"""Inputs in several arrays of bits are one array of tokens."""

import math

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.input_terms import find_other_terms, joined_bits


def key(name):
    return "end", "__main__", name


BITS = {"a": [0, 1, 1, 0], "b": [1, 1, 0, 1], "c": [0, 0, 1, 1], "mask": [1, 0, 1, 0]}
EFFECTS = {"a": ("h", "loss"), "b": ("h", "loss"), "c": ("loss",), "mask": ("loss",)}


@attrs.define
class Replay:
    record: IterationRecord

    def replay(self, request):
        changed = {key(name): np.ones(3) for one in request.rolled for name in EFFECTS[one[2]]}
        return attrs.evolve(self.record, end={**self.record.end, **changed})


def iteration(shift):
    values = {key(name): np.roll(bits, shift) for name, bits in BITS.items()}
    values |= {key("h"): np.full(3, 0.1 + shift), key("loss"): np.full(3, 0.2 + shift)}
    return IterationRecord(
        number=1 + shift, activation=1, end=values, identities={name: number for number, name in enumerate(values)}
    )


def terms(pair):
    records = [iteration(0), iteration(1)]
    computed = frozenset({key("h"), key("loss")})
    return find_other_terms(pair, records, Replay(records[-1]), set(computed), computed, math.inf)


def test_the_other_number_to_be_added_is_an_input():
    assert terms((key("b"), key("c"))) == (key("a"),)


def test_without_a_pair_there_are_no_terms():
    assert terms(None) == ()


def test_arrays_that_are_no_bits_are_not_joined():
    assert joined_bits([np.array([0, 2]), np.array([1, 1])]).tolist() == [0, 2]
