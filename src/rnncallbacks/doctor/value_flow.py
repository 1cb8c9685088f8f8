"""The statements from which the values of others are computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rnncallbacks.doctor.source_lines import RETURNED, AssigningStatement


def backward_slice(
    statements: Iterable[AssigningStatement], ends: Iterable[AssigningStatement]
) -> dict[AssigningStatement, int]:
    """The statements in the same functions on which some statements depend, with their distance in steps.

    It follows names, whatever the order of the statements: a loop over time steps carries values backward.
    """
    ends = list(ends)
    scopes = {(one.file, one.scope) for one in ends}
    writers: dict[str, list[AssigningStatement]] = {}
    for one in statements:
        if (one.file, one.scope) in scopes:
            for text in one.targets:
                writers.setdefault(text, []).append(one)
    found = dict.fromkeys(ends, 0)
    waiting = list(found)
    while waiting:
        one = waiting.pop(0)
        for text in sorted(one.reads):
            for earlier in writers.get(text, ()):
                if earlier not in found and earlier.may_assign(text, one.items_read.get(text)):
                    found[earlier] = found[one] + 1
                    waiting.append(earlier)
    return found


def statements_of_wrong(
    statements: Sequence[AssigningStatement],
    wrong: Sequence[Sequence[AssigningStatement]],
    right: Sequence[Sequence[AssigningStatement]],
) -> list[AssigningStatement]:
    """The statements on which every wrong value depends and no right one does, the nearest first.

    Each value is given by the statements that assign it. Those that only make an array of zeros are left out. If no
    statement is behind every wrong value, those behind most are taken. After the nearest one comes the nearest one that
    carries a value to the next time step.
    """
    slices = [backward_slice(statements, one) for one in wrong if one]
    innocent = {statement for one in right for statement in backward_slice(statements, one)}
    if not slices:
        return []
    own = {statement for one in wrong for statement in one} if len(slices) > 1 else set()
    counts = Counter(statement for one in slices for statement in one if not statement.blank)
    for statement in (*innocent, *own):
        counts.pop(statement, None)
    if (most := max(counts.values(), default=0)) <= len(slices) / 2:
        return []
    distance = {
        statement: sum(one.get(statement, 0) for one in slices) for statement, count in counts.items() if count == most
    }
    found = sorted(distance, key=lambda one: (one.source.startswith("for "), distance[one], one.file, -one.line))
    carrying = next((one for one in found[1:] if _carries(one, found)), None)
    return found if carrying is None else [found[0], carrying, *(one for one in found[1:] if one is not carrying)]


def _carries(statement: AssigningStatement, others: Iterable[AssigningStatement]) -> bool:
    """Whether an earlier line reads what a statement assigns: in the next time step."""
    return any(
        statement.targets & one.reads and one.line < statement.line and one.scope == statement.scope for one in others
    )


def passed_on(
    statements: Sequence[AssigningStatement],
    wrong: Sequence[Sequence[AssigningStatement]],
    right: Sequence[Sequence[AssigningStatement]],
) -> list[AssigningStatement]:
    """The statements that may make the gradient wrong that the function of the wrong values is given by its caller.

    Where the same statements compute wrong and right values, of two layers, these are the statements behind what the
    function returns, and the calls. Where the right values are computed elsewhere, they are what the functions return
    that the same call has as arguments.
    """
    accused = {statement for one in wrong for statement in one}
    cleared = {statement for one in right for statement in one}
    scopes = {(one.file, one.scope) for one in accused}
    if not accused or not cleared or len(scopes) > 1:
        return []
    scope = next(iter(scopes))
    name = scope[1].rpartition(".")[2]
    calls = [one for one in statements if name in one.calls and (one.file, one.scope) != scope]
    if accused <= cleared:
        returned = [one for one in statements if RETURNED in one.targets and (one.file, one.scope) == scope]
        names = {text for one in returned for text in one.reads}
        behind = [
            one
            for one in statements
            if (one.file, one.scope) == scope and one.targets & names and not one.blank and one not in accused
        ]
        return behind + calls
    if scope in {(one.file, one.scope) for one in cleared}:
        return []
    inner = {called for one in calls for called in one.calls}
    return [
        one
        for one in statements
        if RETURNED in one.targets
        and one.scope.rpartition(".")[2] in inner
        and {(one.file, one.scope)} & {(other.file, other.scope) for other in cleared}
    ]
