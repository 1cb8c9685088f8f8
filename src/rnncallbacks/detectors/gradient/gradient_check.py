"""RNN404 and RNN405 with a closure: the gradient check at a few training batches.

Gradients are compared with central differences of the closure's loss (:mod:`directional
<rnncallbacks.detectors.gradient.directional>`) and classified (:mod:`gradient_error
<rnncallbacks.detectors.gradient.gradient_error>`). A gradient that is off by one factor is RNN405 once other batches
have confirmed the factor; every other difference is RNN404.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.directional import DirectionalDerivatives
from rnncallbacks.detectors.gradient.gradient_error import GradientError, classify_gradient, predicts_change
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.update.metrics import is_proportional

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class GradientCheckThresholds:
    """Schedule of the gradient check, and thresholds of a reported factor."""

    checked_batches: tuple[int, ...] = (1, 10, 100, 250)
    """Numbers of the first training batches that are checked. Errors are larger once units have left their linear
    range, and the last one is beyond an epoch of 200 batches. Chosen by eye."""
    later_batches: float = 2.0
    """Number of a checked batch / number of the one before it, after the last of ``checked_batches``: an array may
    matter only after thousands of updates. Chosen by eye."""
    largest_loss: float = 2.0
    """Loss relative to the first loss, above which nothing is checked: scripts clip logarithms of a diverged loss,
    which changes its gradient. Chosen by eye."""
    count_tolerance: float = 0.015
    """Relative distance between a factor and a count at which the factor is that count. Chosen by eye."""
    confirmations_of_named: int = 1
    """Further batches that must confirm a factor that equals a count, or a wrong sign. Chosen by eye."""
    confirmations_of_unnamed: int = 2
    """Further batches that must confirm any other factor. Chosen by eye."""
    ratio_of_clipped: float = 0.99
    """True over reported derivative of a gradient with a clipped norm, below which clipping cannot be the cause: it
    only shortens gradients. The distance to 1 is for rounding."""

    @property
    def all_checked_batches(self) -> frozenset[int]:
        """The numbers of all batches that are checked, beyond the length of any run."""
        last = self.checked_batches[-1]
        later = (round(last * self.later_batches**doublings) for doublings in range(1, 41))
        return frozenset(self.checked_batches) | frozenset(later)


GRADIENT_CHECK = GradientCheckThresholds()


@attrs.define(eq=False)
class GradientCheckDetector:
    """Checks the gradients of a few batches against the loss, and confirms factors in later batches.

    Call :meth:`add_loss` with each training batch, and :meth:`check` with those that are :meth:`due` or must
    confirm a factor.

    Example
    -------
    >>> detector = GradientCheckDetector()
    >>> detector.add_loss(3.0)
    >>> [batch for batch in range(1, 300) if detector.due(batch, loss=2.9)]
    [1, 10, 100, 250]
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN404", "RNN405")

    _checked: frozenset[int] = state_field(
        attrs.Factory(lambda self: GRADIENT_CHECK.all_checked_batches, takes_self=True), saved=False
    )
    _first_loss: float = state_field(math.nan)
    _ratio: float = state_field(1.0)
    _count_name: str = state_field("")
    _power: int = state_field(1)
    _confirmations_missing: int = state_field(0)
    _matching_directions: int = state_field(0)  # batches whose gradient has the direction of the true one
    _matching_lengths: int = state_field(0)  # batches whose gradient has its length, too
    _alarmed: list[str] = state_field(factory=list)  # the codes after which a batch was checked
    _alarm_pending: bool = state_field(False)
    _wrong_pending: bool = state_field(False)  # the batch before did not match, and earlier ones did

    @property
    def confirming(self) -> bool:
        """Whether this batch must confirm a factor."""
        return self._confirmations_missing > 0

    @property
    def matches(self) -> bool:
        """Whether the gradient of a batch matched the loss."""
        return self._matching_directions > 0

    def add_loss(self, loss: float) -> None:
        """Add the loss of a training batch; later ones are compared with the first."""
        if math.isnan(self._first_loss):
            self._first_loss = loss

    def scheduled(self, batch_number: int) -> bool:
        """Whether this training batch, counted from 1, is checked or must confirm a factor, for any loss."""
        return self.confirming or self._alarm_pending or self._is_checked(batch_number)

    def next_scheduled(self, batch_number: int) -> float:
        """The first batch after this one that is checked unless an alarm or a factor comes before it."""
        return min((number for number in self._checked if number > batch_number), default=math.inf)

    def add_alarm(self, code: str) -> None:
        """Check the next batch if this is the first alarm of a code whose cause may be a wrong gradient: 5xx or 6xx."""
        if code.startswith(("RNN5", "RNN6")) and code not in self._alarmed:
            self._alarmed.append(code)
            self._alarm_pending = True

    @property
    def unchecked_alarms(self) -> list[str]:
        """The codes of the alarms, if no batch was checked after the last of them."""
        return self._alarmed if self._alarm_pending else []

    def due(self, batch_number: int, loss: float) -> bool:
        """Whether the gradients of this training batch, counted from 1, are checked."""
        checked = self._alarm_pending or self._is_checked(batch_number)
        return checked and not loss > GRADIENT_CHECK.largest_loss * self._first_loss

    def _is_checked(self, batch_number: int) -> bool:
        return batch_number in self._checked

    def check(self, derivatives: DirectionalDerivatives, batch: Batch, first_cosine: float) -> CheckResult:
        """Check the gradients of a batch, or whether it confirms a factor.

        ``first_cosine`` is the cosine between the first update and its gradient, NaN if it is unknown.

        Raises
        ------
        ClosureError
            The closure cannot be evaluated.
        """
        if self.confirming:
            return self._confirm(derivatives, batch, first_cosine)
        self._alarm_pending = False
        error = classify_gradient(derivatives)
        if error.kind == "inconclusive":
            reason = "the loss changes too little, or too roughly, where the parameters move"
            return CheckResult(cannot_tell={"RNN404": reason, "RNN405": reason})
        clipped = derivatives.clipping.norm is not None
        if error.kind == "scaled" and not (clipped and error.ratio >= GRADIENT_CHECK.ratio_of_clipped):
            self._begin_confirmation(error.ratio, summation_counts(batch))
            return CheckResult()
        if error.kind == "scaled":
            reason = "call run.backward before gradients are clipped"
            return CheckResult(checked={"RNN404": self._direction_matches()}, not_checked={"RNN405": reason})
        if error.kind == "correct":
            self._wrong_pending = False
            self._matching_lengths += 1
            lengths = f"the length of {_gradients(self._matching_lengths)} agrees with central differences of the loss"
            return CheckResult(checked={"RNN404": self._direction_matches(), "RNN405": lengths})
        if self._matching_directions and not self._wrong_pending:
            self._wrong_pending = self._alarm_pending = True  # one batch may lie on a kink
            reason = f"of {self._matching_directions + 1} batches, the last one does not match the loss"
            return CheckResult(withdrawn={"RNN404": reason, "RNN405": reason})
        return CheckResult(finding=name_aliased_states(wrong_gradient(error), batch.observed.get("hidden_states")))

    def add_match(self, noise: float = 0.0) -> CheckResult:
        """Add a batch whose gradients are those of the recognized network, but for noise with a standard deviation."""
        self._confirmations_missing, self._alarm_pending, self._wrong_pending = 0, False, False
        self._matching_directions += 1
        self._matching_lengths += 1
        compared = f"{_gradients(self._matching_lengths)} agrees with that computed from the script's own arrays"
        compared += f", but for noise with a standard deviation of {noise:.2g}" if noise else ""
        return CheckResult(checked=dict.fromkeys(self.codes, compared))

    def _direction_matches(self) -> str:
        self._matching_directions += 1
        return f"the direction of {_gradients(self._matching_directions)} agrees with central differences of the loss"

    def _begin_confirmation(self, ratio: float, counts: Mapping[str, float]) -> None:
        limits = GRADIENT_CHECK
        name, power = count_of_ratio(ratio, counts, limits.count_tolerance) or ("", 1)
        certain = bool(name) or ratio < 0.0
        self._confirmations_missing = limits.confirmations_of_named if certain else limits.confirmations_of_unnamed
        self._ratio, self._count_name, self._power = ratio, name, power

    def _confirm(self, derivatives: DirectionalDerivatives, batch: Batch, first_cosine: float) -> CheckResult:
        missing, self._confirmations_missing = self._confirmations_missing - 1, 0
        counts, name, ratio = summation_counts(batch), self._count_name, self._ratio
        if name:
            ratio = counts.get(name, 1.0) ** self._power  # of this batch, whose size may differ
        if not predicts_change(derivatives, ratio):
            return CheckResult()
        finding = None
        if ratio > 0.0 and missing:
            self._confirmations_missing = missing
        elif ratio > 0.0:
            follows = is_proportional(first_cosine) is not False
            finding = wrong_factor(ratio, name, counts.get(name, 1.0), follows_gradient=follows)
        elif not first_cosine < 0.0:  # the script's gradient may be the direction of descent, which it adds
            finding = wrong_gradient(GradientError(kind="scaled", ratio=ratio))
        if finding is not None or ratio < 0.0:
            return CheckResult(finding=finding)
        return CheckResult(checked={"RNN404": self._direction_matches()})


def name_aliased_states(finding: Finding, hidden_states: Any) -> Finding:
    """The finding with the cause named where the observed hidden states are one array, appended at each step.

    Example
    -------
    >>> state, finding = np.zeros(3), Finding("RNN404", "the gradient does not match the loss", {})
    >>> name_aliased_states(finding, [state, state, state]).remedy
    'append h.copy() at each step: an update in place changes every entry of the list'
    """
    if not isinstance(hidden_states, list | tuple) or len(hidden_states) < 3:
        return finding
    states = [state for state in hidden_states if isinstance(state, np.ndarray) and state.size]
    if len(states) < 3 or not all(np.shares_memory(state, states[-1]) for state in states[1:]):
        return finding
    if any(state.shape != states[-1].shape or not np.array_equal(state, states[-1]) for state in states[1:]):
        return finding
    return attrs.evolve(
        finding,
        message=f"{finding.message}; {len(states) - 1} or more of the observed hidden states are one array",
        remedy="append h.copy() at each step: an update in place changes every entry of the list",
    )


def _gradients(count: int) -> str:
    return f"the gradient of {count} batch{'es' * (count > 1)}"


def count_of_ratio(ratio: float, counts: Mapping[str, float], tolerance: float) -> tuple[str, int] | None:
    """The count that a ratio equals, and its power: 1 for ``count``, -1 for ``1 / count``; None if it equals none.

    Example
    -------
    >>> count_of_ratio(0.0501, {"the number of time steps": 20.0, "the batch size": 16.0}, tolerance=0.015)
    ('the number of time steps', -1)
    """
    for name, count in counts.items():
        for power in (1, -1):
            if abs(ratio / count**power - 1.0) < tolerance:
                return name, power
    return None


def wrong_gradient(error: GradientError) -> Finding:
    """RNN404, for gradients whose direction or sign is not that of the loss.

    Example
    -------
    >>> print(wrong_gradient(GradientError(kind="wrong", cosine=0.87, array="W", array_ratio=0.51)).message)
    the gradient of 'W' does not match the loss: true over reported directional derivative 0.51 (expected 1), cosine of
    all arrays with the true gradient 0.87 (expected 1)
    """
    if error.kind == "scaled":
        return Finding(
            "RNN404",
            f"the gradient has the wrong sign: true over reported directional derivative {error.ratio:.3g} "
            "(expected 1)",
            {"cosine": -1.0, "expected": 1.0, "ratio": error.ratio},
            remedy="reverse the sign of the gradients",
        )
    name = f"the gradient of {error.array!r}" if error.array else "the gradient"
    headline, remedy = f"{name} does not match the loss", None
    severity: Severity | None = None
    numbers = f"true over reported directional derivative {error.array_ratio:.3g} (expected 1), "
    if error.kind == "zero":
        headline, severity, numbers = f"{name} is zero, although the loss changes with it", "warning", ""
        remedy = f"compute {name} in the backward pass, or do not pass it to run.backward"
    elif error.kind == "unused":
        headline, severity = f"the loss does not depend on {error.array!r}", "warning"
        numbers = "the forward pass does not use it, and its gradient is not zero; "
        remedy = (
            f"use {error.array!r} in the forward pass, and let the closure read it from the container of Run(params)"
        )
    elif error.kind == "truncated":
        headline, severity = f"{name} lacks a part, as in truncated backpropagation", "info"
        remedy = "go back to the first time step of the batch, unless truncation is intended"
    elif error.array:
        remedy = f"compare {name} with finite differences; look for a missing transpose or term"
    return Finding(
        "RNN404",
        f"{headline}: {numbers}cosine of all arrays with the true gradient {error.cosine:.2f} (expected 1)"
        + _named_arrays_of(error),
        {"cosine": error.cosine, "expected": 1.0, "array": error.array, "ratio": error.array_ratio},
        severity,
        remedy=remedy,
    )


def _named_arrays_of(error: GradientError) -> str:
    """The other arrays that are wrong, and the arrays that are right, at the end of a message."""
    if error.kind == "truncated":
        return ""
    wrong = f"; wrong as well: {', '.join(map(repr, error.others))}" if error.others else ""
    return wrong + (f"; right: {', '.join(map(repr, error.right))}" if error.right else "")


def wrong_factor(ratio: float, count_name: str, count: float, *, follows_gradient: bool) -> Finding:
    """RNN405, for gradients that are ``1 / ratio`` times those of the loss.

    ``count_name`` names the ``count`` that the factor equals; empty if it equals none. Where updates do not follow the
    scale of the gradient, the factor does not matter, and the finding is a note.

    Example
    -------
    >>> print(wrong_factor(1 / 20, "the number of time steps", 20.0, follows_gradient=True).message)
    the gradient is 20 times that of the loss: expected 1, in every array and direction; 20 is the number of time steps
    """
    factor = 1.0 / ratio
    evidence: dict[str, float | int | str] = {"factor": factor, "expected": 1.0}
    origin = "seen in three batches"
    if count_name:
        evidence["count"] = count_name
        origin = f"{count:g} is {count_name}" if ratio < 1.0 else f"1 / {count:g}, and {count:g} is {count_name}"
    return Finding(
        "RNN405",
        f"the gradient is {factor:.4g} times that of the loss: expected 1, in every array and direction; {origin}",
        evidence,
        None if follows_gradient else "info",
        remedy=f"multiply the gradients by {ratio:.4g}, or report the loss that they are the gradient of",
    )
