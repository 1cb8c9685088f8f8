"""The statements that make the state that enters a batch, or pass it on."""

from __future__ import annotations

import re

from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.rate_origin import loops_at
from rnncallbacks.doctor.source_lines import AssigningStatements, SourceLine

ZERO_SUMS = re.compile(r"^\s*(\w+\.)?_?(d|g)[A-Z_]|grad|loss", re.IGNORECASE)
"""Statements that make zeros for gradients or losses."""
ZEROS = re.compile(r"\bzeros(_like)?\(|(?<![\w.])0(\.0*)?\s*\*|\*\s*0(\.0*)?(?![\w.])")
"""Statements that make zeros, of any array."""
STATE_TARGET = re.compile(
    r"^[^=]*\b(self\.)?_?(h|c|s|hs|cs|states?|hidden|prev|[hcs]_\w+|[hc]prev)\b(\[[^]]*\])?[^=]*=(?!=)"
)
"""Statements that assign a state, by its name."""


def zeros_in_loop(statements: AssigningStatements, loop: Site) -> list[SourceLine]:
    """The statements of the loop's body that make zeros, or call what returns or assigns them."""
    loops = [node for one in statements.sources for node in loops_at(one, loop.file, loop.line)]
    if not loops:
        return []
    first, last = loops[0].lineno, loops[0].end_lineno or 0
    body = [one for one in statements.all if one.file == loop.file and first < one.line <= last]
    inside = [one for one in body if not ZERO_SUMS.search(one.source)]
    makes = [one for one in inside if ZEROS.search(one.source)]
    calls = [one for one in inside if any(inner.blank for inner in statements.returned_by(one))]
    called = {name for one in body for name in one.calls}
    deeper = [one for one in statements.all if one.scope.rpartition(".")[2] in called]
    makes += [one for one in deeper if ZEROS.search(one.source) and STATE_TARGET.search(one.source)]
    return [one.shown("makes the state that enters") for one in (*makes, *calls)][:2]


def zeros_before_loop(statements: AssigningStatements, loop: Site) -> list[SourceLine]:
    """The statements of the loop that read a state made of zeros before it, and those that make it."""
    ends = [node.end_lineno or 0 for one in statements.sources for node in loops_at(one, loop.file, loop.line)]
    same = [one for one in statements.all if (one.file, one.scope) == (loop.file, loop.scope)]
    zeros = [one for one in same if ZEROS.search(one.source) and STATE_TARGET.search(one.source)]
    makes = [one for one in zeros if one.line < loop.line]
    names = {text for one in makes for text in one.targets}
    passes = [one for one in same if loop.line < one.line <= max(ends, default=0) and one.reads & names]
    found = [one.shown("passes the state that enters") for one in passes[:1]]
    return found + [one.shown("makes the state that enters") for one in makes[-2:]]


def calls_with_state(statements: AssigningStatements, function: str) -> list[SourceLine]:
    """The statement that passes the entering state to the function of the states: zeros that a call returned."""
    return [one.shown("passes the state that enters") for one in statements.all if function in one.calls][:1]
