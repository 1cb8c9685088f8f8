"""Checks that the values that the user named exist in the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord, arrays_of, numbers_of
from rnncallbacks.doctor.roles.given_roles import GivenRoles, is_named
from rnncallbacks.doctor.roles.role_table import Roles, key_text
from rnncallbacks.doctor.value_walk import Key, Steps
from rnncallbacks.errors import OptionError, closest, short_repr

LISTED_NAMES = 8
"""Names in the hint of an error."""
OWN_NAMES = ("end", "start")
"""Kinds of keys whose expression is valid in the loop itself."""


def infer_named_roles(
    infer: Callable[[GivenRoles], Roles],
    given: GivenRoles,
    records: Sequence[IterationRecord],
    where: str,
    *,
    only_loop: bool,
) -> Roles:
    """The roles of a loop's values, with those that the user named.

    Parameters
    ----------
    infer:
        Infers the roles, with the given ones.
    given:
        The roles that the user gave.
    records:
        Iterations of the loop, with all values.
    where:
        The loop, as file and line.
    only_loop:
        Whether the names can be those of no other loop.

    Raises
    ------
    OptionError
        The loop trains, and a name is none of its values, or that of a value in another role.
    """
    try:
        check_named_values(given, records, where)
        roles = infer(given)
        check_roles_taken(given, roles, where)
    except OptionError:
        if only_loop or infer(GivenRoles()).parameters:
            raise
        return Roles(loss=None, loss_confidence="unsure")
    if roles.parameters:
        check_batch_axis(given.batch_axis, roles, records[-1], where)
    elif (given.params or given.grads) and infer(GivenRoles()).parameters:
        option, names = ("--params", given.params) if given.params else ("--grads", given.grads)
        raise OptionError(
            f"{option}: expected parameters or gradients with which the loop {where} trains, got {', '.join(names)}",
            hint=f"--show-roles without {option} prints those that were found",
        )
    return roles


def check_named_values(given: GivenRoles, records: Sequence[IterationRecord], where: str) -> None:
    """Refuse a name that no value of the right kind has in these iterations.

    Raises
    ------
    OptionError
        There is no such value; the hint has the closest name.
    """
    values = {key: value for record in records for key, value in (record.end | record.inside).items()}
    at_start = {key: value for record in records for key, value in arrays_of(record.start).items()}
    numbers = {key for record in records for key in numbers_of(record.end) | numbers_of(record.inside)}
    arrays = {key for key, value in values.items() if isinstance(value, Steps) or np.ndim(value)}
    roles: list[tuple[str, Iterable[str], str, set[Key]]] = [
        ("--loss", [given.loss], "a number", numbers),
        ("--params", given.params, "an array that exists when an iteration begins,", set(at_start)),
        ("--grads", given.grads, "an array", arrays),
        ("--inputs", [given.inputs], "numbers", set(values)),
        ("--targets", [given.targets], "numbers", set(values)),
        ("--state", given.state, "an array or a sequence of arrays", arrays),
    ]
    for option, names, kind, known in roles:
        for name in names:
            if name and not any(is_named(key, [name]) for key in known):
                other = next((key for key in values if is_named(key, [name])), None)
                got = repr(name) if other is None else f"{name!r}, which is {_described(values[other])}"
                raise OptionError(
                    f"{option}: expected {kind} seen in the loop {where}, got {got}", hint=_hint(name, known)
                )


def check_roles_taken(given: GivenRoles, roles: Roles, where: str) -> None:
    """Refuse a name whose value exists but has another role than the one that the user gave it.

    Raises
    ------
    OptionError
        No parameter, no gradient or no state has the name.
    """
    if not roles.parameters:
        return
    gradients = [key for one in roles.parameters for key in (one.gradient, one.fallback, *one.other_names) if key]
    states = [key for key in (*roles.carried, roles.hidden, roles.entering) if key]
    taken = [
        ("--params", given.params, [one.key for one in roles.parameters], "the loop does not update it, or no loss"
         " depends on it"),
        ("--grads", given.grads, gradients, "no parameter is updated along it"),
        ("--state", given.state, states, "it is no sequence of states, and no state that an iteration passes to the"
         " next"),
    ]  # fmt: skip
    for option, names, keys, why in taken:
        for name in names:
            if not any(is_named(key, [name]) for key in keys):
                raise OptionError(f"{option}: {name!r} cannot have this role in the loop {where}: {why}")


def check_batch_axis(axis: int | None, roles: Roles, record: IterationRecord, where: str) -> None:
    """Refuse a batch axis that the inputs do not have.

    Raises
    ------
    OptionError
        The axis is out of range, or the inputs are not known.
    """
    if axis is None:
        return
    if roles.inputs is None:
        raise OptionError(
            f"--batch-axis: the inputs of the loop {where} were not found", hint="name them: --inputs NAME"
        )
    value = record.get(roles.inputs)
    dimensions = np.ndim(value.stacked if isinstance(value, Steps) else value)
    if not -dimensions <= axis < dimensions:
        inputs = f"{key_text(roles.inputs)}, which have {dimensions}"
        raise OptionError(f"--batch-axis: expected an axis of the inputs {inputs}, got {axis}")


def _described(value: object) -> str:
    if isinstance(value, Steps):
        return f"a sequence of {len(value.stacked)} arrays"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    return f"the number {short_repr(value, 20)}"


def _hint(name: str, known: set[Key]) -> str:
    """The closest of the known names, or the shortest of them."""
    named: dict[str, Key] = {}
    for key in sorted(known, key=lambda one: (one[0] not in OWN_NAMES, len(one[2]), one[2])):
        if key[0] != "raw" and "#" not in key[1]:
            named.setdefault(key_text(key) if key[0] in OWN_NAMES else key[2], key)
    wanted = name.rpartition("():")[2]
    same = [one for one in named if one.lower() == wanted.lower()]
    if hint := closest(same[0] if same else wanted, named):
        return hint
    listed = list(named)[:LISTED_NAMES]
    more = f" and {len(named) - LISTED_NAMES} more" if len(named) > LISTED_NAMES else ""
    return f"there are {', '.join(listed)}{more}" if listed else "there is none"
