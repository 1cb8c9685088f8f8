"""The statements from which the values of others are computed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.doctor.source_lines import RETURNED, AssigningStatement, SourceLine

SIZES = re.compile(r"^for |^[\w., ]+ = [^-+*/@]*(\.shape(\[\d+\])?|\blen\([\w.]+\))$")
"""Statements that assign positions and sizes."""
SCALES = re.compile(r"/|\*(?!\*)|\b(mean|sum|len|size|shape)\b")
"""Statements that may change the scale of a value."""
SUBTRACTS = re.compile(r"-=|(=|return\b|append\(|yield\b).*[\w)\]]\s*-\s*(?!\d+\b[^.*])[\w.(]")
"""Statements that subtract one value from another, but not a whole number: that is an index."""
MOST_CALLS = 3
"""Functions through which an argument is followed to the outermost call. Chosen by eye."""
ADDS = re.compile(r"[\w.]+\s*[-+]=")
"""Statements that add to a variable."""
LOOP = re.compile(r"for ([\w, ()]+) in (?:zip\()?([\w., ]+)\)?:")
"""Loops through one container, or through several at once."""


def backward_slice(
    statements: Iterable[AssigningStatement], ends: Iterable[AssigningStatement]
) -> dict[AssigningStatement, int]:
    """The statements in the same functions on which some statements depend, with their distance in steps.

    It follows names, whatever the order of the statements: a loop over time steps carries values backward.
    """
    ends = list(ends)
    functions = {_function(one) for one in ends}
    writers: dict[str, list[AssigningStatement]] = {}
    for one in statements:
        if _function(one) in functions:
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
    statement is behind every wrong value, those behind most are taken. After the nearest one come the one from which
    the first of the wrong values, but not most of the others, is computed directly, and the two nearest ones that carry
    a value to the next time step.
    """
    slices = [backward_slice(statements, one) for one in wrong if one]
    innocent = {statement for one in right for statement in backward_slice(statements, one)}
    if not slices:
        return []
    own = set.intersection(*(set(one) for one in wrong if one)) if len(slices) > 1 else set()
    counts = Counter(statement for one in slices for statement in one if not statement.blank)
    for statement in (*innocent, *own):
        counts.pop(statement, None)
    values = [count for statement, count in counts.items() if not SIZES.search(statement.source)]
    if (most := max(values or counts.values(), default=0)) <= len(slices) / 2:
        return []
    steps = {one: [some.get(one, 0) for some in slices] for one, count in counts.items() if count >= most}
    distance = {statement: (max(each), sum(each)) for statement, each in steps.items()}
    found = sorted(distance, key=lambda one: (is_size(one), distance[one], one.file, -one.line))
    carrying = [one for one in found[1:] if _carries(one, found)][:2]
    worst = [one for one in found[1:] if steps[one][0] == 1 and 2 * sum(each > 1 for each in steps[one]) > len(slices)]
    return list(dict.fromkeys([*found[:1], *worst[:1], *carrying, *found]))


def nearer_to_wrong(
    statements: Sequence[AssigningStatement],
    wrong: Sequence[Sequence[AssigningStatement]],
    right: Sequence[Sequence[AssigningStatement]],
) -> list[AssigningStatement]:
    """The statements that are nearer to wrong values than to any right one, the one nearest to most of them first.

    Through the recurrence, a right value depends a little on all statements: it is off by less than a check finds.
    """
    slices = [backward_slice(statements, one) for one in wrong if one]
    innocent = [backward_slice(statements, one) for one in right if one]
    own = {statement for one in wrong for statement in one}
    near: dict[AssigningStatement, list[int]] = {}
    for one in slices:
        for statement, distance in one.items():
            others = (other[statement] for other in innocent if statement in other)
            suspect = statement not in own and not statement.blank and not SIZES.search(statement.source)
            if suspect and distance < min(others, default=distance + 1):
                near.setdefault(statement, []).append(distance)
    return sorted(near, key=lambda one: (-len(near[one]), sum(near[one]), -one.line))


def calls_with_argument(
    statements: Sequence[AssigningStatement], function: str, name: str, depth: int = MOST_CALLS
) -> list[AssigningStatement]:
    """The statements that call a function, which does not assign one of its arguments; the outermost ones first.

    Those of a function that passes an argument of the same name on come after its own calls.
    """
    if any(name in one.targets and one.scope == function for one in statements):
        return []
    calls = [one for one in statements if function.rpartition(".")[2] in one.calls]
    outer = {
        one.scope: None for one in calls if depth > 1 and name in one.reads and one.scope not in ("<module>", function)
    }
    return [one for scope in outer for one in calls_with_argument(statements, scope, name, depth - 1)] + calls


def sums_read_by(
    statements: Sequence[AssigningStatement], lines: Iterable[SourceLine]
) -> list[AssigningStatement]:  # fmt: skip
    """The statements that add to a variable that some lines read, as ``loss -= np.log(p)`` to that of a mean."""
    places = {(one.file, one.line) for one in lines}
    read = {(one.scope, text) for one in statements if (one.file, one.line) in places for text in one.reads}
    sums = [one for one in statements if ADDS.match(one.source)]
    return [one for one in sums if any((one.scope, text) in read for text in one.targets)]


def read_by(
    statements: Sequence[AssigningStatement], reading: Sequence[AssigningStatement]
) -> list[AssigningStatement]:  # fmt: skip
    """The statements before some others that assign what these read, in the same functions, the nearest first."""
    found = [
        one
        for later in reading
        for one in statements
        if _function(one) == _function(later) and one.line < later.line and one.targets & later.reads
    ]
    computing = [one for one in dict.fromkeys(found) if not one.blank and not is_size(one)]
    return sorted(computing, key=lambda one: -one.line)


def subtracting(statements: Sequence[AssigningStatement], names: set[str]) -> list[AssigningStatement]:
    """The statements that subtract one of some values, or an item of a loop through one."""
    loops = [one for one in statements if one.source.startswith("for ") and one.reads & names]
    read = names | {text for one in loops for text in one.targets}
    return [one for one in statements if SUBTRACTS.search(one.source) and one.reads & read]


def reading_item(statements: Sequence[AssigningStatement], expression: str) -> list[AssigningStatement]:
    """The statements that read an item of an array, as ``net.backward(labels[rows])`` does."""
    text = expression.replace(" ", "")
    return [one for one in statements if text in one.source.replace(" ", "") and expression not in one.targets]


def is_size(statement: AssigningStatement) -> bool:
    """Whether a statement assigns positions or sizes, or is a loop."""
    return bool(SIZES.search(statement.source))


def keeps_scale(statement: AssigningStatement) -> bool:
    """Whether a statement does not change the scale of a value."""
    return statement.source.startswith("for ") or not SCALES.search(statement.source)


def with_loop_variables(statements: Iterable[AssigningStatement], names: set[str]) -> set[str]:
    """Some names of containers, and the variables of the loops that go through them, as in ``zip(weights, grads)``."""
    found = set(names)
    for one in statements:
        loop = LOOP.match(one.source)
        if loop is not None:
            variables, through = (re.findall(r"[\w.]+", text) for text in (loop[1], loop[2]))
            found |= {variable for variable, name in zip(variables, through, strict=False) if name in names}
    return found


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
    """The statements that pass a gradient from one layer to another, where all wrong values are of one function.

    A layer computes its own gradients from the one that its caller passes to it, and that one may be wrong.

    - If the same statements compute the wrong values and the right ones, the layers are of one class. The statements
      behind the result of the function are returned, then those that call it.
    - If other functions compute the right values, their ``return`` statements are returned, for functions that are
      called in one statement with the function of the wrong values.
    - If the function computes right values with other statements, what it is passed is right: none is returned.
    """
    accused = {statement for one in wrong for statement in one}
    cleared = {statement for one in right for statement in one}
    functions = {_function(one) for one in accused}
    if len(functions) != 1 or not cleared:
        return []
    (function,) = functions
    inside = [one for one in statements if _function(one) == function]
    calls = [one for one in statements if _name(function) in one.calls and _function(one) != function]
    if accused <= cleared:
        results = {text for one in inside if RETURNED in one.targets for text in one.reads}
        return [one for one in inside if one.targets & results and not one.blank and one not in accused] + calls
    right_functions = {_function(one) for one in cleared}
    if function in right_functions:
        return []
    called_with = {name for one in calls for name in one.calls}
    passing = {one for one in right_functions if _name(one) in called_with}
    return [one for one in statements if RETURNED in one.targets and _function(one) in passing]


def _function(statement: AssigningStatement) -> tuple[str, str]:
    """The file and the scope of the function that has a statement."""
    return statement.file, statement.scope


def _name(function: tuple[str, str]) -> str:
    """The name by which a function is called."""
    return function[1].rpartition(".")[2]


def wrong_and_right(alarm: Alarm, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The parameters whose gradient an alarm calls wrong, the worst first, and those that it calls right.

    An alarm that names no array means all of them.
    """
    evidence: Mapping[str, object] = alarm.evidence
    worst = str(evidence.get("array", ""))
    wrong = [worst] if worst in names else []
    right: list[str] = []
    for label, found in (("wrong as well", wrong), ("right", right)):
        listed = re.search(rf"{label}: ([^;]*)", alarm.message)
        if listed is not None:
            found += [name for name in names if f"'{name}'" in listed[1] or f'"{name}"' in listed[1]]
    return (wrong or list(names)), right
