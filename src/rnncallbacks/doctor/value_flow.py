"""The statements from which the values of others are computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnncallbacks.doctor.source_lines import AssigningStatement


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
                if earlier not in found:
                    found[earlier] = found[one] + 1
                    waiting.append(earlier)
    return found


def statements_of_wrong(
    statements: Sequence[AssigningStatement],
    wrong: Sequence[Sequence[AssigningStatement]],
    right: Sequence[Sequence[AssigningStatement]],
) -> list[AssigningStatement]:
    """The statements on which every wrong value depends and no right one does, the nearest first.

    Each value is given by the statements that assign it. Those that only make an array of zeros are left out.
    """
    slices = [backward_slice(statements, one) for one in wrong if one]
    innocent = {statement for one in right for statement in backward_slice(statements, one)}
    if not slices:
        return []
    own = {statement for one in wrong for statement in one} if len(slices) > 1 else set()
    common = set.intersection(*(set(one) for one in slices)) - innocent - own
    distance = {statement: sum(one[statement] for one in slices) for statement in common if not statement.blank}
    return sorted(distance, key=lambda one: (one.source.startswith("for "), distance[one], one.file, -one.line))
