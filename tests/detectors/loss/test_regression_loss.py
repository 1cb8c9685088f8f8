"""The loss of a regression, by the outputs, by the loss at zero parameters, and by its height."""

import numpy as np
import pytest

from rnncallbacks.detectors.loss.regression_loss import check_regression_loss

STEPS, ROWS = 20, 16
COUNTS = {"the number of time steps": 20.0, "the batch size": 16.0, "the number of positions": 320.0}
RNG = np.random.default_rng(0)
TARGETS = {outputs: RNG.normal(0.2, 0.7, (STEPS, ROWS, outputs)) for outputs in (1, 2, 3)}


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("error", [np.square, lambda y: np.square(y) / 2, np.abs])
def test_means_pass_and_sums_are_named(outputs, error):
    targets = TARGETS[outputs]
    predicted = targets + RNG.normal(0.0, 1.0, targets.shape)
    values, first = error(targets), error(predicted - targets)
    for axes, factor in ((None, 1), ("steps", STEPS), ("rows", ROWS), ("all", STEPS * ROWS)):
        for over_outputs in (1, outputs):
            scale = factor * over_outputs
            for evidence in ({"at_zero": scale * values.mean()}, {"outputs": predicted}):
                found = check_regression_loss(scale * first.mean(), targets, counts=COUNTS, **evidence)
                if axes is None:
                    assert found.finding is None
                    assert set(found.checked) == {"RNN301", "RNN302", "RNN303"}
                else:
                    assert (found.finding.code, found.finding.evidence["factor"]) == ("RNN301", factor)


@pytest.mark.parametrize("total", [1, STEPS * ROWS * 2])
def test_the_mean_and_the_sum_of_signed_errors_are_named(total):
    targets = TARGETS[2]
    predicted = targets + RNG.normal(0.0, 1.0, targets.shape)
    value = float((predicted - targets).mean() * total)
    for evidence in ({"at_zero": -float(targets.mean() * total)}, {"outputs": predicted}):
        finding = check_regression_loss(value, targets, counts=COUNTS, **evidence).finding
        assert (finding.code, finding.cause) == ("RNN302", "errors of opposite signs cancel")
        assert "it has no minimum" in finding.message


def test_the_height_alone_tells_sums_and_large_weights_from_means():
    targets, square = TARGETS[1], float(np.mean(TARGETS[1] ** 2))
    healthy = check_regression_loss(6.0 * square, targets, counts=COUNTS, weight_scale=0.6)
    assert (healthy.finding, list(healthy.checked), set(healthy.not_checked)) == (
        None,
        ["RNN303"],
        {"RNN301", "RNN302"},
    )
    between = check_regression_loss(9.0 * square, targets, counts=COUNTS, weight_scale=0.6)
    assert (between.finding, dict(between.checked)) == (None, {})
    assert check_regression_loss(19.0 * square, targets, counts=COUNTS, weight_scale=0.6).finding.code == "RNN301"
    assert check_regression_loss(19.0 * square, targets, counts=COUNTS, weight_scale=5.0).finding.code == "RNN303"
    assert check_regression_loss(1e5 * square, targets, counts=COUNTS, weight_scale=0.6).finding.code == "RNN303"
    unknown = check_regression_loss(19.0 * square, targets, counts=COUNTS)
    assert (unknown.finding, len(unknown.cannot_tell)) == (None, 3)


def test_a_loss_that_is_no_error_of_the_targets_cannot_be_told():
    targets = TARGETS[1]
    found = check_regression_loss(0.5, targets, counts=COUNTS, at_zero=0.317)
    assert set(found.cannot_tell) == {"RNN301", "RNN302"}
    assert not check_regression_loss(0.5, np.zeros((3, 4, 1)), counts=COUNTS).checked


@pytest.mark.parametrize(
    ("ratio", "weight_scale", "code"), [(10.5, 1.0, "RNN301"), (10.5, 0.0, None), (6.5, 1.0, None)]
)
def test_a_first_loss_near_a_count_is_a_sum_if_the_output_weights_are_small(ratio, weight_scale, code):
    targets = np.random.default_rng(0).normal(size=(15, 16, 1))
    loss = ratio * float(np.mean(targets**2))
    found = check_regression_loss(loss, targets, counts={"the number of time steps": 15.0}, weight_scale=weight_scale)
    assert (found.finding and found.finding.code) == code


@pytest.mark.parametrize("evidence", [{}, {"at_zero": 1e-3}])
def test_small_targets_of_a_first_batch_accuse_neither_weights_nor_a_sum(evidence):
    targets = np.sqrt(1e-3) * np.sign(np.random.default_rng(0).normal(size=(15, 16, 1)))
    for loss in (0.016, 0.3):  # 16 and 300 times the mean squared target
        found = check_regression_loss(loss, targets, counts={"the batch size": 16.0}, weight_scale=0.6, **evidence)
        assert found.finding is None
    assert check_regression_loss(3.0, targets, counts={"the batch size": 16.0}, weight_scale=0.6).finding
