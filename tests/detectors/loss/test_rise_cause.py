"""Whether a rise of the loss is a divergence, or whether the batches became harder."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.rise_cause import RISE_CAUSE, Rise, RiseCauses

RISE = Rise("the median", 3.0, "that before", 1.0, count=30, best_end=30)


def batch_of(closure=None):
    return Batch(data=None, phase="train", index=1, closure=closure)


def followed(losses, weights, drift=0.0, epochs=1):
    """The record of a run whose single weight moves by ``drift`` in each batch."""
    causes = RiseCauses()
    for epoch in range(epochs):
        if epoch:
            causes.batches.end_epoch()
        for loss in losses:
            causes.add(batch_of(), float(loss), weights)
            if causes.batches.batches == 30:
                causes.parameters.choose(20)  # a fifth of a window before the best batches end, as the alarm does
            weights["w"] += drift
    return causes


LEVELS = np.repeat([1.0, 3.0], 30) + np.linspace(0.0, 0.1, 60)


@pytest.mark.parametrize(
    ("loss", "kind"), [(lambda w: 1.0 + w, "divergence"), (lambda w: 3.0 - 0.01 * w, "order")], ids=["lost", "harder"]
)
def test_a_closure_decides_at_the_parameters_of_the_best_batches(loss, kind):
    weights = {"w": np.array([0.001])}
    causes = followed(LEVELS, weights, drift=0.05)
    batch = batch_of(lambda: float(loss(weights["w"][0])))
    assert causes.cause_of(RISE, batch, weights).kind == "pending"
    rise, cause = next(filter(None, (causes.evaluate(batch, weights) for _ in range(RISE_CAUSE.evaluated_batches))))
    assert (rise, cause.kind) == (RISE, kind)
    assert cause.shown_by.startswith("with the parameters of the best batches, the loss of the last ")
    assert causes.evaluate(batch, weights) is None


def test_after_the_order_was_shown_the_closure_is_not_asked_again_for_a_while():
    weights = {"w": np.array([10.0])}
    causes = followed(LEVELS, weights, drift=0.001)
    calls = []
    batch = batch_of(lambda: calls.append(1) or 3.0 + float(weights["w"][0]) * 1e-6)
    causes.cause_of(RISE, batch, weights)
    answers = [causes.evaluate(batch, weights) for _ in range(RISE_CAUSE.evaluated_batches)]
    assert [answer is None for answer in answers] == [True] * 4 + [False]
    asked = len(calls)
    assert causes.cause_of(RISE, batch, weights).kind == "pending"
    assert causes.evaluate(batch, weights) is None
    assert len(calls) == asked


@pytest.mark.parametrize("closure", [lambda: 1 / 0, lambda: 2.5], ids=["fails", "does not read the parameters"])
def test_a_closure_that_tells_nothing_is_not_asked_again(closure):
    weights = {"w": np.array([0.001])}
    causes = followed(LEVELS, weights, drift=1.0)
    causes.cause_of(RISE, batch_of(closure), weights)
    assert causes.evaluate(batch_of(closure), weights)[1].kind == "divergence"  # the parameters have moved far
    assert causes.closure_fails
    assert causes.cause_of(RISE, batch_of(closure), weights).kind == "divergence"


def test_without_a_closure_the_epoch_before_the_parameters_and_the_targets_are_compared():
    far = {"w": np.array([0.001])}
    assert followed(LEVELS, far, drift=1.0).cause_of(RISE, batch_of(), far).kind == "divergence"
    near = {"w": np.array([10.0])}
    assert followed(LEVELS, near, drift=0.01).cause_of(RISE, batch_of(), near).kind == "order"
    between = {"w": np.array([3.0])}
    assert followed(LEVELS, between, drift=0.1).cause_of(RISE, batch_of(), between).kind == "unknown"
    assert followed(LEVELS, {"w": np.zeros(1)}).cause_of(RISE, batch_of(), None).kind == "unknown"
    again = {"w": np.array([30.0])}
    cause = followed(LEVELS, again, drift=0.1, epochs=2).cause_of(RISE, batch_of(), again)
    assert cause.kind == "order"
    assert cause.shown_by == "an epoch before, the batches at the same positions had 3.075 (median)"


def test_a_rise_that_is_small_in_the_epoch_before_is_no_divergence():
    weights = {"w": np.array([30.0])}
    small = Rise("the median", 0.6, "that before", 0.1, count=30, best_end=30)
    cause = followed(LEVELS, weights, drift=0.1, epochs=2).cause_of(small, batch_of(), weights)
    assert cause.kind == "order"
    assert cause.shown_by.startswith("at other positions of the epoch before it was up to 3.0")


@pytest.mark.parametrize(("later", "kind"), [(0.5, "order"), (1.5, "divergence")])
def test_a_validation_loss_that_falls_meanwhile_shows_harder_batches(later, kind):
    weights = {"w": np.array([0.001])}
    causes = followed(LEVELS, weights, drift=1.0)
    causes.validation.add("val", 1.0, 20)
    causes.validation.add("val", later, 60)
    assert causes.cause_of(RISE, batch_of(), weights).kind == kind
