"""RNN302: a squared error of classes, by the observed logits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.detectors.loss import initial_loss_findings as findings
from rnncallbacks.detectors.loss.target_classes import TargetClasses


@attrs.frozen(kw_only=True)
class SquaredErrorThresholds:
    """Tolerance of the agreement of a loss with a squared error."""

    tolerance: float = 1e-5
    """Largest relative difference: rounding errors of float32."""


SQUARED_ERROR = SquaredErrorThresholds()


def check_squared_error(
    loss: float, nll: float, errors: Mapping[str, float], counts: Mapping[str, float], classes: TargetClasses
) -> Finding | None:
    """RNN302 if a loss is a squared error of the observed logits: a mean, or a sum over classes or one of the counts.

    Example
    -------
    >>> classes = TargetClasses((2,), certain=True, regression=False, known=True)
    >>> finding = check_squared_error(0.31, 0.7, {"softmax": 0.155}, {"the batch size": 4.0}, classes)
    >>> print(finding.message)
    the loss is the squared error of softmax and one-hot target: it is 0.31, 2 times that under the observed logits,
    0.155, and the mean negative log-likelihood is 0.7; a mean negative log-likelihood has ln 2 = 0.6931
    """
    number = max(classes.candidates)
    for name, error in errors.items():
        for count in (1.0, *counts.values()):
            for factor in (count, count * number, count / 2.0, count * number / 2.0):
                if math.isclose(loss, factor * error, rel_tol=SQUARED_ERROR.tolerance):
                    words = f"the squared error of {name} and one-hot target"
                    return findings.squared_error_under_logits(words, loss, error, nll, number)
    return None
