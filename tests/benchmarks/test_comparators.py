"""The published rules fire where their sources say, and nowhere else."""

import comparators
import numpy as np
import pytest

from rnncallbacks import Run
from rnncallbacks.plugins.remedies.loss_averaging import LossAveraging


def findings_of(name, losses, *, validation=None, grads=None, learning_rate=0.001, epoch=10, states=None):
    """The findings of a rule over epochs of these losses."""
    rule = getattr(comparators, name)()
    params = {"first": np.full((3, 4), 0.5), "bias": np.zeros(4), "last": np.full((4, 3), 0.5)}
    params["first"][0] = params["last"][0] = -0.5
    grads = grads or {name: np.full_like(array, 0.1) for name, array in params.items()}
    parts = [losses[start : start + epoch] for start in range(0, len(losses), epoch)]
    with Run(params, plugins=[LossAveraging(), rule], learning_rate=learning_rate) as run:
        for number in run.epochs(len(parts)):
            for loss in run.batches(parts[number - 1]):
                if states is not None:
                    run.observe(hidden_states=states)
                run.backward(loss, grads)
                params["first"] += 1e-3
                params["last"] += 1e-3
            for loss in run.batches([parts[number - 1][-1]] if validation is None else [validation[number - 1]], "val"):
                run.record(loss)
    return rule.findings


FALLING = [4.0 * 0.97**step for step in range(100)]


@pytest.mark.parametrize("name", [rule.__name__ for rule in comparators.COMPARATORS])
def test_no_rule_fires_on_a_loss_that_falls_evenly(name):
    assert findings_of(name, FALLING[:60]) == {}


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["NanOnly", "TheDeepChecker", "SpikeDetection"])
def test_a_loss_that_is_not_finite_is_found_at_once(name, loss):
    assert findings_of(name, [*FALLING[:7], loss, *FALLING[7:20]])["RNN403"] == 8


def test_loss_not_decreasing_compares_every_tenth_step():
    assert findings_of("LossNotDecreasing", [3.0] + [9.0] * 9 + [2.0]) == {}
    assert findings_of("LossNotDecreasing", [3.0] + [1.0] * 9 + [2.998]) == {"RNN601": 11}
    assert findings_of("LossNotDecreasing", [3.0] + [1.0] * 9 + [3.2]) == {"RNN602": 11}


def test_stagnation_takes_five_means_of_ten():
    assert findings_of("TheDeepChecker", [2.0] * 49) == {}
    assert findings_of("TheDeepChecker", [2.0] * 50) == {"RNN601": 50}
    assert findings_of("TheDeepChecker", [2.0] * 20 + [1.8] * 30) == {}


def test_divergence_is_doubling_each_time():
    doubling = [2.0**place for place in range(5) for _ in range(10)]
    assert findings_of("TheDeepChecker", doubling)["RNN602"] == 50


@pytest.mark.parametrize(("rate", "code"), [(0.02, "RNN501"), (1e-8, "RNN502")])
def test_umlaut_knows_good_rates(rate, code):
    assert findings_of("Umlaut", FALLING[:20], learning_rate=rate) == {code: 10}


def test_umlaut_calls_overfitting_what_rises_once():
    assert findings_of("Umlaut", FALLING[:30], validation=[3.0, 2.0, 2.1]) == {"RNN604": 30}


def test_a_spike_is_three_times_the_running_mean():
    assert findings_of("SpikeDetection", [1.0] * 12 + [2.9]) == {}
    assert findings_of("SpikeDetection", [1.0] * 12 + [3.1]) == {"RNN605": 13}


@pytest.mark.parametrize(
    ("first", "last", "code"), [(0.0, 1.0, "RNN402"), (71.0, 1.0, "RNN401"), (2.0, 1.0, "RNN502"), (0.0, 0.0, "RNN407")]
)
def test_autotrainer_tells_symptoms_by_gradients_once_training_is_slow(first, last, code):
    grads = {"first": np.full((3, 4), first), "bias": np.ones(4) * last, "last": np.full((4, 3), last)}
    assert findings_of("AutoTrainer", [2.0] * 30, grads=grads) == {code: 30}


def test_autotrainer_calls_swings_of_accuracy_oscillation():
    losses = [loss for number in range(6) for loss in [0.1 if number % 2 else 0.3] * 10]
    assert findings_of("AutoTrainer", losses)["RNN501"] == 40


def test_deepdiagnosis_leads_from_symptom_to_fix():
    flat = [2.0] * 50
    assert findings_of("DeepDiagnosis", flat) == {"RNN601": 50}
    assert findings_of("DeepDiagnosis", flat, learning_rate=10.0) == {"RNN601": 50, "RNN501": 50}
    zero = {"first": np.zeros((3, 4)), "bias": np.zeros(4), "last": np.zeros((4, 3))}
    assert set(findings_of("DeepDiagnosis", FALLING, grads=zero)) == {"RNN402", "RNN403", "RNN502"}


def test_deepdiagnosis_looks_at_states_of_tanh():
    full = np.sign(np.random.default_rng(0).standard_normal((5, 2, 3)))
    assert findings_of("DeepDiagnosis", FALLING, states=full) == {"RNN407": 50}
    assert findings_of("DeepDiagnosis", FALLING, states=0.9 * full) == {}
