"""The main function of the process that runs a script to probe a block of it: ``-m ...hooking.block_probe``."""

from __future__ import annotations

import ast
import builtins
import importlib.machinery
import importlib.util
import json
import os
import pickle
import random
import sys
import types
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import attrs
import cattrs
import numpy as np

from rnncallbacks.doctor.hooking.hooked_loop import body_with, names_in
from rnncallbacks.doctor.hooking.statement_lines import one_statement_a_line
from rnncallbacks.doctor.sandbox import Sandbox
from rnncallbacks.doctor.script_source import ScriptSource, read_script
from rnncallbacks.doctor.user_modules import main_module

LOOK = "__doctor_look__"
TICK_PLACE = -1
"""Marks the place in a block where an iteration of the loop begins."""
RECORDED_PASSES = 3
"""Passes of the block that are recorded. The second decides: in the first, arrays may not exist yet."""


@attrs.frozen
class BlockRequest:
    """The block to probe, and the expressions to evaluate between its statements, by label."""

    script: str
    arguments: tuple[str, ...]
    file: str
    block: int
    loop: int
    expressions: dict[str, str]
    folder: str


@attrs.frozen
class BlockState:
    """The values at one place: a fingerprint, an identity, and whether an entry is not zero, by label.

    ``random`` is a fingerprint of all random number generators that the frame names.
    """

    prints: dict[str, str]
    identities: dict[str, int]
    nonzero: dict[str, bool]
    random: str


@attrs.define
class BlockTrace:
    """The values at each place of each recorded pass, the kind of each value, and the names known at first.

    ``begun`` has the number of passes before each iteration of the loop, if the block is a function.
    """

    passes: list[dict[int, BlockState]] = attrs.field(factory=list)
    kinds: dict[str, str] = attrs.field(factory=dict)
    known: tuple[str, ...] = ()
    begun: list[int] = attrs.field(factory=list)


class _Seen(BaseException):
    """Ends the script after enough passes."""


def answer_request() -> None:
    """Read a request from the standard input, run the script, and write the trace to the standard output."""
    request: BlockRequest = cattrs.structure(json.loads(sys.stdin.buffer.read()), BlockRequest)
    answers = os.dup(1)
    os.dup2(2, 1)  # the output of the script is not part of the answer
    trace = BlockTrace()
    vars(builtins)[LOOK] = lambda place: _record(trace, request, place, sys._getframe(1))
    source = read_script(Path(request.script))
    with Sandbox(Path(request.folder), for_good=True):
        try:
            _run(source, request)
        except _Seen:
            pass
        except BaseException:
            if not trace.passes:
                raise
    os.write(answers, b"\n" + json.dumps(cattrs.unstructure(trace)).encode())
    os._exit(0)


def _run(source: ScriptSource, request: BlockRequest) -> None:
    main = main_module(source, list(request.arguments))
    if request.file == request.script:
        code = _with_looks(source.text, request)
    else:
        sys.meta_path.insert(0, _Finder(request))
        code = compile(source.text, request.script, "exec", dont_inherit=True)
    exec(code, vars(main))


def _with_looks(text: str, request: BlockRequest) -> types.CodeType:
    tree = ast.parse(one_statement_a_line(text).text)
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.While | ast.FunctionDef) and node.lineno == request.block:
            found = {label: text for label, text in request.expressions.items() if label.startswith("gradient")}
            body = body_with(node, list(found.values()) or [request.expressions["loss"]])
            looks = [_call_at(statement, place) for place, statement in enumerate(body, 1)]
            first = _call_at(body[0], 0)
            body[:] = [first, *(one for pair in zip(body, looks, strict=True) for one in pair)]
        if isinstance(node, ast.For | ast.While) and node.lineno == request.loop != request.block:
            node.body = [_call_at(node.body[0], TICK_PLACE), *node.body]
    code: types.CodeType = compile(ast.fix_missing_locations(tree), request.file, "exec", dont_inherit=True)
    return code


def _call_at(statement: ast.stmt, place: int) -> ast.stmt:
    call = ast.Call(ast.Name(LOOK, ast.Load()), [ast.Constant(place)], [])
    return ast.copy_location(ast.Expr(call), statement)


class _Finder(MetaPathFinder):
    """Finds the module that contains the block, and compiles it with probes."""

    def __init__(self, request: BlockRequest) -> None:
        self._request = request

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or os.path.realpath(spec.origin or "") != os.path.realpath(self._request.file):
            return None
        spec.loader = _Loader(fullname, spec.origin or "", self._request)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, request: BlockRequest) -> None:
        super().__init__(name, path)
        self._request = request

    def get_code(self, fullname: str) -> types.CodeType:
        """The code with probes; compiled files are not read."""
        return _with_looks(importlib.util.decode_source(self.get_data(self.path)), self._request)


def _record(trace: BlockTrace, request: BlockRequest, place: int, frame: types.FrameType) -> None:
    if place == TICK_PLACE:
        trace.begun.append(len(trace.passes))
        return
    unbound = {*frame.f_code.co_varnames, *frame.f_code.co_cellvars} - set(frame.f_locals)
    if place == 0:
        if len(trace.passes) == RECORDED_PASSES:
            raise _Seen
        if not trace.passes:
            trace.known = tuple(sorted({*frame.f_globals, *frame.f_locals} - unbound))
        trace.passes.append({})
    state = BlockState({}, {}, {}, _random_state(frame))
    for label, expression in request.expressions.items():
        if names_in(expression) & unbound:  # a global of the same name has another value
            continue
        try:
            value = eval(expression, frame.f_globals, dict(frame.f_locals))
            array = np.asarray(list(value.values()) if isinstance(value, dict) else value)
        except Exception:  # it does not exist yet, or is not an array
            continue
        state.prints[label] = f"{array.shape}{hash(array.tobytes())}"
        state.identities[label] = id(value)
        state.nonzero[label] = bool(array.any())
        trace.kinds[label] = _kind(value)
    if trace.passes:
        trace.passes[-1][place] = state


def _random_state(frame: types.FrameType) -> str:
    """A fingerprint of the generators of ``random`` and NumPy, those in the frame and in its objects included."""
    named = [*frame.f_globals.values(), *frame.f_locals.values()]
    inside = [inner for one in named for inner in getattr(one, "__dict__", {}).values()]
    kinds = np.random.Generator | np.random.RandomState | random.Random
    generators = [one for one in [np.random.mtrand._rand, *named, *inside] if isinstance(one, kinds)]
    states = [pickle.dumps(one) for one in [random.getstate(), *generators]]
    return str(hash(tuple(states)))


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "single" if value.size == 1 and value.ndim else "array"
    if isinstance(value, dict):
        return "dict"
    return "list" if isinstance(value, list | tuple) else "number"


if __name__ == "__main__":
    # Under its own name: the script takes the name __main__.
    from rnncallbacks.doctor.hooking import block_probe

    block_probe.answer_request()
