"""RNN603 where no data are shown: a run that stays where it began, and what denies it."""

import numpy as np
import pytest

from rnncallbacks.detectors.progress.unlearned_run import UnlearnedRun


def check(*, first=1.1, epochs=(1.1, 1.09, 1.1, 1.11), step=0.5, bias=0.0, batches=200, classes=0, weight=1.0):
    params = {"W": weight * np.eye(3), "b": np.array([0.0, bias, 0.0])}
    run = UnlearnedRun()
    run.begin(params)
    if classes:
        run.add_gradients({"b": np.arange(classes) - (classes - 1) / 2})
    run.add_losses([first] * 20)
    params["W"][0, 1] = step
    return run.check(epochs, params, batches)


def test_a_run_that_stays_where_it_began_is_noted_as_a_plateau_looks_alike():
    finding = check()
    assert finding.severity == "info"
    assert (finding.code, finding.evidence["first_loss"]) == ("RNN603", pytest.approx(1.1))


def test_the_first_loss_of_large_weights_is_that_of_equal_probabilities():
    assert check(first=1.5) is None
    assert check(first=1.5, classes=3).evidence["first_loss"] == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    "other",
    [
        {"epochs": (1.1, 1.0, 1.1, 1.1)},
        {"epochs": (1.1, 1.1, 1.1, 1.5)},
        {"epochs": (1.1, 1.1, 1.1)},
        {"batches": 100},
        {"step": 0.01},
        {"bias": 0.1},
        {"weight": 0.1},
        {"first": -1.0, "epochs": (-1.0,) * 4},
    ],
    ids=[
        "learned",
        "diverged",
        "few epochs",
        "few batches",
        "hardly moved",
        "trained before",
        "small weights",
        "no likelihood",
    ],
)
def test_each_condition_must_hold(other):
    assert check(**other) is None
