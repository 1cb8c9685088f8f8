import math

import numpy as np
import pytest

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.update.rate_checks import RateChecks


def train(checks, losses, step=-0.1):
    """The results of all batches, each of which moves one parameter by the same step."""
    params, found = {"w": np.array([3.0, 4.0])}, []
    for index, loss in enumerate(losses, start=1):
        batch, gradients = Batch(None, "train", index, loss=loss), Gradients({"w": np.array([1.0, 2.0])})
        found.append(checks.before_update(batch, gradients, params, lambda: 1.0))
        params["w"] += step * gradients["w"]
        if math.isfinite(loss):
            found += checks.after_update(batch, params, lambda: 1.0, lambda: 1000)
    return found


def test_a_healthy_run_is_measured_and_compared():
    checks = RateChecks()
    found = train(checks, np.linspace(3.0, 1.0, 60).tolist(), step=-0.001)
    assert not [result for result in found if result.finding is not None]
    assert {code for result in found for code in result.checked} == {"RNN501", "RNN502", "RNN503"}
    assert not checks.measured_nothing


@pytest.mark.parametrize(("may_recover", "recovers"), [(True, True), (False, False)])
def test_after_a_restart_a_run_that_may_recover_is_told_to_have(may_recover, recovers):
    checks = RateChecks()
    train(checks, [3.0] * 5)
    checks.restart(may_recover=may_recover)
    train(checks, [2.0] + [0.01] * 39, step=-0.001)
    assert (checks.check_recovery() is not None) is recovers


@pytest.mark.parametrize("restarted", [False, True])
def test_updates_up_the_gradient_are_those_of_the_first_updates_of_a_run(restarted):
    """After RNN501, momentum from before may point anywhere."""
    checks = RateChecks()
    if restarted:
        train(checks, [3.0] * 5)
        checks.restart(may_recover=True)
    codes = [result.finding.code for result in train(checks, [3.0] * 6, step=0.01) if result.finding is not None]
    assert ("RNN503" in codes) is not restarted


def test_a_run_of_few_batches_says_how_many_are_needed():
    checks = RateChecks()
    train(checks, [1.0, 1.0])
    assert checks.why_not_checked("RNN502").endswith("2 were seen")


def test_updates_that_are_skipped_are_not_measured():
    checks, params = RateChecks(), {"w": np.array([3.0, 4.0])}
    batch = Batch(None, "train", 1, loss=1.0)
    checks.before_update(batch, Gradients({"w": np.ones(2)}), params, lambda: 1.0)
    checks.skip_update()
    list(checks.after_update(batch, params, lambda: 1.0, lambda: 1000))
    assert checks.measured_nothing
