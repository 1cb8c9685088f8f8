"""Marks of clipping: a script may clip gradients before it shows them to the run, and they are right all the same."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.gradients import global_norm

NEAR = 1e-5
"""How near, relatively, a norm lies to the bound at which it was clipped; PyTorch adds 1e-6 to a norm before."""


@attrs.frozen
class Marks:
    """What clipping left in gradients.

    ``norm`` is the bound at which their global norm lies, ``value`` the one at which their largest entries lie, None if
    there is none. ``entries`` says by array which entries these are. ``arrays`` names those whose own norm lies at a
    bound that none exceeds.
    """

    norm: float | None
    value: float | None
    entries: Mapping[str, Array]
    arrays: tuple[str, ...]


def clipping_marks(gradients: Mapping[str, Array]) -> Marks:
    """Look for norms and entries that lie just at a number that somebody may have chosen as a bound.

    A norm of two digits is one, and so is a largest entry of three digits; or a largest entry that three of one array
    share.

    Example
    -------
    >>> marks = clipping_marks({"w": np.array([0.3, -5.0, 2.0]), "b": np.array([0.1])})
    >>> marks.value, marks.entries["w"], marks.norm
    (5.0, array([False,  True, False]), None)
    """
    norms = {name: global_norm([array]) for name, array in gradients.items()}
    norm = global_norm([np.array(list(norms.values()))])
    highest = max(norms.values(), default=0.0)
    at_bound = len(norms) > 1 and _is_short(highest, digits=2)
    arrays = tuple(name for name, own in norms.items() if at_bound and own >= (1.0 - NEAR) * highest)
    bound = _bound(norm)
    largest = max((float(np.abs(array).max()) for array in gradients.values() if array.size), default=0.0)
    entries = {name: np.abs(array) >= largest for name, array in gradients.items()}
    crowded = any(np.count_nonzero(mask) > 2 for mask in entries.values())
    if largest > 0.0 and (crowded or float(f"{largest:.3g}") == largest):
        return Marks(bound, largest, {name: mask for name, mask in entries.items() if mask.any()}, arrays)
    return Marks(bound, None, {}, arrays)


def _bound(norm: float) -> float | None:
    return float(f"{norm:.2g}") if _is_short(norm, digits=2) else None


def _is_short(number: float, digits: int) -> bool:
    return number > 0.0 and abs(float(f"{number:.{digits}g}") / number - 1.0) < NEAR
