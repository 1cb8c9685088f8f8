"""Copies of an array that an update reads, and arrays that are equal to it in the first iteration alone."""

import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate, candidates_of, followed_candidate

BIAS, READ, GRADIENT = ("end", "__main__", "b"), ("operand", "step", "read"), ("local", "backward", "db")


def recorded(number, gradient, read):
    """One iteration: a function returns the gradient, and the update reads another array."""
    record = IterationRecord(number, 1, {BIAS: np.zeros(1)}, {BIAS: -0.1 * np.array([read])})
    record.start_identities[BIAS] = record.identities[BIAS] = 1
    for moment, (key, value) in enumerate([(GRADIENT, gradient), (READ, read)]):
        record.inside[key], record.order[key], record.identities[key] = np.array([value]), moment, moment + 2
    record.bases[READ] = 1
    return record


@pytest.mark.parametrize(
    ("read_later", "found"),
    [
        pytest.param(0.9, GRADIENT, id="an average"),
        pytest.param(0.7, READ, id="a copy"),
        pytest.param(1.7, READ, id="a sum that is never set to zero"),
    ],
)
def test_the_gradient_is_what_the_update_reads_but_not_an_average(read_later, found):
    records = [recorded(1, 1.0, 1.0), recorded(2, 0.7, read_later)]
    assert candidates_of(BIAS, {BIAS}, records)[0].key == found


@pytest.mark.parametrize(("clipped", "found"), [(False, "sum"), (True, "of step")])
def test_the_gradient_is_what_the_update_follows_or_what_was_clipped_to_it(clipped, found):
    followed = np.array([1.0, 2.0, 3.0, 4.0])
    first = np.where(followed == 4.0, 9.0, followed) if clipped else followed**1.1
    record = IterationRecord(1, 1, {BIAS: np.zeros(4)}, {BIAS: -0.1 * followed})
    keys = [("local", "backward", name) for name in ("of step", "sum")]
    record.inside = dict(zip(keys, (first, followed), strict=True))
    candidates = [GradientCandidate(key, 1.0, 1.0, moment) for moment, key in enumerate(keys)]
    assert followed_candidate(BIAS, candidates, record).key[2] == found


def test_the_step_of_adam_has_no_name_and_is_not_followed():
    gradient, step = ("local", "step", "grad"), ("operand", "step", "m / (np.sqrt(v) + 1e-8)")
    followed = np.array([1.0, -1.0, 1.0, 1.0])
    record = IterationRecord(1, 1, {BIAS: np.zeros(4)}, {BIAS: -0.1 * followed})
    record.inside = {gradient: followed * [1.0, 2.0, 3.0, 4.0], step: followed}
    candidates = [GradientCandidate(key, 1.0, 1.0, moment) for moment, key in enumerate((gradient, step))]
    assert followed_candidate(BIAS, candidates, record).key == gradient
    assert followed_candidate(BIAS, candidates[1:], record).key == step
