"""The closure around an update: when it is trusted, how often it is called, and what it shows."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.update.update_closure import CLOSURE_BUDGET, UpdateClosure
from rnncallbacks.detectors.update.update_record import UpdateRecord


def follow(values, *, loss=2.0, updates=None, large=False):
    """Plays updates with a closure that gives ``values`` one after the other; returns all that came of it."""
    values, calls = iter(values), []

    def closure():
        calls.append(None)
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    kept, record = UpdateClosure(), UpdateRecord()
    for number in range(1 if updates is None else updates):
        batch = Batch(data=None, phase="train", index=number + 1, loss=loss, closure=closure)
        kept.before_update(batch, record)
        record.add_loss(loss, 1.0)
        record.update_ratios.append(0.1 if large else 1e-4)
        kept.after_update(batch, record)
    return kept, record, len(calls)


def test_a_closure_that_gives_the_loss_is_called_after_the_update_alone():
    kept, record, calls = follow([2.0, 1.5, 2.5], updates=2)
    assert (kept.agreement, record.loss_changes, calls) == ("exact", [-0.25, 0.25], 3)


def test_a_loss_of_another_scale_is_compared_with_itself():
    kept, record, calls = follow([20.0, 20.0, 15.0], updates=1)
    assert (kept.agreement, record.loss_changes, calls) == ("repeatable", [-2.5], 3)


@pytest.mark.parametrize("values", [[20.0, 21.0], [ValueError("gone")], [20.0, ValueError("gone")], [2.0, [1.0, 2.0]]])
def test_a_closure_that_cannot_be_trusted_is_not_called_again(values):
    kept, record, calls = follow(values, updates=5)
    assert (kept.agreement, record.loss_changes, calls) == ("useless", [], len(values))


def test_a_closure_that_does_not_read_the_parameters_is_found_after_three_updates():
    kept, record, calls = follow([2.0] * 9, updates=6)
    assert (kept.agreement, record.loss_changes, calls) == ("useless", [], 4)


@pytest.mark.parametrize(
    ("changed", "large", "changes"),
    [
        (2.1, True, CLOSURE_BUDGET.most_updates),
        (1.9, True, CLOSURE_BUDGET.most_updates),  # the loss does not fall
        (2.1, False, CLOSURE_BUDGET.first_updates),
    ],
)
def test_calls_are_bounded(changed, large, changes):
    _, record, calls = follow([2.0] + [changed] * 100, updates=60, large=large)
    assert (len(record.loss_changes), calls) == (changes, changes + 1)


def test_updates_are_measured_again_while_the_losses_are_high():
    kept, record = UpdateClosure(), UpdateRecord()
    measured = []
    for number in range(400):
        loss = 1.0 if number < 200 else 2.0
        batch = Batch(data=None, phase="train", index=number + 1, loss=loss, closure=lambda: 3.0)
        if measures := record.measures_next:
            kept.agreement = "exact"
            record.update_ratios.append(0.1)
        record.add_loss(loss, 1.0)
        if measures:
            kept.after_update(batch, record)
        if record.late_changes and len(record.late_changes) > len(measured):
            measured.append(number)
    assert record.late_changes == [0.5] * len(measured)
    assert measured == [210, *range(220, 400, 10)]


def test_whether_it_reads_the_parameters_is_tried_and_undone():
    params = {"w": np.array([2.0]), "fixed": np.array([1.0])}
    params["fixed"].flags.writeable = False
    for closure, reads in ((lambda: float(params["w"][0]), True), (lambda: 2.0, False)):
        batch = Batch(data=None, phase="train", index=1, loss=2.0, closure=closure)
        assert UpdateClosure().reads_parameters(batch, params) is reads
        assert params["w"] == 2.0
