"""How the checks of a gradient depend on each other: what ends what, and how often the closure is evaluated."""

import numpy as np
import pytest

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.correctness import CorrectnessChecks
from rnncallbacks.detectors.gradient.update_tracker import UpdateTracker
from rnncallbacks.detectors.training_batch import TrainingBatch


class Script:
    """A sum of squares with a closure that counts its calls, and gradients made of the correct ones."""

    def __init__(self, gradient_of=lambda gradient: gradient, *, closure=True):
        self.params = {"w": np.array([[1.0, 2.0], [-1.0, 0.5]])}
        self.gradient_of, self.calls = gradient_of, 0
        self.closure = self.loss_of_batch if closure else None
        self.checks, self.updates = CorrectnessChecks(), UpdateTracker()

    def loss_of_batch(self):
        self.calls += 1
        return self.loss()

    def loss(self):
        return float((self.params["w"] ** 2).sum())

    def check(self, number, *, repaired=False):
        batch = Batch(None, "train", number, closure=self.closure)
        gradients = Gradients({"w": self.gradient_of(2.0 * self.params["w"])})
        given = TrainingBatch(number, batch, self.loss(), gradients, self.params)
        return list(self.checks.check(given, self.updates, repaired=repaired))


def test_a_closure_ends_the_checks_without_one():
    script = Script()
    script.check(1)
    assert [number for number in range(17, 300) if not script.checks.is_idle(number)] == [100, 250]


def test_without_a_closure_the_codes_are_not_checked():
    (with_closure, *_) = Script(closure=False).check(1)
    assert set(with_closure.not_checked) == {"RNN404", "RNN405"}
    assert "closure" in with_closure.not_checked["RNN404"]


@pytest.mark.parametrize("repaired", [False, True])
def test_a_repair_ends_the_checks_without_a_closure(repaired):
    script = Script(closure=False)
    script.check(1, repaired=repaired)
    assert script.checks.is_idle(20) == repaired


def test_a_closure_that_gives_the_reported_loss_is_not_evaluated_again_where_only_sums_are_looked_for():
    script = Script()
    script.check(1)
    script.calls = 0
    (result, _) = script.check(2)
    assert tuple(result.checked) == ("RNN406",)
    assert script.calls == 2


def test_a_finding_ends_later_gradient_checks():
    script = Script(lambda gradient: gradient.T.copy())
    findings = [one.finding for one in script.check(1) if one.finding is not None]
    assert [finding.code for finding in findings] == ["RNN404"]
    script.calls = 0
    script.check(10)
    assert script.calls == 0


def test_a_batch_that_has_to_confirm_a_factor_is_not_idle():
    script = Script(lambda gradient: 0.37 * gradient)
    script.check(1)
    assert not script.checks.is_idle(20)
    codes = [one.finding.code for number in (20, 21) for one in script.check(number) if one.finding is not None]
    assert codes == ["RNN405"]
    assert script.checks.is_idle(22)
