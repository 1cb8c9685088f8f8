"""Finds the place in a block where loss and gradients are known and the parameters are not yet updated.

The script runs in a process of its own, in the sandbox, for a few passes of the block. The expressions of loss,
gradients and parameters are evaluated between its statements.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import attrs
import cattrs
import numpy as np

from rnncallbacks.doctor.hooking.block_probe import RECORDED_PASSES, BlockRequest, BlockState, BlockTrace
from rnncallbacks.doctor.hooking.hooked_loop import HookedLoop, assigned_names, block_of, names_in
from rnncallbacks.doctor.sandbox import ScratchFolder
from rnncallbacks.errors import DataError


@attrs.frozen
class ProbedScript:
    """The script that is run, in the sandbox, to find the place of a hook.

    Attributes
    ----------
    path:
        The script, if the loop is in a module that it imports; None: the file of the loop.
    arguments:
        Its command-line arguments.
    until:
        The time, as of ``time.monotonic``, at which all runs of it are ended. By default in half a minute, chosen by
        eye.
    """

    path: Path | None = None
    arguments: tuple[str, ...] = ()
    until: float = attrs.field(factory=lambda: time.monotonic() + 30.0)


@attrs.frozen
class HookPlace:
    """The place of the call of ``run.backward`` in a block.

    Attributes
    ----------
    backward:
        The number of statements of the block before it.
    update:
        The number of statements after which all parameters are updated; None if the block does not show it.
    replaced:
        Whether the update makes new arrays.
    kinds:
        The kind of an expression's value, by label: "array", "single" (an array of one entry), "number", "list" or
        "dict".
    known:
        Names that exist where the first pass begins.
    draws:
        The numbers of the statements, from 1, that draw random numbers.
    """

    backward: int
    update: int | None
    replaced: bool
    kinds: dict[str, str]
    known: tuple[str, ...]
    draws: tuple[int, ...] = ()


def find_hook_place(loop: HookedLoop, script: ProbedScript) -> HookPlace:
    """Run the script for a few passes of the loop's block, and find the place.

    Raises
    ------
    DataError
        The block has no such place; the message gives the reason.
    """
    block = block_of(ast.parse(loop.source.text), loop)
    return _place(_traced(loop, block.lineno, script), loop, loop.body_in(block))


@attrs.frozen
class UpdatePlace:
    """The place in the body of the loop where the parameters have been updated.

    Attributes
    ----------
    after:
        The number of statements after which all parameters are updated; None if the body does not show it.
    replaced:
        Whether the update makes new arrays.
    """

    after: int | None
    replaced: bool


def find_update_place(loop: HookedLoop, script: ProbedScript) -> UpdatePlace:
    """Run the script as :func:`find_hook_place` does, and find the update in the body of the loop itself."""
    whole = attrs.evolve(
        loop,
        block=None,
        observed={},
        parameters=tuple(attrs.evolve(one, expression=one.before_loop) for one in loop.parameters),
    )
    seen = [one for one in _traced(whole, loop.line, script).passes if len(one) > 1]
    labels = [label for label in whole.expressions() if label.startswith("parameter")]
    if not seen or any(label not in one[0].prints for one in seen for label in labels):
        return UpdatePlace(None, False)
    one = seen[min(1, len(seen) - 1)]
    places = sorted(one)
    return UpdatePlace(_first(one, places, labels, one[0], nonzero=False), _replaced(one, places[-1], labels))


def _replaced(one: dict[int, BlockState], last: int, labels: list[str]) -> bool:
    return any(one[last].identities.get(label) != one[0].identities[label] for label in labels)


def _traced(loop: HookedLoop, block: int, script: ProbedScript) -> BlockTrace:
    with ScratchFolder() as scratch:
        request = BlockRequest(
            script=str(script.path or loop.source.path),
            arguments=script.arguments,
            file=str(loop.source.path),
            block=block,
            loop=loop.line,
            expressions=loop.expressions(),
            folder=str(scratch.new_place()),
        )
        trace = _trace(request, script.until)
        scratch.remove()
    return trace


def _trace(request: BlockRequest, until: float) -> BlockTrace:
    command = [sys.executable, "-m", "rnncallbacks.doctor.hooking.block_probe"]
    seconds = max(0.0, until - time.monotonic())
    try:
        done = subprocess.run(
            command, input=json.dumps(cattrs.unstructure(request)).encode(), capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise DataError(
            f"{request.script}: {RECORDED_PASSES} passes of the loop took more than the {seconds:.0f} s that were left "
            "to find the place of the hooks",
            hint="raise --seconds, or write the hooks by hand: docs/tutorial/own-loop.md",
        ) from None
    answer = done.stdout.rpartition(b"\n")[2]
    if done.returncode or not answer:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise DataError(f"{request.script}: the script did not reach its loop: {reason[-1] if reason else 'no reason'}")
    trace: BlockTrace = cattrs.structure(json.loads(answer), BlockTrace)
    return trace


def _place(trace: BlockTrace, loop: HookedLoop, body: list[ast.stmt]) -> HookPlace:
    seen = [one for one in trace.passes if len(one) > 1]
    where = loop.source.location(body[0].lineno)
    if not seen:
        raise DataError(f"{where}: this block was not run, so the place of the hook is not known")
    if loop.block is not None and max(np.diff([*trace.begun, len(trace.passes)]), default=0) > 1:
        raise DataError(
            f"{where}: this function is called several times in an iteration, so run.backward has no place in it"
        )
    one = seen[1] if len(seen) > 1 else seen[0]
    places = sorted(one)
    labels = [label for label in loop.expressions() if label.startswith("gradient")]
    # The arguments of a function exist when it begins, and are other arrays in each call.
    stale = seen[0][0] if loop.block is not None and len(seen) > 1 else one[0]
    gradients = _first(one, places, labels, stale, nonzero=True) or _first(one, places, labels, stale, nonzero=False)
    loss = _first(one, places, ["loss"], stale, nonzero=True) or _first(one, places, ["loss"], stale, nonzero=False)
    if gradients is None or loss is None:
        what = f"the loss {loop.loss}" if loss is None else "the gradients"
        raise DataError(f"{where}: {what} cannot be read between the statements of this block")
    parameters = [label for label in loop.expressions() if label.startswith("parameter")]
    readable = all(label in one[0].prints for label in parameters)
    update = _first(one, places, parameters, one[0], nonzero=False) if readable else None
    touched = [place for place in places if _changed(one, place, parameters)] if readable else []
    # An expression of several names can change before all of them are assigned, and a sum is divided later.
    backward = max(gradients, _settled(one, loss, touched), _assigned(body, loop.loss))
    if touched and touched[0] <= backward:
        line = loop.source.location(body[touched[0] - 1].lineno)
        raise DataError(
            f"{line}: the parameters are updated here, before loss and gradients are both known in this block",
            hint="compute the loss before the update, or hook the function that updates",
        )
    replaced = readable and _replaced(one, places[-1], parameters)
    draws = tuple(after for before, after in pairwise(places) if one[before].random != one[after].random)
    return HookPlace(backward, update, replaced, trace.kinds, trace.known, draws)


def _first(
    one: dict[int, BlockState], places: list[int], labels: list[str], stale: BlockState, *, nonzero: bool
) -> int | None:
    """The first place at which no value is stale."""
    for place in places[1:]:
        state = one[place]
        if all(
            label in state.prints
            and state.prints[label] != stale.prints.get(label)
            and (state.nonzero[label] or not nonzero)
            for label in labels
        ):
            return place
    return None


def _settled(one: dict[int, BlockState], loss: int, touched: list[int]) -> int:
    """The last place before the update at which the loss changes; without a known update, the first one."""
    before = [place for place in sorted(one) if place >= loss and touched and place < touched[0]]
    changing = [
        place for last, place in pairwise(before) if one[last].prints.get("loss") != one[place].prints.get("loss")
    ]
    return max(changing, default=loss)


def _assigned(body: list[ast.stmt], expression: str) -> int:
    """The number of statements after which each name of an expression is assigned, if the body assigns it."""
    names = names_in(expression)
    firsts = [
        next((place for place, statement in enumerate(body, 1) if name in assigned_names([statement])), 0)
        for name in names
    ]
    return max(firsts, default=0)


def _changed(one: dict[int, BlockState], place: int, labels: list[str]) -> bool:
    return any(one[place].prints.get(label) != one[0].prints[label] for label in labels)
