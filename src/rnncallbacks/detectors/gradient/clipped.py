"""Recognizes gradients that were clipped before they reached the run.

A script may clip gradients before it calls ``run.backward``. Clipped gradients no longer equal the gradient of the loss
although the backward pass is correct, so the gradient check excludes the clipped entries.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import global_norm


@attrs.frozen(kw_only=True)
class ClippingThresholds:
    """Thresholds of a clipped norm or entry."""

    relative_tolerance: float = 1e-5
    """Relative distance between a norm and the bound to which it was clipped. Covers the rounding of float32 and the
    1e-6 that PyTorch's ``clip_grad_norm_`` adds to the norm."""
    digits_of_norm: int = 2
    """Significant digits of a bound of the norm, such as 0.25 or 5.0: bounds are usually round. Of 2000 unclipped
    gradients at most 8 have such a norm by chance (``tests/detectors/gradient/test_clipped.py``)."""
    digits_of_value: int = 3
    """Significant digits of a bound of the entries, for a single largest entry."""
    entries_at_bound: int = 3
    """Entries of one array with the same largest magnitude, from which the bound may have any number of digits. Chosen
    by eye: in floating point two independent entries are rarely equal."""


CLIPPING = ClippingThresholds()


@attrs.frozen(kw_only=True)
class ClippingBounds:
    """The bounds at which gradients were clipped.

    Attributes
    ----------
    norm:
        The bound of the global norm; None if the norm was not clipped.
    value:
        The bound of the entries; None if no entry was clipped.
    entries:
        For each array with entries at ``value``: a mask of its shape that is True at these entries.
    arrays:
        The names of the arrays whose own norm was clipped.
    """

    norm: float | None = None
    value: float | None = None
    entries: Mapping[str, Array] = attrs.field(factory=dict)
    arrays: tuple[str, ...] = ()


def find_clipping(gradients: Mapping[str, Array]) -> ClippingBounds:
    """The norms and entries that equal a round number, which may be a bound.

    A global norm of two significant digits counts as clipped. So do entries that share the largest magnitude, if it has
    three significant digits or if three entries of one array have it; and arrays that share the largest norm.

    Example
    -------
    >>> bounds = find_clipping({"w": np.array([0.3, -5.0, 2.0]), "b": np.array([0.1])})
    >>> bounds.value, bounds.entries["w"], bounds.norm
    (5.0, array([False,  True, False]), None)
    """
    norms = {name: global_norm([array]) for name, array in gradients.items()}
    norm = global_norm([np.array(list(norms.values()))])
    largest_norm = max(norms.values(), default=0.0)
    at_bound = len(norms) > 1 and _is_round(largest_norm)
    arrays = tuple(
        name for name, own in norms.items() if at_bound and own >= (1.0 - CLIPPING.relative_tolerance) * largest_norm
    )
    bound = float(f"{norm:.{CLIPPING.digits_of_norm}g}") if _is_round(norm) else None
    sizes = {name: np.abs(array) for name, array in gradients.items() if array.size}
    maxima = {name: float(size.max()) for name, size in sizes.items()}
    largest = max(maxima.values(), default=0.0)
    masks = {name: size >= largest for name, size in sizes.items() if maxima[name] >= largest}
    shared = any(np.count_nonzero(mask) >= CLIPPING.entries_at_bound for mask in masks.values())
    if largest > 0.0 and (shared or float(f"{largest:.{CLIPPING.digits_of_value}g}") == largest):
        return ClippingBounds(norm=bound, value=largest, entries=masks, arrays=arrays)
    return ClippingBounds(norm=bound, arrays=arrays)


def _is_round(norm: float) -> bool:
    if norm <= 0.0:
        return False
    return abs(float(f"{norm:.{CLIPPING.digits_of_norm}g}") / norm - 1.0) < CLIPPING.relative_tolerance
