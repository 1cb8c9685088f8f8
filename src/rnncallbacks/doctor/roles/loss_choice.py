"""The loss: the number whose derivatives are the gradients, or that most parameters move and that the update lowers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, numbers_of
from rnncallbacks.doctor.loss_names import AVERAGE_NAMES, LOSS_NAMES, is_gradient_name, is_norm_name
from rnncallbacks.doctor.reported_numbers import names_read
from rnncallbacks.doctor.roles.gradient_sources import LATEST_MOMENT, GradientCandidate
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.role_table import LossCandidate, key_text
from rnncallbacks.doctor.value_walk import Key


@attrs.frozen(kw_only=True)
class LossChoiceThresholds:
    """Scores of the evidence for a number. Chosen by eye."""

    tolerance: float = 2e-3
    """Largest relative difference between a central difference and the prediction of the gradient that agree."""
    float32_tolerance: float = 3e-2
    """The same where arrays are float32."""
    agreement: float = 3.0
    """Score of a number all of whose differences agree with the gradients; less in proportion."""
    one_factor: float = 1.5
    """Score of a number whose differences are one multiple of the predictions of the gradients."""
    one_factor_spread: float = 0.02
    """Largest spread of these multiples / the largest one."""
    moves: float = 2.0
    """Score of a number that every parameter moves; less in proportion."""
    falls: float = 1.0
    """Score of a number that the update lowers, and penalty of one that it raises."""
    named: float = 1.0
    """Score of a name such as ``loss``."""
    matrix: float = 0.25
    """Penalty of a matrix of one entry: an error of one output."""
    accumulates: float = 1.0
    """Penalty of a number that depends on its former value: a sum or a moving average."""
    one_step: float = 1.0
    """Penalty of the result of one of several calls: the loss of a time step."""
    average_rate_spread: float = 1e-6
    """Largest spread of the rate at which a moving average approaches another number: rounding."""
    largest_average_rate: float = 0.9
    """Largest rate of a moving average."""
    certain_margin: float = 0.75
    """Smallest lead of the best score over the next one with other derivatives."""


LOSS_CHOICE = LossChoiceThresholds()

OVER_ITERATIONS = "a sum or an average"
"""The reason against a number over several iterations."""


def predicted_share(push: Push, number: Key, gradient: Any) -> float:
    """Central difference / prediction of the gradient; NaN if the gradient predicts nothing or has another shape."""
    if np.shape(gradient) != np.shape(push.step):
        return float("nan")
    predicted = float(np.vdot(gradient, push.step))
    if predicted == 0.0:
        return float("nan")
    return push.derivatives.get(number, 0.0) / predicted


def rank_losses(
    keepers: list[Push], sources: dict[Key, list[GradientCandidate]], records: list[IterationRecord],
    slopes: dict[Key, float],
) -> list[LossCandidate]:  # fmt: skip
    """The numbers that keepers move, the likeliest loss first; ``slopes`` are their changes along the update."""
    record = records[0]
    numbers = numbers_of(record.end) | numbers_of(record.inside)
    own = {record.identities.get(push.key) for push in keepers}
    keys = {number for push in keepers for number in push.derivatives if number in numbers}
    keys = {key for key in keys if record.identities.get(key) not in own and key not in {one.key for one in keepers}}
    keys = {key for key in keys if not (np.ndim(record.get(key)) and is_gradient_name(key[2]))}  # that of a bias
    keys = {key for key in keys if not is_norm_name(key[2])}
    owners = [push for push in keepers if sources.get(push.key)]
    if any(push.step.size > 1 for push in owners):  # every number is parallel to the change of one entry
        owners = [push for push in owners if push.step.size > 1]
    moving = [push for push in keepers if push.derivatives]
    named = [key for key in keys if _is_named_loss(key)]
    moved = [key for key in named if 2 * sum(key in push.derivatives for push in owners) >= len(owners)]
    if owners and moved and min(slopes.get(key, 0.0) for key in moved) > 0:
        # An ascent: no loss falls, and to rise speaks against none of them.
        slopes = {key: min(slope, 0.0) for key, slope in slopes.items()}
    ranked = [_scored(key, owners, moving, sources, records, slopes.get(key, 0.0)) for key in keys]
    return sorted(ranked, key=lambda one: (-round(one.score, 6), _place(one.key, record), one.key))


def _is_named_loss(key: Key) -> bool:
    return bool(LOSS_NAMES.search(key[2]) or (key[0] == "return" and LOSS_NAMES.search(key[1])))


def distinct_candidates(ranked: list[LossCandidate], keepers: list[Push]) -> list[LossCandidate]:
    """One candidate for each number that moves differently from those before."""
    seen, kept = set(), []
    for one in ranked:
        moves = tuple(f"{push.derivatives.get(one.key, 0.0):.9g}" for push in keepers)
        if moves not in seen:
            seen.add(moves)
            kept.append(one)
    return kept


def names_of_loss(loss: Key | None, pushes: Sequence[Push], records: Sequence[IterationRecord]) -> tuple[Key, ...]:
    """The keys whose number is the loss in every iteration and after every push, the earliest first."""
    if loss is None:
        return ()
    values = [numbers_of(record.end) | numbers_of(record.inside) for record in records]
    same = [
        key
        for key in values[0]
        if all(known.get(key) == known.get(loss) for known in values)
        and all(push.derivatives.get(key) == push.derivatives.get(loss) for push in pushes)
    ]
    return tuple(sorted(same, key=lambda key: records[0].order.get(key, LATEST_MOMENT)))


def is_of_several_calls(key: Key, record: IterationRecord) -> bool:
    """Whether a number is that of one of several calls of a function in an iteration.

    Example
    -------
    >>> record, name = IterationRecord(1, 1), ("return", "nll", "return")
    >>> record.inside = {name: 1.5, ("return", "nll#2", "return"): 1.25}
    >>> is_of_several_calls(name, record), is_of_several_calls(("end", "f", "loss"), record)
    (True, False)
    """
    kind, scope, name = key
    return (kind, f"{scope.split('#')[0]}#2", name) in record.inside


def shown_loss(loss: Key, names: Sequence[Key]) -> Key:
    """The name of a loss that is shown: a variable of the loop, if there is one, before the last entry of a list.

    >>> shown_loss(("end", "f", "losses[-1]"), [("end", "f", "losses[-1]"), ("return", "nll", "return")])
    ('return', 'nll', 'return')
    """
    appended = loss[2].endswith("[-1]")
    if loss[0] == "end" and not appended:
        return loss
    variable = next((key for key in names if key[0] == "end" and "[" not in key[2]), None)
    other = next((key for key in names if not key[2].endswith("[-1]")), loss)
    return variable or (other if appended else loss)


def _place(key: Key, record: IterationRecord) -> tuple[int, int]:
    """Names of the loop first, then results of functions, then their local values, then expressions."""
    is_expression = names_read(key[2]) != [key[2]]
    return 3 if is_expression else {"end": 0, "return": 1}.get(key[0], 2), record.order.get(key, 0)


def _scored(
    key: Key,
    owners: list[Push],
    moving: list[Push],
    sources: dict[Key, list[GradientCandidate]],
    records: list[IterationRecord],
    slope: float,
) -> LossCandidate:
    agreeing, evidence = _agreement(key, owners, sources)
    movers, what = (owners, "parameters") if owners else (moving, "arrays")
    moved = sum(key in push.derivatives for push in movers)
    evidence.append((LOSS_CHOICE.moves * moved / max(1, len(movers)), f"moved by {moved} of {len(movers)} {what}"))
    if slope:
        falls = (LOSS_CHOICE.falls, "falls along the update")
        evidence.append(falls if slope < 0 else (-LOSS_CHOICE.falls, "rises along the update"))
    if _is_named_loss(key):
        evidence.append((LOSS_CHOICE.named, "by its name"))
    if np.ndim(records[0].get(key)) > 1:
        evidence.append((-LOSS_CHOICE.matrix, "a matrix of one entry, as a residual is"))
    if accumulates(key, records) or any(map(AVERAGE_NAMES.search, names_read(key[2]))):
        evidence.append((-LOSS_CHOICE.accumulates, OVER_ITERATIONS))
    if not agreeing and is_of_several_calls(key, records[0]):
        evidence.append((-LOSS_CHOICE.one_step, "of one of several calls, as of a time step"))
    others = [push for push in moving if push not in owners and key in push.derivatives]
    if others and owners:
        evidence.append((-LOSS_CHOICE.moves * len(others) / len(moving), "moved by arrays without a gradient"))
    score = 0.0
    for weight, _ in evidence:
        score += weight
    return LossCandidate(key, key_text(key), score, tuple(reason for _, reason in evidence))


def _agreement(
    key: Key, owners: list[Push], sources: dict[Key, list[GradientCandidate]]
) -> tuple[int, list[tuple[float, str]]]:
    """The number of gradients that are differences of a number, and its score for them with the reason."""
    agreeing, ratios = 0, []
    for push in owners:
        tolerance = LOSS_CHOICE.tolerance if push.step.dtype == np.float64 else LOSS_CHOICE.float32_tolerance
        found = [
            predicted_share(push, key, one.sign * value)
            for one in sources[push.key]
            if (value := push.record.get(one.key)) is not None
        ]
        agreeing += any(abs(abs(ratio) - 1.0) <= tolerance for ratio in found)
        ratios += [ratio for ratio in found[:1] if np.isfinite(ratio)]
    if agreeing:
        score = LOSS_CHOICE.agreement * agreeing / len(owners)
        return agreeing, [(score, f"its differences are {agreeing} of {len(owners)} gradients")]
    spread = LOSS_CHOICE.one_factor_spread * max(map(abs, ratios), default=0.0)
    if len(ratios) > 1 and min(map(abs, ratios)) > 0 and np.ptp(ratios) <= spread:
        return 0, [(LOSS_CHOICE.one_factor, f"its differences are the gradients times {np.mean(ratios):.4g}")]
    return 0, []


def is_total(key: Key, records: Sequence[IterationRecord]) -> bool:
    """Whether the first statement of an iteration that adds to a number of the loop adds to its value from before.

    >>> key, other = ("end", "f", "total"), ("end", "f", "loss")
    >>> record = IterationRecord(2, 1, start={key: 1.5, other: 0.5}, totals={"total": 1.5, "loss": 0.0})
    >>> is_total(key, [record]), is_total(other, [record])
    (True, False)
    """
    begun = [numbers_of({key: record.start.get(key)}).get(key, 0.0) for record in records]
    pairs = [(start, record.totals.get(key[2])) for start, record in zip(begun, records, strict=True) if start]
    return key[0] == "end" and bool(pairs) and all(start == total for start, total in pairs)


def _is_longer(key: Key, records: Sequence[IterationRecord]) -> bool:
    """Whether a list of the loop becomes longer in each iteration."""
    lengths = [(np.shape(record.start.get(key, 0)), np.shape(record.end.get(key, 0))) for record in records[1:]]
    return bool(lengths) and all(len(end) > 0 and end > start for start, end in lengths)


def accumulates(key: Key, records: list[IterationRecord]) -> bool:
    """Whether a number of the loop changes by another number of its iteration, or moves a constant share towards it.

    Or the script adds to it what has no name; or it is an expression of such a number or of a list that becomes longer.
    """
    parts = [(*key[:2], name) for name in names_read(key[2])]
    if parts != [key]:
        return any(_is_longer(part, records) or accumulates(part, records) for part in parts)
    if is_total(key, records):
        return True
    records = records[1:]  # an average begins with the first value
    if key[0] != "end" or any(key not in record.start or key not in record.end for record in records):
        return False
    starts = [numbers_of({key: record.start[key]}).get(key, np.nan) for record in records]
    ends = [numbers_of({key: record.end[key]}).get(key, np.nan) for record in records]
    if not np.isfinite([*starts, *ends]).all() or not (changes := np.subtract(ends, starts)).any():
        return False
    names = set.intersection(*(set(numbers_of(record.end) | numbers_of(record.inside)) for record in records))
    for name in names - {key}:
        values = np.array([(numbers_of(record.end) | numbers_of(record.inside))[name] for record in records])
        if not values.any() or np.ptp(values) == 0.0:
            continue
        if np.allclose(changes, values, rtol=1e-9, atol=0.0) and any(starts):
            return True
        rates = changes / way if (way := values - starts).all() else np.zeros(1)
        if np.ptp(rates) <= LOSS_CHOICE.average_rate_spread and 0 < abs(rates[0]) < LOSS_CHOICE.largest_average_rate:
            return True
    return False
