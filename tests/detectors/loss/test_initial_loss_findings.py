"""The findings of the loss function: a headline that fits, numbers, and a remedy with the measured number in it."""

import math

import pytest

from rnncallbacks.detectors.loss import initial_loss_findings as findings
from rnncallbacks.detectors.loss.uniform_loss import UniformLoss, match_loss_at_zero, squared_errors

COUNTS = {
    "the number of time steps": 20.0,
    "the length of axis 0 of the inputs": 12.0,
    "the number of positions": 64000.0,
}
UNIFORM = math.log(36)


def headline(finding):
    return finding.message.partition(": ")[0]


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_a_sum_over_each_count(name, count):
    match = match_loss_at_zero(count * UNIFORM, (36,), {name: count})
    for finding in (
        findings.summed_at_zero(count * UNIFORM, match),
        findings.summed_first_loss(count * UNIFORM, match),
        findings.summed_likelihood(count * 3.4, 3.4, count, name),
    ):
        assert finding.code == "RNN301"
        assert headline(finding) == f"the loss is {count:g} times a mean, and {count:g} is {name}"
        assert len(headline(finding)) <= 80
        assert finding.remedy == f"divide the loss and its gradients by {count:g}, {name}"
    divided = findings.divided_twice(
        UNIFORM / count, UniformLoss("divided twice", UNIFORM / count, "ln 36", count, name)
    )
    assert len(headline(divided)) <= 80
    assert divided.severity is None
    assert f"by {count:g}" in divided.remedy


def test_a_sum_over_an_unknown_count():
    finding = findings.summed_at_zero(112 * UNIFORM, UniformLoss("sum", 112 * UNIFORM, "ln 36", 112.0))
    assert finding.message == (
        f"the loss is 112 times a mean: with all parameters at zero it is {112 * UNIFORM:.6g} = 112 x ln 36"
    )
    assert finding.remedy == "divide the loss and its gradients by 112"


@pytest.mark.parametrize("error", squared_errors(36), ids=lambda error: error.name)
@pytest.mark.parametrize("counts", [{}, {"the number of time steps": 20.0}], ids=["mean", "sum"])
def test_every_squared_error(error, counts):
    value = error.value * math.prod(counts.values())
    match = UniformLoss("other function", value, error.formula, *(counts and (20.0, *counts)), name=error.name)
    for finding in (
        findings.other_function_at_zero(value, match, 36),
        findings.other_function_of_first_losses(value, 1.01 * value, match, 36),
    ):
        assert finding.code == "RNN302"
        assert headline(finding) == f"the loss is {error.name}"
        assert len(headline(finding)) <= 80
        assert finding.message.endswith("a mean negative log-likelihood has ln 36 = 3.584")
        assert "ln 36 = 3.584" in finding.remedy
    at_zero = findings.other_function_at_zero(value, match, 36).message
    assert ("= 20 x " in at_zero and "summed over the number of time steps" in at_zero) == bool(counts)


@pytest.mark.parametrize(("scale", "advice"), [(18.0, ": divide the output weights by about 30"), (0.6, "")])
def test_large_weights(scale, advice):
    finding = findings.large_initial_weights(9.3, UNIFORM, scale, "ln 36")
    assert finding.message == (
        "the first loss is 2.6 times that of a uniform prediction: 9.3 instead of 3.584, ln 36; "
        f"the scale of the output weights is {scale:.3g}, typical is 0.6"
    )
    assert finding.remedy.endswith(f"1 / sqrt(hidden_size){advice}")
