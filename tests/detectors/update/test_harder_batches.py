import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.update.harder_batches import HarderBatches
from rnncallbacks.detectors.update.update_record import UpdateRecord


def batch_of(loss, scale=1.0, network_loss=None):
    inputs = np.random.default_rng(0).normal(size=(6, 4, 1))
    return Batch((inputs, scale * inputs), "train", 1, loss=loss, network_loss=network_loss)


def follow(harder, losses, scales, network_losses=None):
    record = UpdateRecord()
    for number, (loss, scale) in enumerate(zip(losses, scales, strict=True)):
        pair = None if network_losses is None else iter(network_losses[number])
        batch = batch_of(loss, scale, None if pair is None else lambda pair=pair: next(pair))
        harder.before_update(batch, record)
        if record.wants_targets:
            record.add_targets(batch.data[1])
        record.add_loss(loss, 1.0)
        harder.after_update(batch, record)
    return record


def test_losses_that_rise_with_their_targets_are_explained():
    harder = HarderBatches()
    record = follow(harder, [1.0] * 4 + [9.0] * 8, [1.0] * 4 + [3.0] * 8)
    assert harder.explain_rise(record)


def test_losses_below_those_of_a_constant_prediction_have_not_risen_whatever_a_closure_shows():
    harder = HarderBatches()
    record = follow(harder, [0.01] * 4 + [0.5] * 8, [0.1] * 4 + [1.0] * 8)
    record.loss_changes = [0.5] * 8
    assert harder.explain_rise(record)


def by_class(order, record_changes=()):
    harder, record = HarderBatches(), UpdateRecord()
    record.loss_changes += record_changes
    for number, label in enumerate(order):
        loss = 0.1 if number < 6 else 4.0
        batch = Batch((np.zeros((4, 6, 1)), np.full(4, label)), "train", number + 1, loss=loss)
        record.add_loss(loss, 1.0)
        harder.after_update(batch, record)
    return harder.explain_rise(record)


def test_batches_that_are_sorted_by_class_are_not_compared():
    assert by_class([0] * 6 + [1] * 8)
    assert not by_class([0, 1] * 7)
    assert not by_class([0] * 6 + [1] * 8, record_changes=[0.5] * 8)


@pytest.mark.parametrize(
    ("numbers", "growth", "update", "explained"),
    [
        (range(14), 1.2, 0.25, True),
        (range(14), 1.4, 0.25, False),
        (range(14), 1.2, 0.35, False),
        ([3, 9, 1, 12, 5, 0, 13, 7, 2, 10, 4, 11, 6, 8], 1.2, 0.25, False),
    ],
)
def test_numbers_in_order_explain_a_rise_that_small_updates_did_not_make(numbers, growth, update, explained):
    harder, record = HarderBatches(), UpdateRecord()
    record.weight_growth, record.update_ratios = growth, [0.05, update]
    for place, number in enumerate(numbers):
        batch = Batch(number, "train", place + 1, loss=0.1 + place)
        record.add_loss(batch.loss, 1.0)
        harder.after_update(batch, record)
    assert harder.explain_rise(record) == explained


def test_losses_that_rise_by_themselves_are_not():
    harder = HarderBatches()
    record = follow(harder, [1.0] * 4 + [9.0] * 8, [1.0] * 12)
    assert not harder.explain_rise(record)


def test_without_a_rise_nothing_is_measured():
    harder = HarderBatches()
    record = follow(harder, [1.0, 0.9, 0.8, 0.9, 0.8, 0.7], [1.0] * 6, [(1.0, 2.0)] * 6)
    assert record.loss_changes == []


def test_the_recognized_network_shows_whether_updates_raise_the_loss():
    losses = [1.0] + [4.0] * 7
    record = follow(HarderBatches(), losses, [1.0] * 8, [(loss, loss - 0.5) for loss in losses])
    assert record.loss_changes[-1] == pytest.approx(-0.5)
    assert len(record.loss_changes) == 4


def test_a_network_with_another_loss_is_not_used():
    losses = [1.0] + [4.0] * 7
    record = follow(HarderBatches(), losses, [1.0] * 8, [(1.01 * loss, 9.0) for loss in losses])
    assert record.loss_changes == []


def test_a_network_that_cannot_read_a_batch_is_not_used():
    record = follow(HarderBatches(), [1.0] + [4.0] * 7, [1.0] * 8, [(None, None)] * 8)
    assert record.loss_changes == []
