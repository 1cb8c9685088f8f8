"""An item of a list of parameters that stays as it is, with a gradient of zeros, is a parameter as well."""

import attrs
import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.frozen_siblings import zero_gradients
from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate


def key(name):
    return "end", "__main__", name


RECORD = IterationRecord(
    1,
    1,
    start={key("weights[0]"): np.ones(3), key("weights[1]"): np.ones((2, 2)), key("data[1]"): np.ones((2, 2))},
    end={key("weights[0]"): np.zeros(3), key("weights[1]"): np.ones((2, 2)), key("dw[1]"): np.zeros((2, 2))},
)
SOURCES = {key("weights[0]"): [GradientCandidate(key("dw[0]"), alignment=1.0, sign=1.0, moment=0)]}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (None, None, {key("weights[1]"): key("dw[1]")}),
        ("dw[1]", np.eye(2), {}),  # a gradient that is not used
        ("dw[1]", np.zeros(3), {}),
        ("weights[1]", np.zeros((2, 2)), {}),  # it changes
    ],
)
def test_a_constant_item_with_a_gradient_of_zeros(name, value, expected):
    record = attrs.evolve(RECORD, end=RECORD.end | ({key(name): value} if name else {}))
    assert {one: found.key for one, found in zero_gradients([record], SOURCES).items()} == expected


def test_a_state_of_zeros_among_the_parameters_is_none():
    record = attrs.evolve(RECORD, start=RECORD.start | {key("weights[1]"): np.zeros((2, 2))})
    assert zero_gradients([record], SOURCES) == {}
