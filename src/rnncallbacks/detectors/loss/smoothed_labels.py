r"""RNN302 of a loss with smoothed labels, by the observed logits of a few batches.

With a share :math:`\epsilon` of each target spread over all classes, the loss is
:math:`(1 - \epsilon) \ell + \epsilon u`, where :math:`\ell` is the negative log-likelihood of the targets and :math:`u`
the mean of that of all classes. One share explains the losses of all batches, with one softmax or with two. So does one
factor the losses that are a squared error, or one minus the probability of the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.initial_loss_findings import (
    missing_probability,
    second_softmax_of_smoothed_labels,
    squared_error_under_logits,
)
from rnncallbacks.detectors.loss.likelihood import (
    missing_probability_under_logits,
    nll_of_softmax_twice,
    nll_under_logits,
    squared_errors_under_logits,
    uniform_nll_under_logits,
)
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class SmoothedLabelThresholds:
    """Thresholds of a share that explains all losses."""

    batches: int = 4
    """First training batches whose losses one share must explain. Chosen by eye."""

    tolerance: float = 1e-5
    """Largest relative difference between a loss and the explained one: rounding errors of float32."""

    largest_share: float = 0.7
    """Largest share of a target that is spread. Chosen by eye: 0.1 is usual."""


SMOOTHED_LABELS = SmoothedLabelThresholds()


@attrs.define(eq=False)
class SmoothedLabelDetector:
    """Fits the share of smoothed labels to the losses of the first training batches whose logits are observed.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> detector, targets = SmoothedLabelDetector(), np.array([[0], [2]])
    >>> for scale in (0.5, 1.0, 1.5, 2.0):
    ...     logits = scale * np.array([[[1.0, 0.0, -1.0]], [[0.0, 2.0, 1.0]]])
    ...     batch = Batch((targets, targets), "train", 1, observed={"logits": logits})
    ...     uniform = uniform_nll_under_logits(logits, targets, twice=False)
    ...     result = detector.check(batch, 0.9 * nll_under_logits(logits, targets) + 0.1 * uniform)
    >>> print(result.checked["RNN302"])
    4 losses are those of the observed logits, with a share of 0.1 of each target spread over all classes
    """

    done: bool = state_field(False)
    _rows: list[tuple[float, float, float, float, float]] = state_field(factory=list)
    _errors: dict[str, list[float]] = state_field(factory=dict)
    _missing: list[float] = state_field(factory=list)

    def stop(self) -> None:
        """End the comparison: the loss function is known."""
        self.done, self._rows, self._errors, self._missing = True, [], {}, []

    def check(self, batch: Batch, loss: float) -> CheckResult:
        """Add a training batch; at the last of ``batches``, the share is fitted."""
        logits, targets = batch.observed.get("logits"), sequences_of(batch).targets
        if logits is None or targets is None:
            self.stop()
            return NOTHING_COMPARED
        once, twice = nll_under_logits(logits, targets), nll_of_softmax_twice(logits, targets)
        uniform = [uniform_nll_under_logits(logits, targets, twice=second) for second in (False, True)]
        if once is None or twice is None or uniform[0] is None or uniform[1] is None:
            self.stop()
            return NOTHING_COMPARED
        self._rows.append((loss, once, uniform[0], twice, uniform[1]))
        for name, error in squared_errors_under_logits(logits, targets).items():
            self._errors.setdefault(name, []).append(error)
        self._missing.append(missing_probability_under_logits(logits, targets) or 0.0)
        if len(self._rows) < SMOOTHED_LABELS.batches:
            return NOTHING_COMPARED
        losses, *parts = np.array(self._rows).T
        errors = {name: np.array(one) for name, one in self._errors.items() if len(one) == len(losses)}
        missing = np.array(self._missing)
        self.stop()
        share = _fitted_share(losses, parts[0], parts[1])
        if share is not None:
            words = "are those of the observed logits, with a share of"
            compared = f"{len(losses)} losses {words} {share:.3g} of each target spread over all classes"
            return CheckResult(checked={"RNN302": compared})
        share = _fitted_share(losses, parts[2], parts[3])
        if share is not None:
            return CheckResult(finding=second_softmax_of_smoothed_labels(share, len(losses)))
        classes = np.size(logits) // targets.size
        for name, squares in errors.items():
            if _one_factor(losses, squares):
                words = f"the squared error of {name} and one-hot target"
                return CheckResult(finding=squared_error_under_logits(words, loss, squares[-1], once, classes))
        if _one_factor(losses, missing):
            return CheckResult(finding=missing_probability(loss, missing[-1], once, classes))
        if _one_factor(losses, parts[0]):
            return NOTHING_COMPARED
        why = (
            f"the loss, {loss:.4g}, is not that of the observed logits and targets, {once:.4g}: a penalty, weights "
            "or a mask that are not shown, or another function"
        )
        return CheckResult(withdrawn={"RNN302": why})


def _one_factor(losses: np.ndarray, errors: np.ndarray) -> bool:
    """Whether all losses are the same multiple of the errors."""
    if not (errors > 0.0).all():
        return False
    factors = losses / errors
    return bool(factors[0] > 0.0 and np.ptp(factors) <= SMOOTHED_LABELS.tolerance * factors[0])


def _fitted_share(losses: np.ndarray, nll: np.ndarray, uniform: np.ndarray) -> float | None:
    """The share that explains all losses; None if there is none."""
    change = uniform - nll
    squares = float(change @ change)
    share = float((losses - nll) @ change) / squares if squares else 0.0
    distance = np.abs(nll + share * change - losses).max()
    fits = distance <= SMOOTHED_LABELS.tolerance * np.abs(losses).max()
    return share if fits and -SMOOTHED_LABELS.tolerance <= share <= SMOOTHED_LABELS.largest_share else None
