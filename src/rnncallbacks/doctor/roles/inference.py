"""Infers the roles of a loop's values from its first iterations and from perturbations."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.loss_names import LOSS_NAMES
from rnncallbacks.doctor.roles.agreement import (
    agreeing_count,
    are_proportional,
    loss_of_loop,
)
from rnncallbacks.doctor.roles.batch_data import find_batch_data, in_function_of_loss
from rnncallbacks.doctor.roles.carried_state import is_carried_on, names_of_states, without_containers
from rnncallbacks.doctor.roles.data_effects import find_pair_by_effect
from rnncallbacks.doctor.roles.entering_state import find_entering
from rnncallbacks.doctor.roles.frozen_siblings import find_frozen_siblings
from rnncallbacks.doctor.roles.given_roles import GivenRoles, is_named
from rnncallbacks.doctor.roles.gradient_sources import (
    GradientCandidate,
    candidates_of,
    parallel_source,
)
from rnncallbacks.doctor.roles.input_terms import find_other_terms
from rnncallbacks.doctor.roles.interventions import (
    INTERVENTION,
    Push,
    changing_arrays,
    computed_values,
    is_exact,
    moves_arrays,
    moving_arrays,
    persists,
    push_arrays,
    slopes_along_update,
)
from rnncallbacks.doctor.roles.loss_choice import (
    LOSS_CHOICE,
    distinct_candidates,
    is_of_several_calls,
    is_total,
    names_of_loss,
    rank_losses,
    shown_loss,
)
from rnncallbacks.doctor.roles.nonfinite_roles import roles_of_nonfinite_loss
from rnncallbacks.doctor.roles.objective import Objective, find_objective
from rnncallbacks.doctor.roles.parameter_role import GradientFactors, gradient_factors, parameter_role
from rnncallbacks.doctor.roles.role_table import Confidence, LossCandidate, ParameterRole, Roles, key_text
from rnncallbacks.doctor.roles.update_rate import learning_rate_of
from rnncallbacks.doctor.roles.without_loss import roles_without_loss
from rnncallbacks.doctor.value_walk import Key, Steps
from rnncallbacks.doctor.watched_script import FrozenIteration


@attrs.frozen(kw_only=True)
class InferenceThresholds:
    """The least evidence for the loss. Chosen by eye."""

    gradients: int = 3
    """Gradients that must be known if none of them agrees with the loss, for either to be accused."""
    gradients_with_factor: int = 2
    """The same if all are off by one factor."""
    score: float = 2.5
    """Smallest score of a loss: that of a number that all parameters move, and that falls or is named so."""


INFERENCE = InferenceThresholds()


def infer_roles(
    records: Sequence[IterationRecord],
    frozen: Sequence[FrozenIteration | None],
    until: float,
    given: GivenRoles | None = None,
    loop_pair: tuple[str, ...] = (),
) -> Roles:
    """The roles of a loop's values.

    Parameters
    ----------
    records:
        The first iterations, at least two, with all values.
    frozen:
        Their frozen copies.
    until:
        The time, as of ``time.monotonic``, after which no more arrays are perturbed.
    given:
        The roles that the user gave.
    loop_pair:
        The two variables of the loop, if it has two.
    """
    given = given or GivenRoles()
    known = list(records)
    first, last = frozen[0], frozen[-1]
    if first is None or last is None or not is_exact(known[0], first) or not is_exact(known[-1], last):
        return Roles(loss=None, loss_confidence="unsure")
    evidence = _find_evidence(known, first, last, until, given)
    pushes, keepers, sources = evidence.pushes, evidence.keepers, evidence.sources
    slopes = slopes_along_update([push.key for push in keepers], known[0], first)
    ranked = rank_losses(keepers, sources, known, slopes)
    chosen = [one for one in ranked if is_named(one.key, [given.loss])] if given.loss else ranked
    loss, confidence = _choose(chosen, keepers, sources, sure=bool(given.loss))
    factors = GradientFactors() if loss is None else gradient_factors(loss, keepers, sources, known)
    if factors.in_rate:
        confidence = "certain"
    parameters, optimizer, carried = _by_role(evidence, loss, first, given, factors)
    if not parameters:
        unknown = Roles(loss=None, loss_confidence="unsure", loss_candidates=tuple(ranked[:4]), exact=True)
        if not ranked and not given.loss:
            unknown = roles_without_loss(keepers, known, first, loop_pair) or unknown
        return roles_of_nonfinite_loss(known, given) or unknown
    found = [one for one in parameters if one.gradient is not None]
    objective = Objective()
    if factors.raised:
        objective = Objective(is_loss=False, text="a log-likelihood, which the updates raise")
    elif loss is not None and not any(one.agrees for one in found):
        if slopes.get(loss, 0.0) <= 0:  # gradients along which the loss rises are wrong, whatever they descend
            objective = find_objective(loss, found, {push.key: push for push in pushes}, known, first, last)
        few = not given.loss and len(found) < max(len(parameters), _fewest_gradients(factors))
        confidence = _without_agreement(loss, objective, few) or confidence
    rate, plain = learning_rate_of(parameters, known)
    fixed = {one.key for one in parameters} | {one.gradient for one in parameters if one.gradient} | set(optimizer)
    computed = computed_values([one.key for one in parameters], known[1:], frozen[1:])
    if computed and not given.state:  # values that do not depend on the parameters are data of the next iteration
        carried = without_containers([key for key in carried if key in computed], known[-1])
    loss_names = names_of_loss(loss, pushes, known)
    no_data = computed | names_of_states(carried, known[-1], known[-2], computed)
    pair = find_pair_by_effect(known, last, fixed, no_data, computed, frozenset(loss_names), until)
    terms = () if given.inputs else find_other_terms(pair, known, last, fixed | no_data, computed, until)
    data = find_batch_data(known, fixed, _width(parameters, known[0]), no_data, loop_pair, pair)
    loss, early = _reported_loss(loss, loss_names, known, given)
    hidden = _given_sequence(given.state, known) or data.hidden
    return Roles(
        loss=loss,
        loss_confidence=confidence,
        loss_candidates=tuple(distinct_candidates(ranked, keepers)[:4]),
        parameters=tuple(parameters),
        optimizer_state=tuple(optimizer),
        carried=tuple(carried),
        learning_rate=rate,
        plain=plain,
        inputs=_given(given.inputs, known) or data.inputs,
        other_inputs=terms,
        targets=_given(given.targets, known) or in_function_of_loss(data.targets, loss_names, known),
        hidden=hidden,
        entering=None if hidden is not None else find_entering(known, carried),
        batch_axis=given.batch_axis,
        early_loss=early,
        loss_names=loss_names,
        exact=True,
        descends_loss=objective.is_loss,
        loss_is=objective.text,
        updates=_updates(found, known[0]),
    )


def _without_agreement(loss: Key, objective: Objective, few: bool) -> Confidence | None:
    """How certain a loss is that no gradient agrees with; None: as certain as before. ``few`` are its gradients."""
    if not objective.is_loss and LOSS_NAMES.search(key_text(loss)):
        return "likely"  # the gradients vouch for each other, and they are not taken for those of the loss
    return "unsure" if few else None  # then neither the loss nor the gradients vouch for each other


def _reported_loss(
    loss: Key | None, names: Sequence[Key], known: list[IterationRecord], given: GivenRoles
) -> tuple[Key | None, Key | None]:
    """The loss as the loop shows it, and the first value that has it; of a running total, its increase."""
    if loss is not None and not given.loss:
        loss = shown_loss(loss, names)
    if loss is not None and is_total(loss, known):
        total = ("increase", *loss[1:])
        return total, total
    return loss, next((key for key in names if "#" not in key[1] and key in known[0].order), loss)


@attrs.frozen(kw_only=True)
class _Evidence:
    """The perturbed arrays, and the gradients that they may have.

    ``keepers`` are the pushes of arrays that keep a push or are updated, without those that the user did not name,
    ``keeping`` the keys of all of them, and ``unmoving`` those without an effect. ``sources`` has the possible
    gradients of the others.
    """

    known: list[IterationRecord]
    pushes: list[Push]
    keepers: list[Push]
    keeping: frozenset[Key]
    names: set[Key]
    unmoving: frozenset[Key]
    sources: dict[Key, list[GradientCandidate]]


def _find_evidence(
    known: list[IterationRecord], first: FrozenIteration, last: FrozenIteration, until: float, given: GivenRoles
) -> _Evidence:
    pushes = _pushed(known, first, last, until)
    keepers = [push for push in pushes if push.kept >= INTERVENTION.kept or _is_updated(push, known)]
    keeping = frozenset(push.key for push in keepers)
    if given.params:
        keepers = [push for push in keepers if is_named(push.key, given.params)]
    names = {push.key for push in keepers}
    unmoving = frozenset(push.key for push in keepers if not push.derivatives)
    sources = {push.key: candidates_of(push.key, names, known, unmoving) for push in keepers if push.derivatives}
    for push, gradients in find_frozen_siblings(known, first, last, until, sources):
        if not given.params or is_named(push.key, given.params):
            pushes.append(push)
            keepers.append(push)
            sources[push.key] = gradients
    if given.grads:
        sources = {key: [one for one in found if is_named(one.key, given.grads)] for key, found in sources.items()}
    return _Evidence(
        known=known, pushes=pushes, keepers=keepers, keeping=keeping, names=names, unmoving=unmoving, sources=sources
    )


def _by_role(
    evidence: _Evidence, loss: Key | None, first: FrozenIteration, given: GivenRoles, factors: GradientFactors
) -> tuple[list[ParameterRole], list[Key], list[Key]]:
    """The parameters, the arrays of the optimizer, and the carried states."""
    known, keepers, sources = evidence.known, evidence.keepers, evidence.sources
    parameters, optimizer, carried = [], [], []
    states = {push.key for push in keepers if is_carried_on(push, keepers, sources, loss, known)}
    accepted = {push.key for push in keepers} - states
    gradients = frozenset(found[0].key for found in sources.values() if found)
    for push in evidence.pushes:
        moves_loss = loss is not None and loss in push.derivatives
        if loss is not None and push.key in accepted and moves_loss:
            parameters.append(parameter_role(push, sources.get(push.key, []), loss, factors))
        elif loss is not None and push.key in accepted and moves_arrays(push, first, gradients):
            possible = sources.get(push.key) or candidates_of(
                push.key, evidence.names, known, evidence.unmoving - {push.key}
            )
            parameters.append(attrs.evolve(parameter_role(push, possible, loss, factors), agrees=None))
        elif push.key in evidence.keeping - states:
            optimizer.append(push.key)
        elif is_named(push.key, given.state) or (not given.state and moves_loss and persists(push.key, known)):
            carried.append(push.key)
    return parameters, optimizer, carried


def _fewest_gradients(factors: GradientFactors) -> int:
    return INFERENCE.gradients if factors.off is None else INFERENCE.gradients_with_factor


def _updates(parameters: list[ParameterRole], record: IterationRecord) -> int:
    """The number of updates per iteration: the median, over the parameters, of the changes by one statement."""
    counts = [record.repeats.get(record.start_identities.get(one.key, -1), 1) for one in parameters]
    return int(np.median(counts)) if counts else 1


def _pushed(records: list[IterationRecord], first: FrozenIteration, last: FrozenIteration, until: float) -> list[Push]:
    """Pushes in the first iteration; of arrays without an effect there, such as a zero state, in the last one."""
    keys = changing_arrays(records)
    along = {
        key: found for key in keys if (found := parallel_source(key, candidates_of(key, set(), records), records[0]))
    }
    pushes = {push.key: push for push in push_arrays(keys, records[0], first, until, along)}
    # A state may be made in the first iteration only.
    names = records[-1].start_identities
    known = {names.get(key) for key in keys}
    keys += [key for key in changing_arrays(records[1:]) if key not in records[0].start and names.get(key) not in known]
    still = [key for key in keys if key not in pushes or not pushes[key].derivatives]
    still = moving_arrays(still, records[-1], last)
    pushes |= {push.key: push for push in push_arrays(still, records[-1], last, until, along) if push.derivatives}
    return [pushes[key] for key in keys if key in pushes]


def _is_updated(push: Push, records: list[IterationRecord]) -> bool:
    """Whether statements only add to an array, along a gradient: the gradient of a chaotic network hides a push."""
    return bool(push.derivatives) and push.only_grows and bool(candidates_of(push.key, {push.key}, records))


def _choose(
    ranked: list[LossCandidate],
    keepers: list[Push],
    sources: dict[Key, list[GradientCandidate]],
    *,
    sure: bool,
) -> tuple[Key | None, Confidence]:
    """The loss, and its confidence; ``sure`` if the user has named it."""
    distinct = distinct_candidates(ranked, keepers)
    if not distinct:
        return None, "unsure"
    best = loss_of_loop(distinct, keepers)
    if best.score < INFERENCE.score and not sure:
        updated = sum(bool(sources.get(push.key)) for push in keepers)  # a loop that trains, whatever its loss is
        moving = sum(bool(push.derivatives) for push in keepers)  # the others belong to the optimizer
        return (best.key if INFERENCE.gradients <= updated == moving else None), "unsure"
    if agreeing_count(best.key, keepers, sources) >= min(2, len([one for one in sources.values() if one]) or 2):
        return best.key, "certain"
    if sure:
        return best.key, "likely"
    several = is_of_several_calls(best.key, keepers[0].record)
    others = [one for one in distinct[1:] if several or not is_of_several_calls(one.key, keepers[0].record)]
    rivals = [one for one in others if not are_proportional(best.key, one.key, keepers)]
    lead = best.score - rivals[0].score if rivals else np.inf
    return best.key, "likely" if lead >= LOSS_CHOICE.certain_margin else "unsure"


def _width(parameters: list[ParameterRole], record: IterationRecord) -> int | None:
    """The size of the hidden state, from the shape of the recurrent weights; None if it is ambiguous."""
    sides = {side for one in parameters for side in _recurrent_sides(getattr(record.start.get(one.key), "shape", ()))}
    return sides.pop() if len(sides) == 1 else None


def _recurrent_sides(shape: tuple[int, ...]) -> set[int]:
    if len(shape) != 2 or min(shape) < 2:
        return set()
    large, small = max(shape), min(shape)
    return {small} if large == small else set()


def _given(name: str, records: list[IterationRecord]) -> Key | None:
    """The key of a value that the user has named, with the shortest expression of those that it may mean."""
    if not name:
        return None
    found = [key for values in (records[-1].end, records[-1].inside) for key in values if is_named(key, [name])]
    return min(found, key=lambda key: (key_text(key) != name, len(key[2]), key[0] != "end"), default=None)


def _given_sequence(names: tuple[str, ...], records: list[IterationRecord]) -> Key | None:
    """The key of a sequence of states that the user has named."""
    values = records[-1].end | records[-1].inside
    return next((key for key, value in values.items() if isinstance(value, Steps) and is_named(key, names)), None)
