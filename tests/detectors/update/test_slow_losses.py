"""RNN502 by losses that hardly fall, and what denies it."""

import math

import numpy as np
import pytest

from rnncallbacks.detectors.update.slow_losses import SlowLosses
from rnncallbacks.detectors.update.update_record import UpdateRecord


def check(
    *,
    ratio=9e-5,
    last_ratio=9e-5,
    gradient=5.0,
    constant_loss=2.0,
    classes=0,
    first=2.0,
    fall=1e-4,
    planned=1000,
    initial_biases=False,
):
    record, slow = UpdateRecord(), SlowLosses()
    record.has_initial_biases = initial_biases
    record.constant_loss, record.relative_gradients, record.unscheduled_ratios = (
        constant_loss,
        [gradient] * 30,
        [ratio] * 30,
    )
    record.update_ratios = [*[ratio] * 30, last_ratio]
    if classes:
        slow.add_gradients({"w": np.ones((3, 3)), "b": np.arange(classes) - (classes - 1) / 2})
    for number in range(240):
        record.add_loss(first - fall * number, 1.0)
        slow.add(record.losses[-1])
    return slow.check(record, planned).finding


@pytest.mark.parametrize(
    "slow",
    [
        {},
        {"constant_loss": 0.0, "classes": 8, "first": math.log(8)},
        {"fall": -1e-4},
        {"constant_loss": 4.0, "initial_biases": True},
    ],
    ids=["targets are known", "classes by the gradient", "rising", "biases show that it is untrained"],
)
def test_losses_that_hardly_fall_are_reported(slow):
    finding = check(**slow)
    assert (finding.code, finding.severity) == ("RNN502", None)
    assert finding.remedy.startswith("multiply the learning rate by about 11, until")


@pytest.mark.parametrize(
    "other",
    [
        {"ratio": 2e-4},
        {"last_ratio": 1e-3},
        {"gradient": 0.01},
        {"constant_loss": 4.0},
        {"constant_loss": 0.0},
        {"constant_loss": 0.0, "classes": 8, "first": 0.5},
        {"fall": 2e-3},
        {"planned": 20_000},
    ],
    ids=lambda other: " ".join(other),
)
def test_each_condition_must_hold(other):
    assert check(**other) is None


@pytest.mark.parametrize(("first", "found"), [(1.7e-4, True), (1e-3, False)])
def test_updates_that_become_smaller_as_those_of_adagrad_count_by_the_last_ones(first, found):
    record, slow = UpdateRecord(), SlowLosses()
    record.constant_loss, record.relative_gradients, record.unscheduled_ratios = 2.0, [5.0] * 30, [first] * 30
    record.update_ratios = [*[first] * 30, 6e-5, 5e-5, 5e-5]
    for _ in range(240):
        record.add_loss(2.0, 1.0)
        slow.add(2.0)
    assert (slow.check(record, 1000).finding is not None) is found
