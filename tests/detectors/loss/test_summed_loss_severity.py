"""The severity of a summed loss: a warning after a proportional update, a note after another, and patience."""

import math

import numpy as np
import pytest

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.detectors.loss.summed_loss_severity import SUMMED_LOSS, SummedLossSeverity

FINDING = Finding("RNN301", "the loss is 20 times a mean", {"factor": 20.0})
GRADIENT = np.array([3.0, 0.1, -2.0])


def update(severity, step):
    severity.before_update({"w": np.ones(3)}, {"w": GRADIENT})
    return severity.after_update({"w": np.ones(3) - step})


@pytest.mark.parametrize(("step", "expected"), [(0.1 * GRADIENT, None), (0.1 * np.sign(GRADIENT), "info")])
def test_the_first_update_decides(step, expected):
    severity = SummedLossSeverity()
    assert not severity.waiting
    severity.hold(FINDING)
    finding = update(severity, step)
    assert finding.severity == expected
    assert finding.explains == (None if expected is None else "")  # a rate that is too high has another cause then
    assert finding.evidence["factor"] == 20.0
    assert finding.evidence["update_gradient_cosine"] == pytest.approx(1.0 if expected is None else 0.816, abs=1e-3)
    assert not severity.waiting


def test_parameters_that_stay_are_waited_for_and_then_the_catalogue_decides():
    severity = SummedLossSeverity()
    severity.hold(FINDING)
    for _ in range(SUMMED_LOSS.waiting_batches - 1):
        assert update(severity, 0.0) is None
    finding = update(severity, 0.0)
    assert finding.severity is None
    assert math.isnan(finding.evidence["update_gradient_cosine"])


def test_nothing_comes_of_no_finding_or_of_a_batch_without_gradients():
    assert update(SummedLossSeverity(), 0.1 * GRADIENT) is None
    severity = SummedLossSeverity()
    severity.hold(FINDING)
    assert severity.after_update({"w": np.zeros(3)}) is None
    assert severity.waiting


@pytest.mark.parametrize(("factor", "expected"), [(2.0, "info"), (4.0, "info"), (5.0, None)])
def test_a_sum_over_few_terms_is_a_note(factor, expected):
    """It multiplies the learning rate by the factor, which most rates bear."""
    severity = SummedLossSeverity()
    severity.hold(Finding("RNN301", "the loss is a sum", {"factor": factor}))
    assert update(severity, 0.1 * GRADIENT).severity == expected


def test_a_sum_with_clipped_updates_is_a_note_that_explains_a_rate_that_is_too_high():
    severity = SummedLossSeverity()
    severity.hold(FINDING)
    gradients = {"w": np.array([90.0, 0.1, -0.2, 0.3])}
    severity.before_update({"w": np.ones(4)}, gradients)
    finding = severity.after_update({"w": np.ones(4) - 0.1 * np.clip(gradients["w"], -0.3, 0.3)})
    assert (finding.severity, finding.explains) == ("info", None)
