"""The objective of the gradients, if the number that the script reports is another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, numbers_of
from rnncallbacks.doctor.loss_names import LOSS_NAMES
from rnncallbacks.doctor.roles.gradient_symmetry import is_gradient_of_one_function
from rnncallbacks.doctor.roles.interventions import Push, slopes_along_update
from rnncallbacks.doctor.roles.role_table import ParameterRole, key_text
from rnncallbacks.doctor.value_walk import Key
from rnncallbacks.doctor.watched_script import FrozenIteration


@attrs.frozen(kw_only=True)
class ObjectiveThresholds:
    """Thresholds of a reported number that is a function of the objective. Chosen by eye."""

    one_ratio: float = 5e-3
    """Largest relative difference between ratios that are one: derivatives along an update have an error of 1e-3."""


OBJECTIVE = ObjectiveThresholds()


@attrs.frozen
class Objective:
    """The objective of the gradients.

    Attributes
    ----------
    is_loss:
        Whether it may be the reported loss, or a multiple of it.
    text:
        A description of the reported loss otherwise; empty if nothing is known.
    """

    is_loss: bool = True
    text: str = ""


def is_log_likelihood(number: Key, records: Sequence[IterationRecord]) -> bool:
    """Whether a number whose negative has the gradients may be a log-likelihood: negative, and not named as a loss.

    >>> record = IterationRecord(1, 1, end={("end", "f", "loglik"): -0.7, ("end", "f", "loss"): -0.7})
    >>> [is_log_likelihood(("end", "f", name), [record]) for name in ("loglik", "loss")]
    [True, False]
    """
    values = [numbers_of({number: record.get(number)}).get(number, 0.0) for record in records]
    return max(values) < 0.0 and not LOSS_NAMES.search(key_text(number))


def find_objective(
    loss: Key,
    parameters: Sequence[ParameterRole],
    pushes: Mapping[Key, Push],
    records: Sequence[IterationRecord],
    first: FrozenIteration,
    last: FrozenIteration,
) -> Objective:
    """Compare a loss with gradients that do not agree with it."""
    with_gradient = [one for one in parameters if one.gradient is not None]
    shares = [_share(pushes[one.key], one, loss) for one in with_gradient]
    if len(with_gradient) < 2 or not np.isfinite(shares).all():
        return Objective()
    if np.ptp(shares) <= OBJECTIVE.one_ratio * max(map(abs, shares)) and min(map(abs, shares)) > 0:
        return Objective(text=_function(loss, with_gradient, records, first, last))
    if is_gradient_of_one_function(with_gradient, pushes, first):
        return Objective(False, "another number than the gradients descend")
    return Objective()


def _share(push: Push, one: ParameterRole, loss: Key) -> float:
    gradient: Any = push.record.get(one.gradient) if one.gradient is not None else None
    predicted = float(np.vdot(gradient, push.step)) if np.shape(gradient) == np.shape(push.step) else 0.0
    return one.scale * push.derivatives.get(loss, 0.0) / predicted if predicted else float("nan")


def _function(
    loss: Key,
    with_gradient: Sequence[ParameterRole],
    records: Sequence[IterationRecord],
    first: FrozenIteration,
    last: FrozenIteration,
) -> str:
    """The function of what the gradients descend, by how its derivative changes with its value."""
    ratios, values = [], []
    for record, frozen in ((records[0], first), (records[-1], last)):
        predicted = sum(_along_update(record, one) for one in with_gradient)
        slope = slopes_along_update([one.key for one in with_gradient], record, frozen).get(loss, 0.0)
        value = numbers_of({loss: record.get(loss)}).get(loss, 0.0)
        if not predicted or not slope or not value:
            return ""
        ratios.append(slope / predicted)
        values.append(value)
    return function_of(ratios, values)


def function_of(ratios: Sequence[float], values: Sequence[float]) -> str:
    """Describe a number by the ratios of its derivative to that of the objective, at these values.

    Example
    -------
    >>> function_of([20.0, 10.0], [20.0, 10.0])
    'the exponential of what the gradients descend, as a perplexity is'
    >>> function_of([0.5, 1.0], [2.0, 1.0]), function_of([3.0, 3.0], [2.0, 1.0])
    ('the square root of what the gradients descend', '')
    """
    tolerance, ratio, value = OBJECTIVE.one_ratio, ratios[0] / ratios[1], values[0] / values[1]
    if abs(value - 1.0) <= 2 * tolerance:
        return ""
    if abs(ratio / value - 1.0) <= tolerance:
        return "the exponential of what the gradients descend, as a perplexity is"
    if abs(ratio * value - 1.0) <= tolerance:
        return "the square root of what the gradients descend"
    return ""


def _along_update(record: IterationRecord, one: ParameterRole) -> float:
    gradient: Any = record.get(one.gradient) if one.gradient is not None else None
    change = record.end[one.key] - record.start[one.key]
    return one.scale * float(np.vdot(gradient, change)) if np.shape(gradient) == np.shape(change) else 0.0
