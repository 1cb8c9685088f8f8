"""Calls functions of the script for guards, and undoes their side effects."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import numpy as np

from rnncallbacks.arrays.containers import map_arrays
from rnncallbacks.core.arguments import as_loss
from rnncallbacks.core.closure import ClosureError, evaluate_closure
from rnncallbacks.core.object_copies import CannotRestoreError
from rnncallbacks.core.reachable import Reachable

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch

logger = logging.getLogger("rnncallbacks")

Roots = Callable[[], Iterable[object]]
Result = TypeVar("Result")


@attrs.frozen(kw_only=True)
class ClosureThresholds:
    """Thresholds of a repeatable closure."""

    repeat_tolerance: float = 1e-6
    """Largest relative difference of two losses at the same parameters: the rounding of float32, whose sums depend on
    where an array lies in memory. Chosen by eye."""


CLOSURE = ClosureThresholds()


@attrs.frozen
class PureFunction:
    """A function that is known to have no side effects and to be repeatable: it is called directly.

    Example
    -------
    >>> PureFunction(lambda: 0.5)()
    0.5
    """

    function: Callable[[], Any]

    def __call__(self) -> Any:
        return self.function()


class ScriptFunction:
    """A function of a script whose side effects are undone after each call.

    Parameters
    ----------
    function:
        A function without arguments.
    roots:
        Returns objects to restore in addition to those that the function reaches, such as parameters and gradients.

    Example
    -------
    >>> calls = []
    >>> counted = ScriptFunction(lambda: calls.append(1) or len(calls), lambda: [calls])
    >>> counted.call(int), counted.call(int), calls
    (1, 1, [])
    """

    def __init__(self, function: Callable[[], Any], roots: Roots) -> None:
        self.pure = isinstance(function, PureFunction)
        self._function = function
        self._roots = roots
        self._reachable: Reachable | None = None

    def call(self, convert: Callable[[Any], Result]) -> Result:
        """Call the function, and return its result as converted by ``convert`` before anything is restored.

        Raises
        ------
        CannotRestoreError
            The function reaches too much to be copied, and was not called; or it changed what cannot be restored.
        Exception
            Any exception of the function or of ``convert``.
        """
        if self.pure:
            return convert(self._function())
        reachable = self._reachable = self._reachable or Reachable()
        reachable.take((self._function, *self._roots()))
        if not reachable.complete:
            limits = reachable.limits
            raise CannotRestoreError(
                f"it reaches more than {limits.objects:,} objects or {limits.array_bytes >> 20} MB of arrays"
            )
        lost: list[str] = []
        try:
            try:
                reachable.rewind()
                with np.errstate(all="ignore"):
                    # Context variables, NumPy's print options among them, are set in a context of its own.
                    result = convert(copy_context().run(self._function))
            finally:
                lost = reachable.restore()
        except Exception as error:
            if lost:
                raise CannotRestoreError(f"it changes {lost[0]}") from error
            raise
        if lost:
            raise CannotRestoreError(f"it changes {lost[0]}")
        return result

    def release(self) -> None:
        """Drop the copies and the references to what the function reaches."""
        self._reachable = None


@attrs.define(eq=False)
class ClosureTrust:
    """Which of the functions that a script passes to guards may be called.

    Attributes
    ----------
    repeatable:
        Whether a closure gave the same loss twice.
    rejected:
        Why closures are no longer called; empty while they are.
    unusable:
        The names of observed values whose functions are no longer called.
    """

    repeatable: bool = False
    rejected: str = ""
    unusable: set[str] = attrs.field(factory=set)
    _told: set[str] = attrs.field(factory=set)

    def give_closure(self, batch: Batch, function: Callable[[], Any], roots: Roots) -> None:
        """Set ``batch.closure``, unless the closures of this run were rejected."""
        if self.rejected:
            batch.no_closure = self.rejected
        else:
            batch.closure = ScriptClosure(function, batch, roots, self)

    def observable(self, values: dict[str, Any], roots: Roots) -> dict[str, Any]:
        """Values for ``batch.observed``: functions are wrapped, so that a guard can call them without effects."""
        return {
            name: ObservedFunction(name, value, roots, self) if callable(value) else value
            for name, value in values.items()
        }

    def reject(self, reason: str) -> None:
        """Stop calling closures in this run, and log why."""
        self.rejected = reason
        self.tell(f"closure= is not used in this run: {reason}")

    def tell(self, reason: str) -> None:
        """Log a warning, once in a run."""
        if reason not in self._told:
            self._told.add(reason)
            logger.warning("%s", reason)


class ScriptClosure:
    """The closure of one batch as plugins call it: ``batch.closure()`` returns the loss and changes nothing.

    The first call in a run evaluates the script's function twice. It is rejected for the rest of the run if the two
    losses differ, if that call fails, or if any call changes what cannot be restored: ``batch.closure`` becomes None,
    and ``batch.no_closure`` the reason.
    """

    def __init__(self, function: Callable[[], Any], batch: Batch, roots: Roots, trust: ClosureTrust) -> None:
        self._function = ScriptFunction(function, roots)
        # A batch and its closure that held each other would wait for the garbage collector, a batch's arrays with them.
        self._batch = weakref.ref(batch)
        self._trust = trust

    def __call__(self) -> float:
        """The loss at the current parameters.

        Raises
        ------
        ClosureError
            The function failed, or was rejected.
        """
        trust = self._trust
        if trust.rejected:
            raise ClosureError(trust.rejected)
        loss = self._evaluate()
        if not trust.repeatable and not self._function.pure:
            again = self._evaluate()
            if not _same_loss(loss, again):
                raise self._reject(
                    f"the closure gives another loss at each call, {loss:.6g} and {again:.6g} at the same parameters: "
                    "let it use the batch's own dropout mask"
                )
            trust.repeatable = True
        return loss

    def release(self) -> None:
        """Drop the references to what the closure reaches."""
        self._function.release()

    def _evaluate(self) -> float:
        try:
            return evaluate_closure(lambda: self._function.call(lambda loss: as_loss(loss, "closure")))
        except ClosureError as error:
            if isinstance(error.__cause__, CannotRestoreError):
                raise self._reject(
                    f"the changes of the closure cannot be undone, {error.__cause__}: pass a function that reads the "
                    "parameters and the batch, and works on copies of the rest"
                ) from error
            if not self._trust.repeatable:
                raise self._reject(str(error)) from error
            self._trust.tell(str(error))
            raise

    def _reject(self, reason: str) -> ClosureError:
        self._trust.reject(reason)
        batch = self._batch()
        if batch is not None:
            batch.closure, batch.no_closure = None, reason
        return ClosureError(reason)


class ObservedFunction:
    """A function that a script passed to ``run.observe``: its side effects are undone, and its result is copied."""

    def __init__(self, name: str, function: Callable[[], Any], roots: Roots, trust: ClosureTrust) -> None:
        self._name = name
        self._function = ScriptFunction(function, roots)
        self._trust = trust

    def __call__(self) -> Any:
        """The value; None if the function once changed what cannot be restored.

        Raises
        ------
        Exception
            As in :meth:`ScriptFunction.call`.
        """
        if self._name in self._trust.unusable:
            return None
        try:
            return self._function.call(lambda value: map_arrays(np.ndarray.copy, value))
        except CannotRestoreError:
            self._trust.unusable.add(self._name)
            raise


def _same_loss(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=CLOSURE.repeat_tolerance)
