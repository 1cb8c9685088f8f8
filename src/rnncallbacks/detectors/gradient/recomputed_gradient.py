"""RNN404 and RNN405 without a closure: gradients compared with those of the recognized network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs
import numpy as np

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.detectors.gradient.clipped import find_clipping
from rnncallbacks.detectors.gradient.gradient_error import GradientError
from rnncallbacks.detectors.reconstruction.cell_forms import BackwardFault


@attrs.frozen(kw_only=True)
class RecomputedGradientThresholds:
    """Tolerances of two computations of a gradient."""

    tolerance: float = 1e-5
    """Norm of the difference of an array's gradients over the norm of the gradient, in double precision. Correct
    gradients of 110 healthy runs differed by 1.4e-13 at most, and by 1e-8 where units saturate; wrong ones by 0.04 and
    more."""
    tolerance_of_float32: float = 1e-3
    """The same in single precision. Chosen by eye."""
    smallest_share: float = 1e-3
    """Norm of an array's gradient over that of all arrays, below which the latter is taken. Chosen by eye."""


RECOMPUTED_GRADIENT = RecomputedGradientThresholds()

ONE_ARRAY = "the backward pass reads the last state at every time step, as if the states were one array"
APPEND_COPIES = "append h.copy() at each step: an update in place changes every entry of the list"

FAULT_WORDS: Mapping[BackwardFault, tuple[str, str]] = MappingProxyType(
    {
        "no recurrence": (
            "no gradient goes back through the recurrent weights",
            "add the gradient that the step after passes back through the recurrent weights: dh += W.T @ dz",
        ),
        "no state": (
            "no gradient goes from a time step to the one before",
            "keep the gradient of the state for the step before, and add it there: dh = dh_next + W_out.T @ dy",
        ),
        "untransposed": (
            "the gradient goes back through the recurrent weights without their transpose",
            "transpose the recurrent weights in the backward pass: dh_next = W.T @ dz",
        ),
        "wraps": (
            "the gradient of the first time step reads the last state as the one before it",
            "keep the entering state where the first step finds it: hs[-1] of a list is its last entry",
        ),
        "aliases": (ONE_ARRAY, APPEND_COPIES),
        "aliases later": (ONE_ARRAY, APPEND_COPIES),
    }
)
"""The effects of mistakes in backward passes, and their remedies."""


def wrong_arrays(computed: Mapping[str, Array], reported: Mapping[str, Array]) -> dict[str, float]:
    """The arrays whose gradients differ, entries that were clipped left out, and the relative sizes of the differences.

    Example
    -------
    >>> gradients = {"w": np.array([1.2345, -0.9876]), "b": np.array([0.4567])}
    >>> wrong_arrays(gradients, gradients), wrong_arrays(gradients, {"w": -gradients["w"], "b": gradients["b"]})
    ({}, {'w': 2.0})
    """
    single = any(array.dtype.itemsize < 8 for array in reported.values())
    tolerance = RECOMPUTED_GRADIENT.tolerance_of_float32 if single else RECOMPUTED_GRADIENT.tolerance
    smallest = RECOMPUTED_GRADIENT.smallest_share * global_norm(list(computed.values()))
    masks: Mapping[str, Array] | None = None
    found = {}
    for name, array in computed.items():
        difference, size = reported[name] - array, max(global_norm([array]), smallest)
        limit = tolerance * size
        # First without the care for squares that underflow, which takes long where there is rounding alone.
        if limit > 1e-100 and float(np.vdot(difference, difference)) <= limit * limit:
            continue
        error = global_norm([difference])
        if error <= limit:
            continue
        masks = find_clipping(reported).entries if masks is None else masks
        if name in masks:
            error = global_norm([(reported[name] - array)[~masks[name]]])
        if not error <= limit:
            found[name] = error / size if size else math.inf
    return found


def shortened(computed: Mapping[str, Array], reported: Mapping[str, Array]) -> dict[str, Array]:
    """Each array at the length of the reported one, where that is shorter: what clipping by norms makes of it.

    Example
    -------
    >>> shortened({"w": np.array([3.0, 4.0]), "b": np.array([1.0])}, {"w": np.array([1.5, 2.0]), "b": np.array([2.0])})
    {'w': array([1.5, 2. ]), 'b': array([1.])}
    """
    return {name: array * min(_factor(array, reported[name]), 1.0) for name, array in computed.items()}


def _factor(computed: Array, reported: Array) -> float:
    size = global_norm([computed])
    return global_norm([reported]) / size if size else 1.0


def truncation_error(computed: Mapping[str, Array], reported: Mapping[str, Array]) -> GradientError:
    """The difference between reported gradients, which are truncated, and computed ones.

    Example
    -------
    >>> right, half = {"w": np.array([3.0, 4.0])}, {"w": np.array([1.5, 2.0])}
    >>> truncation_error(right, half).array_ratio
    2.0
    """
    wrong = wrong_arrays(computed, reported)
    worst = max(wrong, key=lambda name: wrong[name])
    products = {name: float(np.vdot(array, reported[name])) for name, array in computed.items()}
    size, true_size = (global_norm(list(arrays.values())) for arrays in (reported, computed))
    square = max(global_norm([reported[worst]]) ** 2, np.finfo(float).tiny)
    total = sum(products.values())
    return GradientError(
        kind="truncated",
        ratio=total / max(size**2, np.finfo(float).tiny),
        cosine=total / max(size * true_size, np.finfo(float).tiny),
        array=worst,
        array_ratio=products[worst] / square,
    )


def find_backward_fault(
    gradients_with: Callable[[BackwardFault], Mapping[str, Array]], reported: Mapping[str, Array]
) -> Finding | None:
    """RNN404 with the mistake that gives exactly the reported gradients: in the backward pass, or in one array's scale.

    ``gradients_with`` computes the gradients of the network with a mistake, or the right ones without.

    Example
    -------
    >>> right = {"w": np.array([1.2345, -0.9876]), "b": np.array([0.4567])}
    >>> print(find_backward_fault(lambda fault: right, {"w": -right["w"], "b": right["b"]}).message)
    the gradient of 'w' has the wrong sign: computed from the script's own arrays it is the opposite, and the relative
    error of 'w' is 2 (expected 0); right: 'b'
    """
    computed = gradients_with("")
    wrong = wrong_arrays(computed, reported)
    if not wrong or not all(map(math.isfinite, wrong.values())):
        return None
    zeros = [name for name in wrong if not reported[name].any()]
    if zeros == list(wrong):
        return _zero_gradients(zeros, computed)
    for fault, (words, remedy) in FAULT_WORDS.items():
        if not wrong_arrays(gradients_with(fault), reported):
            headline = f"{words}: this mistake in the backward pass gives the reported gradients"
            return _wrong_gradients(headline, wrong, computed, remedy, {"backward_fault": fault})
    if len(wrong) > 1:
        return None
    (name,) = wrong
    array = computed[name]
    square = float(np.vdot(array, array))
    factor = float(np.vdot(reported[name], array)) / square if square else math.nan
    if not (factor < 0.0 or factor > 1.0) or wrong_arrays({name: factor * array}, reported):
        return None  # an array whose norm was clipped has a factor between 0 and 1
    if abs(factor + 1.0) < RECOMPUTED_GRADIENT.tolerance_of_float32:
        headline = (
            f"the gradient of {name!r} has the wrong sign: computed from the script's own arrays it is the opposite"
        )
        return _wrong_gradients(headline, wrong, computed, f"reverse the sign of the gradient of {name!r}", {})
    headline = f"the gradient of {name!r} is {factor:.4g} times the one computed from the script's own arrays"
    remedy = f"divide the gradient of {name!r} by {factor:.4g}"
    return _wrong_gradients(headline, wrong, computed, remedy, {"factor": factor})


def unnamed_fault(computed: Mapping[str, Array], reported: Mapping[str, Array]) -> Finding:
    """RNN404 for gradients that are not those of the network, and not those of a known mistake in it.

    Example
    -------
    >>> right = {"w": np.array([3.0, 4.0]), "b": np.array([1.0])}
    >>> print(unnamed_fault(right, {"w": np.array([3.0, 2.5]), "b": right["b"]}).message)
    the gradient of 'w' is not that of the loss, computed from the script's own arrays, and the relative error of 'w' is
    0.3 (expected 0); right: 'b'
    """
    wrong = wrong_arrays(computed, reported)
    worst = max(wrong, key=lambda name: wrong[name])
    return _wrong_gradients(
        f"the gradient of {worst!r} is not that of the loss, computed from the script's own arrays",
        wrong,
        computed,
        f"compare the gradient of {worst!r} with finite differences; look for a missing transpose or term",
        {},
    )


def _zero_gradients(zeros: list[str], computed: Mapping[str, Array]) -> Finding:
    """RNN404 for arrays whose gradient is zero, by mistake or because they are frozen on purpose."""
    share = global_norm([computed[zeros[0]]]) / global_norm(list(computed.values()))
    more = f"; so is that of {', '.join(map(repr, zeros[1:]))}" if len(zeros) > 1 else ""
    return Finding(
        "RNN404",
        f"the gradient of {zeros[0]!r} is zero, although the loss changes with it: computed from the script's own "
        f"arrays, its norm is {share:.2g} of that of all gradients{more}",
        {"array": zeros[0], "ratio": 0.0, "expected": 1.0, "share_of_norm": share},
        "warning",
        remedy=f"compute the gradient of {zeros[0]!r} in the backward pass, or do not pass it to run.backward",
    )


def _wrong_gradients(
    headline: str,
    wrong: Mapping[str, float],
    computed: Mapping[str, Array],
    remedy: str,
    evidence: Mapping[str, float | int | str],
) -> Finding:
    worst = max(wrong, key=lambda name: wrong[name])
    others = [repr(name) for name in wrong if name != worst]
    right = [repr(name) for name in computed if name not in wrong]
    message = f"{headline}, and the relative error of {worst!r} is {wrong[worst]:.2g} (expected 0)"
    message += f"; wrong as well: {', '.join(others)}" if others else ""
    message += f"; right: {', '.join(right)}" if right else ""
    return Finding(
        "RNN404",
        message,
        {"array": worst, "relative_error": wrong[worst], "expected": 0.0, **evidence},
        remedy=remedy,
    )
