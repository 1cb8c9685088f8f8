r"""RNN404 and RNN405 without a closure: the loss falls less than the gradients predict.

An update :math:`\Delta\theta` changes the loss by :math:`g \cdot \Delta\theta`, to first order. The sums of these
predicted decreases (:mod:`decrease_record <rnncallbacks.detectors.gradient.decrease_record>`) are compared with the
losses (:mod:`decrease_regression <rnncallbacks.detectors.gradient.decrease_regression>`). The batches must be
independent: within a stream, an update lowers the loss of the current passage, which the gradient of the next batch
predicts, and which does not last. Where a loader yields indices in place of data, a finding waits until the second pass
has shown that the order does not depend on them, and the data do not become harder from pass to pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array, FlatArrays, named_arrays, parameters_of, same_layout
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.decrease_record import DECREASE_RECORD, DecreaseRecord
from rnncallbacks.detectors.gradient.decrease_regression import DecreaseComparison
from rnncallbacks.detectors.loss.summation_counts import summation_counts
from rnncallbacks.detectors.sequences import indices_of, mask_of, sequences_of
from rnncallbacks.detectors.state.index_order import IndexOrder
from rnncallbacks.detectors.state.shuffling import BatchOrder
from rnncallbacks.detectors.update.metrics import is_proportional

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.detectors.training_batch import TrainingBatch


@attrs.frozen(kw_only=True)
class PredictedDecreaseThresholds:
    """Thresholds of a decrease that is too small, and of its attribution to a count or to one array."""

    batches_to_tell_a_stream: int = 20
    """Batches within which they must prove not to be pieces of a stream. Chosen by eye."""
    log_distance_to_count: float = 0.3
    """Largest distance between the logarithms of the measured factor and of a count, at which the factor is that count.
    Chosen by eye."""
    ratio_of_named_array: float = 0.5
    """Actual over predicted decrease of a single array, below which the message names it. Chosen by eye."""


PREDICTED_DECREASE = PredictedDecreaseThresholds()


@attrs.define(eq=False)
class PredictedDecreaseDetector:
    """Follows the training batches of a run without a closure until the outcome is known.

    ``over`` says that nothing is left to follow.

    Example
    -------
    >>> PredictedDecreaseDetector().over
    False
    """

    over: bool = state_field(False)
    _norms: set[str] = state_field(factory=set)
    _order: BatchOrder = state_field(factory=BatchOrder)
    _indices: IndexOrder | None = state_field(None)  # of a loader that yields indices
    _held: Finding | None = state_field(None, saved=False)  # until their order is known
    _record: DecreaseRecord = state_field(factory=DecreaseRecord)

    def stop(self) -> None:
        """End the check and release the copies of the parameters."""
        self.over, self._held, self._indices = True, None, None
        self._record.stop()

    def check(self, given: TrainingBatch, first_cosine: float) -> Finding | None:
        """Add a training batch before its update.

        ``first_cosine`` is the cosine between the first update and its gradient, NaN if it is unknown.
        """
        self._follow_order(given.batch, given.loss)
        if given.number <= PREDICTED_DECREASE.batches_to_tell_a_stream:
            self._norms.add(f"{given.gradients.norm:.5g}")
        if self._indices is not None and self._indices.independent is not None:
            comparable = self._indices.independent and not self._indices.becomes_harder
            held = self._held if comparable else None
            if held is not None or not comparable:
                self.stop()
                return held
        elif self._held is not None:
            return None
        if given.params is None or not self._predicts(given.number):
            self.stop()
            return None
        found = self._add(given)
        if (ascent := self._record.ascends) is not None:
            self.stop()
            return ascending_loss(*ascent)
        if self._record.over and (found is None or self._indices is None):
            self.stop()
        if found is None or (self._indices is None and self._order.neighbors_similar):
            return None
        name, count = self._count_of(found, given.batch)
        finding = insufficient_decrease(
            found,
            name,
            count,
            follows_gradient=is_proportional(first_cosine) is not False,
            named_ratio=PREDICTED_DECREASE.ratio_of_named_array,
        )
        if self._indices is not None and not self._indices.independent:
            self._held = finding
            return None
        self.stop()
        return finding

    def _predicts(self, batch_number: int) -> bool:
        """Whether gradients may predict decreases: batches are independent, and gradients are not normalized."""
        last = PREDICTED_DECREASE.batches_to_tell_a_stream
        uncertain = batch_number >= last and not self._order.shuffled and self._indices is None
        normalized = batch_number == last and len(self._norms) == 1  # the norm is the same in all batches
        return not (self._order.contiguous or uncertain or normalized)

    def _add(self, given: TrainingBatch) -> DecreaseComparison | None:
        gradients, params = given.gradients, given.params
        if gradients.flat is not None and isinstance(params, FlatArrays) and same_layout(params, gradients.flat):
            return self._record.add(given.loss, gradients.flat, params)
        pairs = _without_tied(gradients, parameters_of(gradients, named_arrays(params)))
        return self._record.add(given.loss, gradients, pairs)

    def _follow_order(self, batch: Batch, loss: float) -> None:
        order, indices = self._order, indices_of(batch)
        if indices is not None and sequences_of(batch).inputs is None:
            self._indices = self._indices or IndexOrder()
            if batch.index == 1:
                self._indices.begin_pass()
            self._indices.add(indices)
            self._indices.add_loss(loss)
            return
        if not order.wants_next:
            order.skip()
            return
        shown = sequences_of(batch)
        order.add(shown, None if order.shuffled else mask_of(batch, shown))

    def _count_of(self, found: DecreaseComparison, batch: Batch) -> tuple[str, float]:
        """The count by which the gradient is too large, and its name; an empty name if there is none."""
        counts = summation_counts(batch)
        distances = {name: abs(math.log(max(found.ratio, 1e-9) * count)) for name, count in counts.items()}
        name = min(distances, key=lambda one: distances[one], default=None)
        if found.same_ratio and name is not None and distances[name] < PREDICTED_DECREASE.log_distance_to_count:
            return name, counts[name]
        return "", 1.0


def insufficient_decrease(
    found: DecreaseComparison,
    count_name: str = "",
    count: float = 1.0,
    *,
    follows_gradient: bool = True,
    named_ratio: float = PREDICTED_DECREASE.ratio_of_named_array,
) -> Finding:
    """RNN404 for a loss that falls less than predicted; RNN405 if the ratio is one over a ``count`` with a name.

    Example
    -------
    >>> found = DecreaseComparison(outcome="below", updates=40, predicted=0.6, ratio=0.25)
    >>> print(insufficient_decrease(found).message)
    the loss falls less than the gradients predict: within 40 updates, by 0.25 of the predicted decrease (expected 1 or
    more), which is 0.6 of the first loss; this assumes that the loss is no running mean
    """
    evidence: dict[str, float | int | str] = {
        "updates": found.updates,
        "predicted_decrease": found.predicted,
        "expected": 1.0,
    }
    ratio = ""
    if not math.isnan(found.ratio):
        evidence["actual_to_predicted"] = found.ratio
        ratio = f"by {found.ratio:.2g} of the predicted decrease (expected 1 or more), which is "
    message = (
        f"the loss falls less than the gradients predict: within {found.updates} updates, {ratio or 'they predict '}"
        f"{found.predicted:.2g} of the first loss; this assumes that the loss is no running mean"
    )
    if count_name:
        evidence |= {"factor": 1.0 / found.ratio, "count": count_name}
        message = f"{message}; {count:g} is {count_name}"
        remedy = f"divide the gradients by {count:g}, {count_name}"
        return Finding("RNN405", message, evidence, None if follows_gradient else "info", remedy=remedy)
    if found.array and found.array_ratio < named_ratio:
        evidence |= {"array": found.array, "ratio": found.array_ratio}
        message += (
            f"; the gradient of {found.array!r} predicts {found.array_predicted:.2g} of it, and the loss fell by "
            f"{found.array_ratio:.2g} of that"
        )
    return Finding("RNN404", message, evidence, "warning")


def ascending_loss(before: float, after: float) -> Finding:
    """RNN404 for a loss that rises where the gradients say that it falls.

    Example
    -------
    >>> print(ascending_loss(2.5, 20.0).message)
    the loss rises where the gradients say that it falls: 4 updates raised it from 2.5 to 20, each about as much as the
    gradient at its end predicts as a decrease; gradients of the wrong sign do that
    """
    count = DECREASE_RECORD.ascending_updates
    message = (
        f"the loss rises where the gradients say that it falls: {count} updates raised it from {before:.4g} to "
        f"{after:.4g}, each about as much as the gradient at its end predicts as a decrease; gradients of the wrong "
        "sign do that"
    )
    remedy = "look for a wrong sign in the derivative of the loss"
    return Finding("RNN404", message, {"loss_before": before, "loss": after}, "warning", remedy=remedy)


def _without_tied(gradients: Gradients, params: dict[str, Array]) -> dict[str, Array]:
    """The parameters without the second names of tied arrays, whose gradients are the same."""
    if len(gradients.arrays) == len(gradients):
        return params
    names = {id(gradients[name]): name for name in params}
    single = {names.get(id(array)) for array in gradients.arrays}
    return {name: array for name, array in params.items() if name in single}
