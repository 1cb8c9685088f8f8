"""RNN406: gradients that are never zeroed, so that each contains those of all batches before.

With a closure, the gradient of the second batch is checked as it is and without that of the first
(:mod:`directional <rnncallbacks.detectors.gradient.directional>`). Without one, the first gradients are compared with
one another (:mod:`gradient_history <rnncallbacks.detectors.gradient.gradient_history>`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.containers import Array, named_arrays, parameters_of
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.directional import DirectionalDerivatives
from rnncallbacks.detectors.gradient.gradient_error import classify_gradient, predicts_change
from rnncallbacks.detectors.gradient.gradient_history import GRADIENT_HISTORY, GradientHistory
from rnncallbacks.detectors.gradient.recomputed_gradient import wrong_arrays

if TYPE_CHECKING:
    from rnncallbacks.detectors.training_batch import TrainingBatch


@attrs.frozen(kw_only=True)
class AccumulationThresholds:
    """Thresholds of gradients that contain earlier ones. Numbers without a source were chosen by eye."""

    first_checked_batch: int = 2
    """Number of the first batch that is checked with a closure: the first one with a gradient before it."""
    last_batch: int = 16
    """Number of the last batch that is checked: by then, the norms of most sums have grown enough."""
    smallest_previous_norm: float = 0.1
    """Norm of the previous gradient / norm of the gradient, below which it would hardly show. Chosen by eye."""
    batches_after_repair: int = 10
    """Batches from a finding to the next check, which shows whether a repair helped. Chosen by eye."""
    smallest_loader: int = 3
    """Fewest batches in the loader: gradients of one or two batches resemble one another as the batches do."""


ACCUMULATION = AccumulationThresholds()


@attrs.define(eq=False)
class AccumulationDetector:
    """Detects the gradient of the previous batch in that of a batch.

    Call :meth:`keep` with the gradients of the batch before one that is :meth:`due`, and :meth:`check` in that batch if
    it has a closure; :meth:`check_without_closure` in the others. ``sums_found`` is True once a gradient contained
    the one before, on purpose or not: it is then not the gradient of its batch's loss.

    Example
    -------
    >>> detector = AccumulationDetector()
    >>> [batch for batch in range(1, 20) if detector.due(batch)]
    [2]
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN406",)

    history: GradientHistory = state_field(factory=GradientHistory)
    sums_found: bool = state_field(False)
    _next_batch: int = state_field(ACCUMULATION.first_checked_batch)  # 0: no other
    _previous: list[Mapping[str, Array]] = state_field(factory=list)

    def due(self, batch_number: int) -> bool:
        """Whether this training batch, counted from 1, is checked if it has a closure."""
        return batch_number == self._next_batch

    def next_copied(self, batch_number: int) -> float:
        """The first batch after this one whose gradients are copied for a check of the next; infinite if none is."""
        return self._next_batch - 1 if self._next_batch - 1 > batch_number else math.inf

    def keep(self, gradients: Mapping[str, Array], *, clipped: bool = False) -> None:
        """Copy the gradients of the batch before a check; ``clipped`` adds their clipped version."""
        self._previous = self._previous if clipped else []
        self._previous.append({name: array.copy() for name, array in gradients.items()})

    def check(self, derivatives: DirectionalDerivatives, *, params_moved: bool) -> CheckResult:
        """Check whether the gradients match the loss only without those of the batch before.

        ``params_moved`` says whether the last update changed the parameters. If it did not, the script adds up the
        gradients of several batches for one update.

        Raises
        ------
        ClosureError
            The closure cannot be evaluated.
        """
        limits, batch_number, self._next_batch = ACCUMULATION, self._next_batch, 0
        norms = [global_norm([previous[name] for name in derivatives.params]) for previous in self._previous]
        norm = global_norm(list(derivatives.gradients.values()))
        if max(norms, default=0.0) < limits.smallest_previous_norm * norm:
            self._check_again(batch_number, 1)
            return CheckResult()
        finding = None if predicts_change(derivatives) else self._find_sum(derivatives, batch_number, params_moved)
        if finding is not None or self.sums_found:
            return CheckResult(finding=finding)
        compared = f"the gradient of batch {batch_number} matches the loss without that of the batch before"
        return CheckResult(checked={"RNN406": compared})

    def add_match(self) -> CheckResult:
        """Record that the gradients of the batch that was due are those of its own loss, by the network."""
        batch_number, self._next_batch = self._next_batch, 0
        compared = f"the gradient of batch {batch_number} is that of its own loss, computed from the script's arrays"
        return CheckResult(checked={"RNN406": compared})

    def find_exact_sum(
        self, right: Mapping[str, Array], wrong: Collection[str], gradients: Mapping[str, Array], *, params_moved: bool
    ) -> Finding | None:
        """RNN406 if each wrong array of the batch that was due is exactly the right one plus that of the batch before.

        ``right`` are the gradients of the recognized network. Some arrays may be zeroed, and others not.
        """
        batch_number = self._next_batch
        for previous in self._previous:
            kept = {name: previous[name] for name in wrong if name in previous and previous[name].any()}
            if len(kept) < len(wrong) or not kept:
                continue
            if wrong_arrays(right, {**right, **{name: gradients[name] - one for name, one in kept.items()}}):
                continue
            self.sums_found = True
            self._check_again(batch_number, ACCUMULATION.batches_after_repair if params_moved else 1)
            return previous_array_included(sorted(kept), len(gradients)) if params_moved else None
        return None

    def _find_sum(self, derivatives: DirectionalDerivatives, batch_number: int, params_moved: bool) -> Finding | None:
        for previous in self._previous:
            rest = {name: gradient - previous[name] for name, gradient in derivatives.gradients.items()}
            if classify_gradient(derivatives.with_gradients(rest)).kind != "correct":
                continue
            # Units are saturated, or the run diverges: then many gradients are correct, or none is wrong.
            if classify_gradient(derivatives).kind in ("correct", "inconclusive"):
                return None
            self.sums_found = True
            self._check_again(batch_number, ACCUMULATION.batches_after_repair if params_moved else 1)
            if not params_moved:
                return None
            along = derivatives.along_gradient(list(derivatives.params), derivatives.step_factors[0], 1.0)
            return previous_gradient_included(along.predicted / (along.change or math.inf))
        return None

    @property
    def updates_each_batch(self) -> bool:
        """Whether parameters are known to have changed before nearly all batches that were compared."""
        return self.history.params_are_known and self.history.is_updated

    def check_without_closure(self, given: TrainingBatch) -> CheckResult:
        """Compare the gradients of one of the first batches with those before."""
        limits, batch_number, batch, gradients = ACCUMULATION, given.number, given.batch, given.gradients
        if batch_number > limits.last_batch or not self._next_batch:
            return NOTHING_COMPARED
        pairs = {} if given.params is None else parameters_of(gradients, named_arrays(given.params))
        known = len(pairs) == len(gradients)
        self.history.add(given.loss, gradients.values(), [pairs[name] for name in gradients] if known else [])
        if batch.count is not None and batch.count < limits.smallest_loader:
            return CheckResult()
        if self.history.contains_sums:
            self._next_batch, self.sums_found = 0, True
            return CheckResult(finding=sums_of_gradients(self.history))
        if batch_number < limits.last_batch:
            return CheckResult()
        if proof := self.history.proof_of_fresh_gradients:
            return CheckResult(checked={"RNN406": proof})
        reason = (
            f"the norms of {batch_number} gradients do not grow like sums; pass closure= to run.backward to be sure"
        )
        return CheckResult(cannot_tell={"RNN406": reason})

    def _check_again(self, batch_number: int, batches: int) -> None:
        self._next_batch = batch_number + batches if batch_number < ACCUMULATION.last_batch else 0


def previous_gradient_included(ratio: float) -> Finding:
    """RNN406, where the closure showed that a gradient contains that of the batch before.

    ``ratio`` is the predicted over the actual change of the loss.

    Example
    -------
    >>> print(previous_gradient_included(2.0).message)
    the gradient contains that of the batch before: without it, it matches the loss; with it, it predicts 2 times the
    change of the loss (expected 1)
    """
    return Finding(
        "RNN406",
        "the gradient contains that of the batch before: without it, it matches the loss; with it, it predicts "
        f"{ratio:.3g} times the change of the loss (expected 1)",
        {"ratio": ratio, "expected": 1.0},
    )


def previous_array_included(names: Sequence[str], arrays: int) -> Finding:
    """RNN406, where the recognized network showed that arrays contain the gradient of the batch before.

    Example
    -------
    >>> print(previous_array_included(["W"], 3).message)
    the gradient contains that of the batch before: without it, 1 of 3 arrays equals the gradient recomputed from the
    script's own arrays: W
    """
    count = len(names)
    return Finding(
        "RNN406",
        f"the gradient contains that of the batch before: without it, {count} of {arrays} arrays "
        f"{'equals' if count == 1 else 'equal'} the gradient recomputed from the script's own arrays: "
        f"{', '.join(names)}",
        {"array": names[0], "arrays": count, "expected": 0},
    )


def sums_of_gradients(history: GradientHistory) -> Finding:
    """RNN406, from the gradients alone."""
    if history.unchanged_batches >= GRADIENT_HISTORY.unchanged_batches:
        return Finding(
            "RNN406",
            f"entries of the gradient do not change from batch to batch: {history.unchanged_share:.0%} of them kept "
            f"their exact value for {history.unchanged_batches} batches while their parameters changed (expected 0%); "
            "those of tokens that a batch does not contain should be zero",
            {
                "unchanged_share": history.unchanged_share,
                "expected": 0.0,
                "batches": history.unchanged_batches,
            },
        )
    batches, growth = len(history.norms), history.norms[-1] / history.norms[0]
    cosine = sorted(history.cosines)[len(history.cosines) // 2]
    return Finding(
        "RNN406",
        f"gradients add up from batch to batch: within {batches} batches the norm grew {growth:.3g} times (expected 1) "
        f"while the loss did not rise; median cosine from one gradient to the next {cosine:.2f}",
        {"growth": growth, "expected": 1.0, "cosine": cosine, "batches": batches},
    )
