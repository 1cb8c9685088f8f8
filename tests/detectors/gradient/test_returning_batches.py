"""The losses of batches that return in the next pass, against the slopes that their gradients give."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.batch_changes import BatchChange, compare_changes
from rnncallbacks.detectors.gradient.returning_batches import ReturningBatchDetector
from rnncallbacks.detectors.training_batch import TrainingBatch

Change = Callable[[dict[str, Array]], Mapping[str, Array]]
FEATURES, UNITS, CLASSES, BATCHES = 6, 8, 4, 30


def play(
    change: Change = dict, *, passes: int = 4, rate: float = 0.5, data: str = "fixed", micro_batches: int = 1
) -> Finding | None:
    """Train one hidden layer on numbered batches; ``change`` is the mistake in the gradients.

    Those of ``micro_batches`` add up in buffers until an update.
    """
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(FEATURES, CLASSES))
    inputs = generator.normal(size=(BATCHES, 5, FEATURES))
    params = {
        "kernel": generator.normal(size=(FEATURES, UNITS)) / 2.0,
        "head": generator.normal(size=(UNITS, CLASSES)) / 2.0,
        "bias": np.zeros(CLASSES),
        "unused": np.zeros((0, CLASSES)),
    }
    detector, running, step = ReturningBatchDetector(), 1.4, 0
    buffers = {name: np.zeros_like(array) for name, array in params.items()}
    for _ in range(passes):
        for number in generator.permutation(BATCHES):
            x = generator.normal(size=(5, FEATURES)) if data == "new" else inputs[number]
            y = np.eye(CLASSES)[(x @ truth).argmax(axis=1)]
            hidden = np.tanh(x @ params["kernel"])
            scores = hidden @ params["head"] + params["bias"]
            p = np.exp(scores)
            p /= p.sum(axis=1, keepdims=True)
            d = (p - y) / len(x)
            back = d @ params["head"].T * (1.0 - hidden**2)
            gradients = {"kernel": x.T @ back, "head": hidden.T @ d, "bias": d.sum(axis=0)}
            gradients["unused"] = np.zeros_like(params["unused"])
            loss = float(-np.log((p * y).sum(axis=1)).mean())
            running += 0.02 * (loss - running)
            if detector.over:
                return None
            for name, buffer in buffers.items():
                buffer *= step % micro_batches > 0
                buffer += gradients[name]
            reported, gradients = running if data == "smoothed" else loss, Gradients(change(buffers))
            found = detector.check(TrainingBatch(1, Batch(number, "train", 1), reported, gradients, params))
            if found is not None:
                return found
            step += 1
            if step % micro_batches:
                continue
            for name, array in params.items():
                array -= rate / micro_batches * change(buffers)[name]
        detector.begin_pass()
    return None


def scaled(**factors: float) -> Change:
    return lambda gradients: {name: factors.get(name, 1.0) * array for name, array in gradients.items()}


def test_array_of_the_wrong_sign_is_named() -> None:
    found = play(scaled(kernel=-1.0))
    assert found is not None
    assert (found.code, found.evidence["array"]) == ("RNN404", "kernel")
    assert found.evidence["ratio"] == pytest.approx(-1.0, abs=0.3)


def test_factor_of_all_arrays() -> None:
    found = play(scaled(kernel=5.0, head=5.0, bias=5.0), rate=0.02)
    assert found is not None
    assert found.code == "RNN405"
    assert found.evidence["factor"] == pytest.approx(5.0, rel=0.3)


def test_slopes_far_above_the_loss() -> None:
    found = play(scaled(kernel=3000.0), rate=0.01)
    assert found is not None
    assert found.code == "RNN404"


@pytest.mark.parametrize(("decay", "found"), [(1e-3, False), (5e-4, False), (0.1, True)])
def test_slopes_of_a_weight_decay_that_the_loss_does_not_contain(decay: float, found: bool) -> None:
    generator = np.random.default_rng(0)
    changes = []
    for first_loss, last_loss, growth in generator.uniform([1e-3, 5e-4, 60.0], [2e-3, 1e-3, 80.0], (30, 3)):
        slopes = np.array([0.0, decay * growth])
        changes.append(BatchChange(first_loss, last_loss, slopes, slopes, np.array([0.0, growth]), is_alike=True))
    assert (compare_changes(["bias", "kernel"], changes) is not None) is found


@pytest.mark.parametrize("data", ["fixed", "new", "smoothed"])
@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 3.0])
def test_right_gradients(rate: float, data: str) -> None:
    assert play(rate=rate, data=data, passes=8) is None


def test_gradients_that_add_up_over_micro_batches() -> None:
    assert play(rate=0.1, passes=8, micro_batches=3) is None


def test_without_an_index_nothing_is_followed() -> None:
    detector = ReturningBatchDetector()
    batch, gradients = Batch(np.zeros((2, 3)), "train", 1), Gradients({"w": np.ones(2)})
    assert detector.check(TrainingBatch(1, batch, 1.0, gradients, {"w": np.ones(2)})) is None
    assert detector.over
    assert not detector.waits
