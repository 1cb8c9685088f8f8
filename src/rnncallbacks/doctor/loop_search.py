"""The search for the training loop: the loop in which the same arrays change slightly at each tick."""

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
    """Thresholds of candidates for the training loop. Chosen by eye."""

    changing_intervals: int = 3
    """Intervals between two ticks in which the same arrays must change."""
    compared_ticks: int = 24
    """Ticks of one loop whose arrays are compared, in total."""
    compared_ticks_at_start: int = 5
    """Ticks whose arrays are compared each time the loop begins."""
    largest_change: float = 1.0
    """Smallest relative change of an array, norm of the change / norm of the array, above which it is data or a state.
    The first update of Adagrad may be ten times as large as the weights."""
    sure_arrays: int = 2
    """Changed arrays with which the search ends. A loop with fewer is a candidate, and the search continues."""
    calm_change: float = 0.2
    """Relative change up to which an array is certainly a parameter: the states of a loop that draws a sample change
    by more."""
    nested_loop_seconds: float = 3.0
    """Seconds for which the search continues after a nested loop with arrays of larger changes was found."""
    second_execution_seconds: float = 0.3
    """Seconds of the processor for which the search waits for the second execution of a nested loop: a loop over time
    steps is executed again soon, and the gradients that it sums begin with zeros again."""
    waited_share: float = 4.0
    """The same / seconds that the iteration of the loop around it has taken until then, if that is longer."""
    ends: int = 4
    """Executions of a loop after which the arrays are kept, to be compared when it begins again."""
    covered_share: float = 0.5
    """Share of a loop's arrays that a nested loop must change to be preferred, as batches are to epochs."""
    compared_entries: int = 200_000
    """Entries of an array that are compared, evenly spaced."""


ROOT = re.compile(r"\w*")
"""The variable in which an expression begins."""

LOOP_SEARCH = LoopSearchThresholds()
LARGE_CHANGES = LoopSearchThresholds(largest_change=np.inf, calm_change=np.inf, sure_arrays=3)
"""For scripts in which no array changes slightly: a rate that is far too high."""


@attrs.frozen
class LoopCandidate:
    """A loop that may be the training loop.

    Attributes
    ----------
    site:
        The place of the loop.
    arrays:
        The number of arrays that change slightly in each iteration.
    names:
        Their expressions.
    keys:
        All keys of these arrays, under each name that is visible in the loop.
    period, first:
        Every ``period``-th iteration of the loop updates the parameters: these are one, and begin before iteration
        ``first``, from 1.
    """

    site: Site
    arrays: int
    names: tuple[str, ...]
    keys: frozenset[Key] = frozenset()
    period: int = 1
    first: int = 1

    @property
    def score(self) -> float:
        """Larger is likelier. A loop whose body yields is probably a loader."""
        return self.arrays * (0.2 if self.site.generator else 1.0)


def likeliest_first(candidates: Iterable[LoopCandidate]) -> list[LoopCandidate]:
    """The candidates, the likeliest training loop first.

    They are given in the order in which they were found, inner loops before outer ones. The candidate with the highest
    score is first, unless one found before it changes most of the same arrays.
    """
    left, ordered = list(candidates), []
    while left:
        best = max(left, key=lambda one: one.score)
        sufficient = LOOP_SEARCH.covered_share * len(best.keys)
        chosen = next(
            one
            for one in left
            if one is best or (not one.site.generator and len(one.keys & best.keys) >= sufficient > 0)
        )
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


class SearchEnded(BaseException):
    """Ends the script when the search is done. Not an Exception, so that scripts do not catch it."""


def relative_change(before: Any, after: Any) -> float:
    """norm(after - before) / norm(before), or norm(after) if the array was zero.

    Example
    -------
    >>> relative_change(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    0.1
    """
    return float(np.linalg.norm(after - before) / (np.linalg.norm(before) or 1.0))


@attrs.define(eq=False)
class _Activation:
    loop: int
    frame: FrameType
    ticks: int = 0
    begun: float = 0.0
    zero: set[Any] = attrs.field(factory=set)
    values: dict[Any, Any] = attrs.field(factory=dict)
    identities: dict[Any, int] = attrs.field(factory=dict)
    nonfinite: set[Any] = attrs.field(factory=set)

    def is_finite(self, key: Any) -> bool:
        """Whether an array was finite at the tick before."""
        return bool(np.isfinite(self.values[key][1]).all())

    def follow_nonfinite(self, became: set[Any], identities: dict[Any, int]) -> None:
        """Record the arrays that became NaN together, as those of a network do: their change cannot be measured.

        A loop through the parameters makes one after the other NaN.
        """
        if len({identities.get(key) for key in became}) > 1:
            self.nonfinite |= became


@attrs.define(eq=False)
class _Changes:
    """The arrays that changed between ticks of one loop, over all of its activations."""

    ticks: int = 0
    intervals: int = 0
    common: dict[Any, float] | None = None  # key to the least relative change
    executions: int = 0
    at_end: dict[Any, Any] = attrs.field(factory=dict)
    reset: set[Any] = attrs.field(factory=set)

    def begin(self, values: dict[Any, Any]) -> None:
        """Note the arrays with quite another value than at the end of the execution before: they are no parameters."""
        self.executions += 1
        for key, (shape, array) in self.at_end.items():
            before, now = values.get(key, (None, None))
            if before == shape and not np.array_equal(now, array, equal_nan=True):
                # A batch of another loop, as of validation data, may have updated it a little.
                self.reset |= set() if relative_change(array, now) <= LOOP_SEARCH.calm_change else {key}

    def add(self, changed: dict[Any, float]) -> None:
        self.intervals += 1
        if self.common is None:
            self.common = changed
        else:
            self.common = {key: min(self.common[key], changed[key]) for key in changed if key in self.common}


class BoundedSearch:
    """Base of the searches for loops: the modules that are searched, the deadline and the candidates.

    Parameters
    ----------
    sites, modules:
        The instrumented places and modules.
    excluded:
        File and line of rejected loops.
    seconds:
        Time limit of the search. Candidates found by then are kept.
    """

    def __init__(self, sites: Sites, modules: OwnModules, excluded: set[tuple[str, int]], seconds: float) -> None:
        self.candidates: dict[int, LoopCandidate] = {}
        self._sites = sites
        self._modules = modules
        self._excluded = excluded
        self._until = time.monotonic() + seconds
        self._until_busy = float("inf")  # seconds of the processor

    def returned(self, number: int, value: Any, frame: FrameType) -> None:
        """A function returns."""

    def shown(self, number: int, text: str, value: Any) -> None:
        """The script prints a value."""

    def before(
        self, number: int, text: str, base: Any, index: Any, names: tuple[str, ...] = (), operands: tuple[Any, ...] = ()
    ) -> None:  # fmt: skip
        """A statement is about to change an array."""

    def _is_excluded(self, number: int) -> bool:
        site = self._sites[number]
        return (site.file, site.line) in self._excluded

    def _end_in_time(self) -> None:
        if time.monotonic() > self._until or time.process_time() > self._until_busy:
            raise SearchEnded


class LoopSearch(BoundedSearch):
    """Compares the arrays at the first ticks of each loop."""

    def __init__(
        self, sites: Sites, modules: OwnModules, excluded: set[tuple[str, int]], seconds: float,
        thresholds: LoopSearchThresholds,
    ) -> None:  # fmt: skip
        super().__init__(sites, modules, excluded, seconds)
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
        activation.begun = time.process_time()
        if activation.ticks <= self._thresholds.compared_ticks_at_start:
            self._compare(activation)
        self._end_in_time()

    def end(self, number: int, frame: FrameType) -> None:
        """The loop has ended."""
        activation = self._active.pop((number, frame))
        if activation.ticks < self._thresholds.compared_ticks_at_start:
            self._compare(activation)
        changes = self._changes.get(number)
        if changes is not None and changes.executions <= self._thresholds.ends:
            changes.at_end = self._arrays(frame)[0]

    def _compare(self, activation: _Activation) -> None:
        changes = self._changes.setdefault(activation.loop, _Changes())
        if changes.ticks >= self._thresholds.compared_ticks or self._is_excluded(activation.loop):
            return
        changes.ticks += 1
        values, identities = self._arrays(activation.frame)
        if not activation.values:
            changes.begin(values)
            activation.zero = {key for key, (_, array) in values.items() if not array.any()}
        else:
            changed = {}
            for key, (shape, array) in values.items():
                shape_before, before = activation.values.get(key, (None, None))
                if shape == shape_before and key not in activation.zero and not np.array_equal(array, before):
                    changed[key] = relative_change(before, array)
            became = {key for key, one in changed.items() if not np.isfinite(one) and activation.is_finite(key)}
            activation.follow_nonfinite(became, identities)
            for key in activation.nonfinite & changed.keys():
                changed[key] = self._thresholds.calm_change
            changes.add(changed)
            self._add_candidate(activation, changes, identities)
        activation.values, activation.identities = values, identities

    def _arrays(self, frame: FrameType) -> tuple[dict[Any, Any], dict[Any, int]]:
        """Shapes and entries of the arrays that a frame reaches, and their identities."""
        values: dict[Any, Any] = {}
        identities: dict[Any, int] = {}
        for key, value in self._modules.values(frame):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1:
                step = max(1, value.size // self._thresholds.compared_entries)
                values[key] = (value.shape, value.reshape(-1)[::step].copy())
                identities[key] = id(value)
            elif isinstance(value, list):
                copy = copy_of(value)
                if isinstance(copy, np.ndarray) and copy.dtype.kind == "f" and copy.size > 1:
                    values[key], identities[key] = (copy.shape, copy.reshape(-1)), id(value)
        return values, identities

    def _add_candidate(self, activation: _Activation, changes: _Changes, identities: dict[Any, int]) -> None:
        if changes.intervals < self._thresholds.changing_intervals or not changes.common:
            return
        loop, frame = activation.loop, activation.frame
        scope = frame.f_globals["__name__"] if frame.f_locals is frame.f_globals else frame.f_code.co_qualname
        little = [
            key
            for key, change in changes.common.items()
            if change < self._thresholds.largest_change
            and key not in changes.reset
            # The targets of the loop are data.
            and not (key[1] == scope and ROOT.match(key[2])[0] in self._sites[loop].targets)  # type: ignore[index]
        ]
        objects = {identities[key]: key for key in reversed(little) if key in identities}
        if not objects:
            self.candidates.pop(loop, None)
            return
        names = tuple(key[2] for key in objects.values())
        self.candidates[loop] = candidate = LoopCandidate(self._sites[loop], len(objects), names, frozenset(little))
        # A loop that feeds another one by yielding comes first, and the other one is the training loop.
        if candidate.score < self._thresholds.sure_arrays or candidate.site.generator:
            return
        calm = {
            identities[key]
            for key in little
            if changes.common[key] <= self._thresholds.calm_change
            and key in identities
            # A state is another array at each step, and may settle as a sample is drawn.
            and activation.identities.get(key) == identities[key]
        }
        is_nested = any(one is not activation for one in self._active.values())
        if not is_nested or (len(calm) >= self._thresholds.sure_arrays and changes.executions > 1):
            raise SearchEnded
        if len(calm) >= self._thresholds.sure_arrays:
            now, outermost = time.process_time(), next(iter(self._active.values()))
            wait = self._thresholds.waited_share * (now - outermost.begun)
            self._until_busy = min(self._until_busy, now + max(self._thresholds.second_execution_seconds, wait))
            return
        self._until = min(self._until, time.monotonic() + self._thresholds.nested_loop_seconds)
