"""Identifies the loss function, its scale, and initial weights that are too large, by the first losses (RNN301 to 303).

The strongest evidence is the loss with all parameters at zero, which needs a closure; then observed logits; then the
first losses alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.closure import ClosureError
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss import initial_loss_findings as findings
from rnncallbacks.detectors.loss.constant_baseline import constant_losses
from rnncallbacks.detectors.loss.likelihood import nll_of_softmax_twice, nll_under_logits, squared_errors_under_logits
from rnncallbacks.detectors.loss.loss_at_zero import evaluate_loss_at_zero
from rnncallbacks.detectors.loss.output_weights import excess_of_weights, output_weight_scale
from rnncallbacks.detectors.loss.prediction_entropy import check_entropy, has_no_softmax, is_of_softmax
from rnncallbacks.detectors.loss.regression_loss import check_regression_loss
from rnncallbacks.detectors.loss.second_softmax import check_bounded_loss, check_softmax_once
from rnncallbacks.detectors.loss.sigmoid_loss import check_sigmoid_loss, is_binary
from rnncallbacks.detectors.loss.squared_error import check_squared_error
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.loss.target_classes import TargetClasses, find_target_classes, smallest_class_count
from rnncallbacks.detectors.loss.uniform_loss import (
    match_first_loss,
    match_loss_at_zero,
    match_low_losses,
    match_whole_multiple,
)
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

CODES = ("RNN301", "RNN302", "RNN303")
LOSS_CODES = ("RNN301", "RNN302")


@attrs.frozen(kw_only=True)
class InitialLossThresholds:
    """Thresholds of a first loss that is too high, and tolerances of its agreement with a likelihood."""

    largest_first_ratio: float = 1.5
    """Largest first loss in units of the uniform loss, ln V: 1.3 was measured on small healthy networks."""
    large_weight_scale: float = 3.0
    """Smallest scale of output weights that explains a high first loss: five times the typical 0.6; chosen by eye."""
    largest_first_ratio_of_large_weights: float = 1.25
    """Largest first loss in units of ln V if the output weights are large; chosen by eye."""
    largest_chance: float = 3.0
    """Standard deviations by which the first loss may be higher by chance, as in a test at 0.1 %. A prediction
    from logits with a standard deviation of s has a loss with a standard deviation of about s."""
    likelihood_tolerance: float = 1e-3
    """Largest relative difference between a loss and a multiple of the mean negative log-likelihood: rounding errors
    of float32 and small penalties. Chosen by eye."""
    multiple_tolerance: float = 1e-5
    """Largest relative difference between a loss and a multiple whose factor is no known count, such as a number of
    micro-batches: rounding errors of float32."""
    entropy_tolerance: float = 0.25
    """Largest relative distance of a first loss from the entropy of the targets that a bias at their frequencies
    explains. Chosen by eye."""
    low_loss_batches: int = 3
    """Batches after which first losses below ln V are checked: a squared error hardly moves within them. Chosen by
    eye."""


INITIAL_LOSS = InitialLossThresholds()


@attrs.define(eq=False)
class InitialLossDetector:
    """Checks the loss in the first training batches, until the result is known or cannot be known.

    Example
    -------
    >>> import numpy as np
    >>> from rnncallbacks.core.batch import Batch
    >>> tokens = np.arange(320).reshape(20, 16) % 36
    >>> batch = Batch((np.eye(36)[tokens], np.eye(36)[tokens]), "train", 1, batch_size=16)
    >>> result = InitialLossDetector().check(batch, 20 * 3.58, {"head": np.full((36, 8), 0.1)})
    >>> print(result.finding.message)
    the loss is 20 times a mean, and 20 is the number of time steps: the first loss is 71.6 = 19.98 x ln 36
    """

    done: bool = state_field(False)
    is_mean_nll: bool = state_field(False)  # by its values at zero and at large parameters
    losses: list[float] = state_field(factory=list)  # of the checked batches
    _class_count: int = state_field(0)

    def give_up(self, why: str) -> CheckResult:
        """End the check without a result."""
        self.done = True
        return CheckResult(not_checked=dict.fromkeys(CODES, why))

    def check(
        self,
        batch: Batch,
        loss: float,
        params: Mapping[str, Array],
        gradients: Mapping[str, Array] | None = None,
    ) -> CheckResult:
        """Check a training batch with a finite loss, before its update.

        ``done`` is False afterwards if more batches are needed.
        """
        targets = sequences_of(batch).targets
        self.losses.append(loss)
        self._class_count = max(self._class_count, smallest_class_count(targets))
        classes = find_target_classes(batch, params, self._class_count, gradients)
        if classes.regression:
            self.done = True
            return self._check_regression(batch, loss, params, gradients)
        if not classes.candidates:
            return self.give_up("run.observe(inputs=..., targets=...)")
        if len(self.losses) == 1:
            return self._check_first(batch, loss, params, classes, gradients)
        if len(self.losses) == INITIAL_LOSS.low_loss_batches:
            self.done = True
            if not classes.known:  # a regression has such losses too
                return _unclear("the first losses are low: run.observe(inputs=..., targets=...)")
            if gradients is not None and is_of_softmax(loss, params, gradients):
                return _unclear("the first losses are low: run.observe(logits=...)")
            if gradients is not None and has_no_softmax(gradients, classes.candidates):
                return _unclear("the gradients are those of outputs without a softmax: run.observe(logits=...)")
            baseline = max(constant_losses(targets), default=0.0) if targets is not None else 0.0
            return check_low_losses(self.losses, classes.candidates, baseline)
        return NOTHING_COMPARED

    def _check_regression(
        self, batch: Batch, loss: float, params: Mapping[str, Array], gradients: Mapping[str, Array] | None
    ) -> CheckResult:
        targets = sequences_of(batch).targets
        assert targets is not None
        outputs = targets.shape[-1] if targets.ndim > 2 else 1
        if outputs not in {array.size for array in params.values()} and targets.ndim > 2 and 1 in targets.shape:
            outputs = 1  # the last axis is the batch's
        try:
            at_zero = evaluate_loss_at_zero(batch, loss, params)
        except ClosureError:
            at_zero = None
        counts, logits = summation_counts(batch), batch.observed.get("logits")
        weight_scale = output_weight_scale(params, outputs, gradients)
        if is_binary(targets):
            large = weight_scale if weight_scale > INITIAL_LOSS.large_weight_scale else None
            of_sigmoid = check_sigmoid_loss(
                loss, targets, counts=counts, at_zero=at_zero, outputs=logits, large_weights=large
            )
            if of_sigmoid is not None:
                return of_sigmoid
        return check_regression_loss(
            loss, targets, counts=counts, at_zero=at_zero, outputs=logits, weight_scale=weight_scale
        )

    def _check_first(
        self,
        batch: Batch,
        loss: float,
        params: Mapping[str, Array],
        classes: TargetClasses,
        gradients: Mapping[str, Array] | None,
    ) -> CheckResult:
        counts = summation_counts(batch)
        weight_scale = max(output_weight_scale(params, count, gradients) for count in classes.candidates)
        logits, targets = batch.observed.get("logits"), sequences_of(batch).targets
        nll = None if logits is None or targets is None else nll_under_logits(logits, targets)
        # A negative log-likelihood is never below 0.
        wrong = findings.negative_loss(loss, max(classes.candidates)) if loss < 0.0 and classes.known else None
        if wrong is None and nll is not None and targets is not None:
            wrong = check_softmax_once(loss, nll, nll_of_softmax_twice(logits, targets), counts)
            wrong = wrong or check_squared_error(
                loss, nll, squared_errors_under_logits(logits, targets), counts, classes
            )
        if wrong is not None:
            self.done = True
            return CheckResult(finding=wrong)
        try:
            at_zero = evaluate_loss_at_zero(batch, loss, params)
        except ClosureError as error:
            reasons = dict.fromkeys(CODES, str(error))
        else:
            self.done = True
            predictions = 1 if targets is None else max(1, targets.size)
            by_zero = check_loss_at_zero(at_zero, loss, weight_scale, classes, counts, predictions)
            identified = nll is not None and abs(loss - nll) < INITIAL_LOSS.likelihood_tolerance * nll
            if identified or by_zero.finding is not None or "RNN302" not in by_zero.checked:
                return by_zero
            bounded = check_bounded_loss(batch, loss, params, max(classes.candidates))
            self.is_mean_nll = "RNN301" in by_zero.checked and "RNN302" in bounded.checked
            return attrs.evolve(by_zero, finding=bounded.finding, withdrawn=bounded.withdrawn)
        result = check_first_loss(loss, nll, weight_scale, classes, counts)
        if targets is None and gradients is not None and (result is None or not (result.finding or result.checked)):
            found = check_entropy(loss, params, gradients)
            result = result if found is None else CheckResult(finding=found)
        self.done = result is not None
        result = result or CheckResult()
        return attrs.evolve(result, not_checked={**result.not_checked, **reasons})


def check_loss_at_zero(
    at_zero: float,
    loss: float,
    weight_scale: float,
    classes: TargetClasses,
    counts: Mapping[str, float],
    predictions: float = math.inf,
) -> CheckResult:
    """Check the loss with all parameters at zero, and the first loss in units of it.

    ``weight_scale`` is that of :func:`~rnncallbacks.detectors.loss.output_weights.output_weight_scale`, ``counts`` are
    the numbers of terms that the loss may be a sum over, by name, and ``predictions`` is the number of targets: the
    loss of few may be high by chance.

    Example
    -------
    >>> classes = TargetClasses((36,), certain=True, regression=False, known=True)
    >>> finding = check_loss_at_zero(71.6704, 71.9, 0.6, classes, {"the number of time steps": 20.0}).finding
    >>> print(finding.message)
    the loss is 20 times a mean, and 20 is the number of time steps:
    with all parameters at zero it is 71.6704 = 20 x ln 36
    >>> print(finding.remedy)
    divide the loss and its gradients by 20, the number of time steps
    """
    match = match_loss_at_zero(at_zero, classes.candidates, counts)
    if match is None and not counts:
        match = match_whole_multiple(at_zero, classes.candidates)
    if match is None or (match.kind == "other function" and not classes.known):
        more = "" if classes.known else ": run.observe(inputs=..., targets=...)"
        return _unclear(f"the loss with all parameters at zero, {at_zero:.6g}, is that of no known function{more}")
    if match.kind == "undecided":
        why = f"the loss with all parameters at zero, {at_zero:.6g}, is that of {match.formula}, {match.name}"
        return CheckResult(cannot_tell=dict.fromkeys(CODES, f"{why}: run.observe(logits=...)"))
    if match.kind == "other function":
        return CheckResult(finding=findings.other_function_at_zero(at_zero, match, classes.candidates[0]))
    arithmetic = findings.arithmetic_at_zero(at_zero, match)
    if match.kind in ("sum", "divided twice"):
        finding = findings.summed_at_zero if match.kind == "sum" else findings.divided_twice
        return CheckResult(finding=finding(at_zero, match), checked={"RNN302": arithmetic})
    chance = INITIAL_LOSS.largest_chance * weight_scale / math.sqrt(predictions)
    return _check_height(loss, at_zero, weight_scale, "the loss with all parameters at zero", arithmetic, chance)


def check_first_loss(
    loss: float, nll: float | None, weight_scale: float, classes: TargetClasses, counts: Mapping[str, float]
) -> CheckResult | None:
    """Check the first loss without a loss at zero; None if later losses are needed.

    ``nll`` is the mean negative log-likelihood under the observed logits, None if none were observed.
    """
    if nll is not None and nll > 0.0:
        multiple = max(1, round(loss / nll))
        for name, count in {**counts, "": float(multiple)}.items():
            limit = INITIAL_LOSS.likelihood_tolerance if name or multiple == 1 else INITIAL_LOSS.multiple_tolerance
            if abs(loss / nll / count - 1.0) < limit:
                compared = findings.arithmetic_under_logits(loss, nll)
                if count > 1.0:
                    finding = findings.summed_likelihood(loss, nll, count, name)
                    return CheckResult(finding=finding, checked={"RNN302": compared})
                return _check_mean_likelihood(loss, weight_scale, classes, compared)
    uniform_loss = math.log(max(classes.candidates))
    high = loss > INITIAL_LOSS.largest_first_ratio_of_large_weights * uniform_loss
    excess = excess_of_weights(weight_scale, uniform_loss)
    explained = loss <= INITIAL_LOSS.largest_first_ratio * (uniform_loss + excess)
    if weight_scale > INITIAL_LOSS.large_weight_scale and high and explained and classes.known:
        finding = findings.large_initial_weights(loss, uniform_loss, weight_scale, f"ln {max(classes.candidates)}")
        return attrs.evolve(_unclear("the initial weights are too large"), finding=finding)
    match = match_first_loss(loss, classes.candidates, counts)
    if match is not None and match.kind == "undecided":
        why = f"the first loss, {loss:.4g}, may be that of {match.formula}: pass closure= to run.backward"
        return CheckResult(cannot_tell=dict.fromkeys(CODES, why))
    if match is not None and match.kind == "mean":
        compared = findings.arithmetic_of_first_loss(loss, match)
        why = f"{compared}, and so is that of a second softmax: run.observe(logits=...)"
        if nll is not None:
            why = f"{compared}, as after a second softmax too, and {nll:.4g} under the observed logits"
        return CheckResult(checked=dict.fromkeys(("RNN301", "RNN303"), compared), cannot_tell={"RNN302": why})
    if loss < math.log(min(classes.candidates)):
        return None
    if match is None or not classes.known:
        return _unclear("pass closure= to run.backward, or run.observe(logits=...)")
    compared = findings.arithmetic_of_first_loss(loss, match)
    return CheckResult(finding=findings.summed_first_loss(loss, match), checked={"RNN302": compared})


def check_low_losses(losses: Sequence[float], candidates: Sequence[int], baseline: float = 0.0) -> CheckResult:
    """Check first losses below ln V: those of a squared error, or of a pretrained network.

    ``baseline`` is the entropy of the targets, the first loss if the output bias begins at their frequencies.
    """
    tolerance = INITIAL_LOSS.entropy_tolerance
    if baseline and abs(losses[0] / baseline - 1.0) <= tolerance:
        return _unclear("the first losses are about the entropy of the targets: run.observe(logits=...)")
    match = match_low_losses(losses, candidates)
    if match is None:
        return _unclear("the first losses are low: pass closure= to run.backward, or run.observe(logits=...)")
    return CheckResult(finding=findings.other_function_of_first_losses(losses[0], losses[-1], match, candidates[0]))


def _check_mean_likelihood(loss: float, weight_scale: float, classes: TargetClasses, compared: str) -> CheckResult:
    if classes.certain or weight_scale > INITIAL_LOSS.large_weight_scale:
        count = max(classes.candidates)
        return _check_height(loss, math.log(count), weight_scale, f"ln {count}", compared)
    others = dict.fromkeys(CODES, "pass closure= to run.backward")
    return CheckResult(checked=dict.fromkeys(LOSS_CODES, compared), not_checked=others)


def _check_height(
    loss: float, uniform_loss: float, weight_scale: float, origin: str, compared: str, chance: float = 0.0
) -> CheckResult:
    """Check the first loss of a mean negative log-likelihood; ``compared`` states how the function was identified.

    ``chance`` is the excess in nats that is possible by chance, if the weights are not large.
    """
    identified = dict.fromkeys(LOSS_CODES, compared)
    large = weight_scale > INITIAL_LOSS.large_weight_scale
    limit = INITIAL_LOSS.largest_first_ratio_of_large_weights if large else INITIAL_LOSS.largest_first_ratio
    if loss <= limit * uniform_loss + (0.0 if large else chance):
        height = f"the first loss, {loss:.4g}, is {loss / uniform_loss:.3g} times that of a uniform prediction"
        return CheckResult(checked={**identified, "RNN303": height})
    finding = findings.large_initial_weights(loss, uniform_loss, weight_scale, origin)
    return CheckResult(finding=finding, checked=identified)


def _unclear(why: str) -> CheckResult:
    return CheckResult(not_checked=dict.fromkeys(CODES, why))
