"""A gradient that contains the one before is found, on purpose or not, with a closure and without."""

import numpy as np
import pytest

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.accumulation import (
    AccumulationDetector,
    previous_gradient_included,
    sums_of_gradients,
)
from rnncallbacks.detectors.gradient.directional import DirectionalDerivatives
from rnncallbacks.detectors.gradient.gradient_history import GradientHistory
from rnncallbacks.detectors.training_batch import TrainingBatch


def derivatives(*, previous=0.0):
    """Those of a sum of squares, with ``previous`` added to the gradient."""
    params = {"w": np.array([[1.0, 2.0], [-1.0, 0.5]])}

    def loss():
        return float((params["w"] ** 2).sum())

    return DirectionalDerivatives(loss, params, {"w": 2.0 * params["w"] + previous}, loss())


PREVIOUS = np.array([[1.0, 1.0], [-1.0, 1.0]])


def test_a_gradient_that_contains_the_one_before_is_found():
    detector = AccumulationDetector()
    detector.keep({"w": PREVIOUS})
    result = detector.check(derivatives(previous=PREVIOUS), params_moved=True)
    assert (result.finding.code, result.checked) == ("RNN406", {})
    assert result.finding.evidence["ratio"] > 1.1
    assert detector.sums_found
    assert detector.due(12)  # whether a repair helped


def test_a_sum_on_purpose_is_no_fault_and_the_next_batch_is_checked():
    detector = AccumulationDetector()
    detector.keep({"w": PREVIOUS})
    assert detector.check(derivatives(previous=PREVIOUS), params_moved=False).finding is None
    assert detector.sums_found
    assert detector.due(3)


def test_a_correct_gradient_is_checked_once():
    detector = AccumulationDetector()
    detector.keep({"w": PREVIOUS})
    result = detector.check(derivatives(), params_moved=True)
    assert (result.finding, tuple(result.checked), detector.sums_found) == (None, ("RNN406",), False)
    assert not any(detector.due(batch) for batch in range(1, 20))


def test_a_previous_gradient_that_is_too_small_to_show_is_waited_for():
    detector = AccumulationDetector()
    detector.keep({"w": 1e-3 * PREVIOUS})
    result = detector.check(derivatives(), params_moved=True)
    assert tuple(result.checked) == ()
    assert detector.due(3)


def test_what_clipping_made_of_the_previous_gradient_is_tried_too():
    detector = AccumulationDetector()
    detector.keep({"w": PREVIOUS})
    detector.keep({"w": 0.5 * PREVIOUS}, clipped=True)
    result = detector.check(derivatives(previous=0.5 * PREVIOUS), params_moved=True)
    assert result.finding is not None


def without_closure(gradient_of, *, count=None):
    detector, results = AccumulationDetector(), []
    for number in range(1, 19):
        batch = Batch(None, "train", number, count=count)
        gradients = Gradients({"w": gradient_of(number)})
        results.append(detector.check_without_closure(TrainingBatch(number, batch, 1.0, gradients, None)))
        if results[-1].finding is not None:
            break
    return results


def test_without_a_closure_growing_norms_are_found():
    step = np.random.default_rng(0).normal(size=300)
    assert without_closure(lambda number: number * step)[-1].finding.code == "RNN406"
    assert not any(result.finding for result in without_closure(lambda number: number * step, count=2))


def test_without_a_closure_fresh_gradients_pass_after_sixteen_batches():
    generator = np.random.default_rng(0)
    results = without_closure(lambda number: generator.normal(size=300))
    assert [tuple(result.checked) for result in results] == [()] * 15 + [("RNN406",)] + [()] * 2


def test_messages_have_the_ratio_the_growth_or_the_unchanged_share():
    assert "predicts 2.01 times the change of the loss" in previous_gradient_included(2.01).message
    history = GradientHistory()
    history.norms, history.cosines = [1.0, 2.0, 3.5], [0.9, 0.95]
    finding = sums_of_gradients(history)
    assert "within 3 batches the norm grew 3.5 times" in finding.message
    assert finding.evidence["growth"] == 3.5
    history.unchanged_batches, history.unchanged_share = 3, 0.25
    finding = sums_of_gradients(history)
    assert "25% of them kept their exact value for 3 batches" in finding.message
    assert finding.evidence["unchanged_share"] == 0.25


@pytest.mark.parametrize("unchanged", [0, 3])
def test_headlines_are_short(unchanged):
    history = GradientHistory()
    history.norms, history.cosines, history.unchanged_batches = [1.0, 2.0], [0.9], unchanged
    for finding in (sums_of_gradients(history), previous_gradient_included(2.0)):
        assert len(finding.message.partition(":")[0]) <= 80


def test_without_a_closure_gradients_that_resemble_one_another_are_undecided():
    step = np.random.default_rng(0).normal(size=300)
    last = without_closure(lambda number: step + 1e-3 * number)[15]
    assert (list(last.checked), list(last.cannot_tell)) == ([], ["RNN406"])
    assert "closure=" in last.cannot_tell["RNN406"]


def test_entries_that_return_to_zero_prove_that_nothing_is_kept():
    step = np.random.default_rng(0).normal(size=300)
    last = without_closure(lambda number: step * (np.arange(300) % 16 != number % 16))[15]
    assert "returned to exactly zero" in last.checked["RNN406"]


@pytest.mark.parametrize(
    ("given", "arrays"),
    [
        ({"w": 3.0, "b": 7.0}, ["w", "b"]),
        ({"w": 3.0, "b": 5.0}, ["w"]),
        ({"w": 2.5, "b": 5.0}, None),
    ],
    ids=["all", "one", "other"],
)
def test_arrays_that_contain_the_gradient_before_are_named(given, arrays):
    detector = AccumulationDetector()
    detector.keep({"w": np.array([2.0]), "b": np.array([2.0])})
    right = {"w": np.array([1.0]), "b": np.array([5.0])}
    gradients = {name: np.array([value]) for name, value in given.items()}
    wrong = [name for name in right if gradients[name] != right[name]]
    finding = detector.find_exact_sum(right, wrong, gradients, params_moved=True)
    assert (finding is None) is (arrays is None)
    assert detector.sums_found is (arrays is not None)
    if finding is not None:
        assert (finding.code, finding.evidence["arrays"]) == ("RNN406", len(arrays))
        assert len(finding.message.partition(":")[0]) <= 80
