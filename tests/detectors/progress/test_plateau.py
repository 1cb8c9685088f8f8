"""A plateau at the end of a run: a note if something was learned, a warning if nothing was."""

import numpy as np
import pytest

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.detectors.progress.plateau import check_plateau


def test_a_plateau_is_found_with_its_level_and_slope():
    finding = check_plateau([3.0, *np.linspace(2.02, 2.0, 30)], batches=900).finding
    assert (finding.code, finding.severity) == ("RNN601", "info")
    assert finding.message.startswith("the training loss stays at 67% of its first value: ")
    assert finding.evidence["slope"] == pytest.approx(-0.02 / 29)
    assert finding.evidence["epochs"] == 31


@pytest.mark.parametrize(
    ("epochs", "batches", "severity"), [(50, 500, "warning"), (49, 500, "info"), (50, 499, "info")]
)
def test_nothing_learned_is_a_warning_after_enough_of_the_run(epochs, batches, severity):
    finding = check_plateau([2.0] * epochs, batches).finding
    assert finding.severity == severity
    assert finding.message.startswith(f"nothing was learned in {epochs} epochs: ") == (severity == "warning")


@pytest.mark.parametrize("training", [np.full(19, 2.0), np.zeros(30), np.full(30, -1.0)])
def test_what_cannot_be_judged(training):
    assert check_plateau(training.tolist(), batches=900) == CheckResult()


@pytest.mark.parametrize("training", [np.linspace(3.0, 2.0, 30), np.array([3.0] + [1.0] * 30)])
def test_what_is_no_plateau_passes(training):
    result = check_plateau(training.tolist(), batches=900)
    assert result.finding is None
    assert result.checked["RNN601"].startswith(f"the last 20 of {len(training)} epochs lowered the training loss by ")
