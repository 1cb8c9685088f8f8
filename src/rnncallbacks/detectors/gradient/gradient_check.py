r"""Whether reported gradients are those of the loss: central differences along a few directions, all arrays at once.

Along the gradients themselves, the ratio of what the loss does to what they say shows whether length and sign are
right. Along random signs, an error shows that is orthogonal to the reported gradient, and an array whose gradient is
wrongly zero. Seven evaluations do if all is well; only where something is wrong, each array is looked at by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import attrs
import numpy as np

from rnncallbacks.detectors.closure import ClosureError
from rnncallbacks.detectors.gradient.directional import (
    BENDS,
    RANDOM_TOLERANCE,
    TOLERANCE,
    Look,
    Movement,
    Slopes,
    root_mean_square,
)

GROUPS, DIRECTIONS_EACH = 8, 3
"""Arrays, or groups of them where there are more, that are looked at by themselves, along so many random directions."""

WRONG = 0.1
"""The error of an array's gradient beside its size, from which on it counts as wrong."""

NEARLY = 0.25
"""A factor so near to 1 is none: kinks, weight decay or truncation look like that."""

BLURRED = 0.5
"""Kinks may make an error of so much along random signs, which steps of another size mend; no more."""

PART = 0.9
"""Above this cosine, and this ratio in every array, a gradient that lacks something is taken for a truncated one."""


@attrs.frozen(kw_only=True)
class Verdict:
    """What came of a check.

    ``kind``: "right"; "scaled", right but for one factor; "zero", right but for arrays whose gradient is zero; "part",
    what truncated backpropagation leaves of a gradient; "wrong"; "unclear". ``ratio`` is the true slope along the
    reported gradient beside the reported one, ``cosine`` an estimate of that between the two gradients, ``array`` the
    worst array, and ``array_ratio`` its ratio.
    """

    kind: Literal["right", "scaled", "zero", "part", "wrong", "unclear"]
    ratio: float = 1.0
    cosine: float = 1.0
    array: str = ""
    array_ratio: float = 1.0


def examine(slopes: Slopes) -> Verdict:
    """Compare gradients with the loss.

    Raises
    ------
    ClosureError
        The closure fails, or does not see the parameters.

    Example
    -------
    >>> weights = {"w": np.array([1.0, 2.0])}
    >>> loss = lambda: float((weights["w"] ** 2).sum())
    >>> examine(Slopes(loss, weights, {"w": 2.0 * weights["w"]}, loss())).kind
    'right'
    >>> found = examine(Slopes(loss, weights, {"w": weights["w"] / 3.0}, loss()))
    >>> found.kind, round(found.ratio, 3)
    ('scaled', 6.0)
    """
    if slopes.floor == 0.0:
        return Verdict(kind="unclear")
    first = slopes.look(slopes.sizes[0])
    if first.confirms:
        return _locate(slopes, slopes.sizes[0], 1.0) if _is_wrongly_zero(slopes) else Verdict(kind="right")
    if (ratio := _factor(slopes, first)) is not None:
        return Verdict(kind="scaled", ratio=ratio, array_ratio=ratio)
    # Where the loss does much more than foreseen, smaller steps bend less.
    scale = max(abs(first.ratio), 1.0) if math.isfinite(first.ratio) else 1.0
    looks: list[tuple[float, Look]] = []
    for size in slopes.sizes:
        look = first if (size, scale) == (slopes.sizes[0], 1.0) else slopes.look(size, scale)
        if not look.tells:
            continue
        # Where kinks blur a look, it agrees with much: it does not outweigh a sharper one.
        sharp = all(look.bends[1] <= max(2.0 * earlier.bends[1], RANDOM_TOLERANCE) for _, earlier in looks)
        if look.agrees() and sharp:
            return Verdict(kind="right")
        for earlier_size, earlier in looks:
            if earlier.repeats(look):
                return Verdict(kind="right") if _is_penalty(slopes, earlier) else _locate(slopes, earlier_size, scale)
        looks.append((size, look))
    return Verdict(kind="unclear")


def foresees(slopes: Slopes, ratio: float = 1.0) -> bool:
    """Whether the gradients times ``ratio`` foresee what the loss does along themselves: two evaluations."""
    if slopes.floor == 0.0:
        return False
    moved = slopes.along(list(slopes.params), slopes.sizes[0], abs(ratio))
    return abs(moved.error(ratio)) <= TOLERANCE


def _factor(slopes: Slopes, look: Look) -> float | None:
    """The one factor by which all gradients are off, None if there is none."""
    scale = 1.0
    for _ in range(3):
        if not math.isfinite(look.ratio) or look.ratio == 0.0:
            return None
        if 0.5 < abs(look.ratio) / scale < 2.0:
            break
        scale = min(max(abs(look.ratio), 1e-6), 1e6)
        look = slopes.look(slopes.sizes[0], scale)
    for size in slopes.sizes:
        if size != slopes.sizes[0]:
            look = slopes.look(size, scale)
        if abs(look.ratio - 1.0) < NEARLY:
            return None
        if look.tells and look.agrees(look.ratio):
            break
        if root_mean_square([one.error(look.ratio) for one in look.random]) > BLURRED:
            return None
    else:
        return None
    parts = [slopes.along([name], size, scale) for name in slopes.params if slopes.norms[name] > slopes.floor]
    alike = all(abs(one.change / one.predicted / look.ratio - 1.0) < 2.0 * TOLERANCE for one in parts)
    return look.ratio if alike else None


def _is_wrongly_zero(slopes: Slopes) -> bool:
    """Whether the loss changes as arrays move whose gradient is zero: beside the others, that may be little."""
    zeros = [name for name, norm in slopes.norms.items() if norm == 0.0]
    for seed in range(2 if zeros else 0):
        one, other = (slopes.at_random(zeros, share * slopes.sizes[0], 1.0, seed) for share in (1.0, 0.3))
        clear = all(abs(look.change) > 5.0 * slopes.noise + BENDS * abs(look.bend) for look in (one, other))
        if clear and 0.8 < 0.3 * one.change / other.change < 1.25:
            return True
    return False


def _is_penalty(slopes: Slopes, look: Look) -> bool:
    """Whether the difference is weight decay, which scripts add to gradients and leave out of the loss."""
    movement = slopes.along_weights()
    for kind in (0, 1):  # of the matrices alone, then of all parameters
        if movement.decay[kind] > 0.0:
            factor = (movement.predicted - movement.change) / movement.decay[kind]
            if look.agrees(decays=[factor * one.decay[kind] for one in look.movements]):
                return True
    return False


@attrs.frozen
class _Part:
    """One array, or a group: the norm of its gradient, the ratio along it, and the norm of the error."""

    names: tuple[str, ...]
    norm: float
    ratio: float
    error: float
    blind: bool

    @property
    def true_norm(self) -> float:
        return math.sqrt(max(self.norm**2 * (2.0 * self.ratio - 1.0) + self.error**2, 0.0))

    @property
    def badness(self) -> float:
        return self.error / max(self.norm, self.true_norm, 1e-300)


def _locate(slopes: Slopes, size: float, scale: float) -> Verdict:
    """Look at each array by itself, and say in what way gradients are not right."""
    parts = [_part(slopes, names, size, scale) for names in _groups(list(slopes.params))]
    worst = max(parts, key=lambda part: part.badness)
    if len(worst.names) > 1:
        worst = max((_part(slopes, (name,), size, scale) for name in worst.names), key=lambda part: part.badness)
    if worst.blind:
        raise ClosureError(f"the closure does not see the parameter {worst.names[0]!r}")
    square = sum(part.norm**2 for part in parts)
    true_square = sum(part.true_norm**2 for part in parts)
    along = sum(part.ratio * part.norm**2 for part in parts)
    cosine = min(max(along / math.sqrt(square * true_square), -1.0), 1.0) if true_square else 0.0
    bad = [part for part in parts if part.badness > WRONG]
    kind: Literal["zero", "part", "wrong"] = "wrong"
    if bad and all(part.norm == 0.0 for part in bad):
        kind = "zero"
    elif cosine > PART and all(part.norm > 0.0 and PART < part.ratio < 2.0 for part in (worst, *parts)):
        kind = "part"
    return Verdict(kind=kind, ratio=along / square, cosine=cosine, array=worst.names[0], array_ratio=worst.ratio)


def _part(slopes: Slopes, names: tuple[str, ...], size: float, scale: float) -> _Part:
    norm = math.sqrt(sum(slopes.norms[name] ** 2 for name in names))
    along = slopes.along(names, size, scale) if norm else Movement(0.0, 0.0, 0.0, (0.0, 0.0), 1.0)
    random = [slopes.at_random(names, size, scale, seed) for seed in range(DIRECTIONS_EACH)]
    ratio = along.change / along.predicted if along.predicted else 1.0
    # Along random signs, the square of what is found is on average the squared norm of the error.
    error = root_mean_square([one.error() for one in random]) * scale * max(norm, slopes.floor)
    if error < 3.0 * slopes.noise * scale * max(norm, slopes.floor) / min(one.unit for one in random):
        error = 0.0
    blind = norm > 0.0 and all(one.change == 0.0 == one.bend for one in (along, *random))
    return _Part(names, norm, ratio, max(error, abs(ratio - 1.0) * norm), blind)


def _groups(names: list[str]) -> Iterator[tuple[str, ...]]:
    for places in np.array_split(np.arange(len(names)), min(GROUPS, len(names))):
        yield tuple(names[place] for place in places)
