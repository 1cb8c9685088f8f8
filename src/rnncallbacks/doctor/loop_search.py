"""The search of the training loop: between whose ticks do the same arrays change by a little?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

import attrs
import numpy as np

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.instrument import Site, Sites
from rnncallbacks.doctor.value_walk import Key, copy_of


@attrs.frozen(kw_only=True)
class LoopSearchThresholds:
    """Which loops are candidates. Chosen by eye."""

    intervals: int = 3
    """Intervals between two ticks in which the same arrays have to change."""
    looks: int = 24
    """Ticks of one loop that are looked at in all."""
    looks_at_once: int = 5
    """Ticks that are looked at each time the loop begins."""
    largest_change: float = 1.0
    """Norm of the change over the norm of the array, in the interval where it is least, above which it is data or a
    state. A first update of Adagrad may be ten times as large as the weights."""
    sure_arrays: int = 2
    """Changed arrays with which the search ends; a loop with fewer is kept as a candidate, and the search goes on."""
    calm_change: float = 0.2
    """Norm of the change over the norm of the array up to which it is surely a parameter: the states of a loop that
    draws a sample change by more."""
    patience: float = 3.0
    """Seconds for which the search goes on when a loop with arrays of larger changes was found within another one."""
    covered: float = 0.5
    """Share of a loop's arrays that a loop within it has to change to be preferred, as batches are to epochs."""
    entries: int = 200_000
    """Entries of an array that are compared, evenly spaced."""


ROOT = re.compile(r"\w*")
"""The variable in which an expression begins."""

LOOP_SEARCH_THRESHOLDS = LoopSearchThresholds()


@attrs.frozen
class LoopCandidate:
    """A loop that may be the training loop.

    Attributes
    ----------
    site:
        Where the loop is.
    arrays:
        The number of arrays that change by a little in each iteration.
    names:
        Their expressions.
    keys:
        All keys of the arrays that change by a little, under each name that the loop can see.
    """

    site: Site
    arrays: int
    names: tuple[str, ...]
    keys: frozenset[Key] = frozenset()

    @property
    def score(self) -> float:
        """Larger is likelier. A loop whose body yields is a loader first."""
        return self.arrays * (0.2 if self.site.generator else 1.0)


def likeliest_first(
    candidates: Iterable[LoopCandidate], thresholds: LoopSearchThresholds = LOOP_SEARCH_THRESHOLDS
) -> list[LoopCandidate]:
    """The candidates, which are given in the order in which they were found: inner loops before outer ones.

    The one with the highest score is first, or the first found of those that change most of its arrays too.
    """
    left, ordered = list(candidates), []
    while left:
        best = max(left, key=lambda one: one.score)
        sufficient = thresholds.covered * len(best.keys)
        chosen = next(
            one
            for one in left
            if one is best or (not one.site.generator and len(one.keys & best.keys) >= sufficient > 0)
        )
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


class SearchEnded(BaseException):
    """Ends the script: the search has what it needs. Not an Exception, so that scripts do not catch it."""


@attrs.define(eq=False)
class _Activation:
    loop: int
    frame: FrameType
    ticks: int = 0
    zero: set[Any] = attrs.field(factory=set)
    values: dict[Any, Any] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Changes:
    """What changed between ticks of one loop, over all of its activations."""

    looks: int = 0
    intervals: int = 0
    common: dict[Any, float] | None = None  # key to the least relative change

    def add(self, changed: dict[Any, float]) -> None:
        self.intervals += 1
        if self.common is None:
            self.common = changed
        else:
            self.common = {key: min(self.common[key], changed[key]) for key in changed if key in self.common}


class LoopSearch:
    """Looks at the first ticks of each loop.

    Parameters
    ----------
    sites, modules:
        What was instrumented.
    excluded:
        File and line of the loops that were rejected.
    seconds:
        Time after which the search ends with the candidates that it has.
    """

    def __init__(
        self, sites: Sites, modules: OwnModules, excluded: set[tuple[str, int]], seconds: float,
        thresholds: LoopSearchThresholds = LOOP_SEARCH_THRESHOLDS,
    ) -> None:  # fmt: skip
        self.candidates: dict[int, LoopCandidate] = {}
        self._sites = sites
        self._modules = modules
        self._excluded = excluded
        self._until = time.monotonic() + seconds
        self._thresholds = thresholds
        self._active: dict[tuple[int, FrameType], _Activation] = {}
        self._changes: dict[int, _Changes] = {}

    def start(self, number: int, frame: FrameType) -> None:
        """The loop begins."""
        self._active[number, frame] = _Activation(number, frame)

    def tick(self, number: int, frame: FrameType) -> None:
        """An iteration of the loop begins."""
        activation = self._active[number, frame]
        activation.ticks += 1
        self._look(activation, activation.ticks <= self._thresholds.looks_at_once)
        if time.monotonic() > self._until:
            raise SearchEnded

    def end(self, number: int, frame: FrameType) -> None:
        """The loop has ended."""
        activation = self._active.pop((number, frame))
        if activation.ticks < self._thresholds.looks_at_once:
            self._look(activation, True)

    def returned(self, number: int, value: Any, frame: FrameType) -> None:
        """A function returns."""

    def before(self, number: int, text: str, base: Any, index: Any) -> None:
        """A statement is about to change an array."""

    def _look(self, activation: _Activation, wanted: bool) -> None:
        changes = self._changes.setdefault(activation.loop, _Changes())
        site = self._sites[activation.loop]
        if not wanted or changes.looks >= self._thresholds.looks or (site.file, site.line) in self._excluded:
            return
        changes.looks += 1
        values = {}
        identities: dict[Any, int] = {}
        for key, value in self._modules.values(activation.frame):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1:
                step = max(1, value.size // self._thresholds.entries)
                values[key] = (value.shape, value.reshape(-1)[::step].copy())
                identities[key] = id(value)
            elif isinstance(value, list):
                copy = copy_of(value)
                if isinstance(copy, np.ndarray) and copy.dtype.kind == "f" and copy.size > 1:
                    values[key], identities[key] = (copy.shape, copy.reshape(-1)), id(value)
        if not activation.values:
            activation.zero = {key for key, (_, array) in values.items() if not array.any()}
        else:
            changed = {}
            for key, (shape, array) in values.items():
                shape_before, before = activation.values.get(key, (None, None))
                if shape == shape_before and key not in activation.zero and not np.array_equal(array, before):
                    changed[key] = float(np.linalg.norm(array - before) / (np.linalg.norm(before) or 1.0))
            changes.add(changed)
            self._judge(activation, changes, identities)
        activation.values = values

    def _judge(self, activation: _Activation, changes: _Changes, identities: dict[Any, int]) -> None:
        if changes.intervals < self._thresholds.intervals or not changes.common:
            return
        loop, frame = activation.loop, activation.frame
        scope = frame.f_globals["__name__"] if frame.f_locals is frame.f_globals else frame.f_code.co_qualname
        little = [
            key
            for key, change in changes.common.items()
            if change < self._thresholds.largest_change
            # What the loop goes through is data.
            and not (key[1] == scope and ROOT.match(key[2])[0] in self._sites[loop].targets)  # type: ignore[index]
        ]
        objects = {identities[key]: key for key in reversed(little) if key in identities}
        if not objects:
            return
        names = tuple(key[2] for key in objects.values())
        self.candidates[loop] = candidate = LoopCandidate(self._sites[loop], len(objects), names, frozenset(little))
        # A loop that feeds another one by yielding comes first, and the other one is the training loop.
        if candidate.score < self._thresholds.sure_arrays or candidate.site.generator:
            return
        calm = {identities.get(key) for key in little if changes.common[key] <= self._thresholds.calm_change}
        if len(calm) >= self._thresholds.sure_arrays or len(self._active) == 1:
            raise SearchEnded
        self._until = min(self._until, time.monotonic() + self._thresholds.patience)
