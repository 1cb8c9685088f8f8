"""Copies around an update: the same measures from flat and from named arrays, and in memory that is used again."""

import numpy as np
import pytest

from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.detectors.update.update_copies import UpdateCopies
from rnncallbacks.detectors.update.update_record import UpdateRecord

SHAPES = {"w": (3, 4), "b": (4,)}


def measure(flat, *, keep_gradients=True, updates=2):
    generator = np.random.default_rng(0)
    params, grads = FlatArrays(SHAPES, "float64"), FlatArrays(SHAPES, "float64")
    if not flat:
        params, grads = dict(params), dict(grads)
    copies, record, ratios = UpdateCopies(), UpdateRecord(), []
    for name in SHAPES:
        params[name][...] = generator.normal(size=SHAPES[name])
    for _ in range(updates):
        for name in SHAPES:
            grads[name][...] = generator.normal(size=SHAPES[name])
        copies.take(params, Gradients(grads), keep_gradients=keep_gradients)
        assert copies.awaiting_update
        for name in SHAPES:
            params[name][...] -= 0.1 * grads[name]
        record.add_loss(1.0, 1.0)
        ratios.append(copies.measure(params, record, 1.0))
        assert not copies.awaiting_update
    return copies, record, ratios


def test_flat_arrays_give_the_same_measures_as_named_ones():
    (flat, flat_record, _), (named, named_record, _) = measure(True), measure(False)
    assert (flat.flat, named.flat) == (True, False)
    for name in ("update_ratios", "unscheduled_ratios", "predicted_decreases", "relative_gradients", "initial_ratios"):
        assert getattr(flat_record, name) == pytest.approx(getattr(named_record, name))
    assert flat_record.gradient_cosine == pytest.approx(1.0)


def test_without_gradients_sizes_alone_are_measured():
    _, record, ratios = measure(True, keep_gradients=False)
    assert record.update_ratios == ratios
    assert record.predicted_decreases == []


def test_other_arrays_than_before_are_not_compared():
    copies, record, _ = measure(False)
    copies.take({"w": np.ones(3)}, Gradients({"w": np.ones(3)}), keep_gradients=True)
    assert copies.measure({"v": np.ones(3)}, record, 1.0) is None


def test_memory_is_used_again_until_it_is_dropped():
    copies, _, _ = measure(False)
    kept = copies.parameters
    copies.take(
        {name: np.ones(shape) for name, shape in SHAPES.items()}, Gradients({"w": np.ones(3)}), keep_gradients=True
    )
    assert copies.parameters is kept
    copies.drop()
    assert (copies.parameters, copies.gradients, copies.awaiting_update) == ({}, {}, False)
