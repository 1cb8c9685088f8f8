"""Gradients of earlier batches are removed, whether a script accumulates in its own arrays or passes copies."""

import numpy as np
import pytest

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.detectors.gradient.earlier_gradients import EarlierGradients

VALUES = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("copies", [False, True])
def test_each_batch_gets_its_own_gradients(copies):
    earlier, total, seen = EarlierGradients(), np.zeros(2), []
    for value in VALUES:
        total += value
        grads = Gradients({"w": total.copy() if copies else total})
        earlier.remove(grads)
        seen.append(float(grads["w"][0]))
        earlier.zero(grads)
        assert not grads["w"].any()
    assert seen == VALUES


def test_the_norm_is_that_of_what_is_left():
    earlier = EarlierGradients()
    for total, norm in ((3.0, 3.0), (7.0, 4.0)):
        grads = Gradients({"w": np.array([total])})
        assert grads.norm == total
        earlier.remove(grads)
        assert grads.norm == norm


def test_it_may_begin_in_the_middle_of_a_batch():
    earlier, grads = EarlierGradients(), Gradients({"w": np.array([5.0])})
    earlier.keep(grads)
    later = Gradients({"w": np.array([7.0])})
    earlier.remove(later)
    assert later["w"] == 2.0
