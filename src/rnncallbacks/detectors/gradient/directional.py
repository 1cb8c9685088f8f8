r"""What the loss does as parameters move, beside what the gradients say of it.

Along a step :math:`v` of the parameters, right gradients :math:`g` foresee the change:

.. math:: f(\theta + v) - f(\theta - v) \approx 2\, g \cdot v

Many arrays move at once, each so far that it is to change the loss by the same small share of it. How far the loss in
the middle lies from the mean of both ends tells of kinks and curvature: where that is much, nothing can be concluded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from rnncallbacks.arrays import Array, parameters_of
from rnncallbacks.detectors.closure import ClosureError, evaluate_closure, restore_afterwards
from rnncallbacks.gradients import global_norm

SHARE = 1e-4
"""What each array is to change the loss by, as a share of it: a thousand times the rounding of float32."""

LIMIT = 0.01
"""No array moves by more of its own size."""

FLOOR = 0.03
"""A gradient below this share of the largest moves its array as if it were that large, and so does one of zero."""

SIZES = {4: (1.0, 0.3, 0.1, 3.0), 8: (1e-3, 1.0, 0.1)}
"""Sizes of steps by bytes a number, the first one first; the others are tried where it disagrees."""

DIRECTIONS = 2
"""Random directions besides the gradients' own."""

TOLERANCE, RANDOM_TOLERANCE = 0.02, 0.05
"""What right gradients keep within, along themselves and along random signs. Kinks apart, 0.013 and 0.006 were seen."""

BENDS = 3.0
"""So many times the distance of the middle from the mean of both ends is put down to kinks and curvature."""


@attrs.frozen
class Movement:
    """What the loss did as parameters moved there, and to the opposite side.

    ``change`` is the loss there less that on the opposite side, ``predicted`` what the gradients say of it, ``bend``
    twice the distance from the middle to the mean of both. ``decay`` is what a penalty on the squares of the weight
    matrices, and of all parameters, would add to ``change`` if its factor were 1. ``unit`` is what errors are measured
    by.
    """

    change: float
    predicted: float
    bend: float
    decay: tuple[float, float]
    unit: float

    def error(self, ratio: float = 1.0, decay: float = 0.0) -> float:
        """How far off the prediction is, less ``decay`` and times ``ratio``, in units."""
        return (self.change - ratio * (self.predicted - decay)) / self.unit


@attrs.frozen
class Look:
    """One movement along the gradients and some along random signs, all of one size."""

    along: Movement
    random: tuple[Movement, ...]
    noise: float

    @property
    def movements(self) -> tuple[Movement, ...]:
        return (self.along, *self.random)

    @property
    def ratio(self) -> float:
        """What the loss did beside what the gradients say, along them."""
        return self.along.change / self.along.predicted if self.along.predicted else math.nan

    @property
    def bends(self) -> tuple[float, float]:
        """Kinks and curvature in units, along the gradients and at random."""
        return abs(self.along.bend) / self.along.unit, root_mean_square([one.bend / one.unit for one in self.random])

    @property
    def tells(self) -> bool:
        """Whether noise, kinks and curvature leave something to conclude."""
        along, random = self.bends
        return self.noise < 0.1 and along < 0.1 and random < 0.3

    @property
    def confirms(self) -> bool:
        """Whether the gradients foresee what the loss did, so nearly that bends do not matter, or these are small."""
        return self.noise < 0.1 and (self.agrees(bends=0.0) or (self.tells and self.agrees()))

    def agrees(
        self, ratio: float = 1.0, decays: Sequence[float] = (0.0,) * (1 + DIRECTIONS), bends: float = BENDS
    ) -> bool:
        """Whether the gradients, less those of a penalty and times ``ratio``, foresee what the loss did."""
        errors = [one.error(ratio, decay) for one, decay in zip(self.movements, decays, strict=True)]
        along, random = (bends * bend for bend in self.bends)
        small = root_mean_square(errors[1:]) <= RANDOM_TOLERANCE + random
        return small and abs(errors[0]) <= TOLERANCE + along

    def repeats(self, other: Look) -> bool:
        """Whether steps of another size show the same, as they do if the gradients are wrong, but not in noise."""
        errors, others = ([one.error() for one in look.movements] for look in (self, other))
        if abs(errors[0] - others[0]) > TOLERANCE + 0.3 * min(abs(errors[0]), abs(others[0])):
            return False
        differences = root_mean_square([one - another for one, another in zip(errors[1:], others[1:], strict=True)])
        return differences <= RANDOM_TOLERANCE + 0.3 * root_mean_square(errors[1:])


class Slopes:
    """Moves parameters and asks the closure what the loss does.

    Parameters
    ----------
    closure:
        Evaluates the loss.
    params, gradients:
        Arrays by one name each; :func:`movable` finds them.
    loss:
        What the script reported.
    still:
        Entries that are not moved, by array: where a script has clipped its gradient.
    base:
        The closure's loss at the parameters as they are, if it is known.

    Raises
    ------
    ClosureError
        There is nothing to move, or the closure gives another loss than the script.
    """

    def __init__(
        self,
        closure: Callable[[], Any],
        params: Mapping[str, Array],
        gradients: Mapping[str, Array],
        loss: float,
        still: Mapping[str, Array] | None = None,
        base: float | None = None,
    ) -> None:
        if not params:
            raise ClosureError("give parameters and gradients the same names, and arrays that can be written to")
        smallest = min(array.itemsize for array in params.values())
        if smallest < 4:
            raise ClosureError("half precision is too coarse for differences of the loss")
        self.closure, self.params = closure, params
        self.gradients = {name: gradients[name].astype(np.float64) for name in params}
        self.still = still or {}
        self.free = {name: 1.0 - mask for name, mask in self.still.items() if name in params}
        for name, free in self.free.items():
            self.gradients[name] *= free
        self.sizes = SIZES[4 if smallest == 4 else 8]
        self.epsilon = float(max(np.finfo(array.dtype).eps for array in params.values()))
        self.base = evaluate_closure(closure) if base is None else base
        if not abs(self.base - loss) <= 1e-3 * max(abs(loss), 1e-3):
            again = evaluate_closure(closure)
            raise ClosureError(
                "the closure gives another loss at each call: let it use the batch's own dropout mask"
                if again != self.base and not math.isnan(again)
                else f"the closure gives the loss {self.base:.6g}, and run.backward was given {loss:.6g}"
            )
        self.norms = {name: global_norm([gradient]) for name, gradient in self.gradients.items()}
        self.floor = FLOOR * max(self.norms.values())
        self._seen = False

    def look(self, size: float, scale: float = 1.0) -> Look:
        """Move along the gradients and along random signs. ``scale`` is a guess at how much too small gradients are.

        Raises
        ------
        ClosureError
            The closure does not see the parameters.
        """
        names = list(self.params)
        along = self.along(names, size, scale)
        random = tuple(self.at_random(names, size, scale, seed) for seed in range(DIRECTIONS))
        if not self._seen:
            self._check_sight()
        return Look(along, random, self.noise / min(one.unit for one in (along, *random)))

    @property
    def noise(self) -> float:
        """What rounding may add to a change of the loss."""
        return 4.0 * self.epsilon * abs(self.base)

    def along(self, names: Sequence[str], size: float, scale: float) -> Movement:
        """A movement of some arrays, each along its gradient."""
        steps = {
            name: self.gradients[name] * (size * min(self._length(name, scale), self._limit(name)) / self.norms[name])
            for name in names
            if self.norms[name] > 0.0
        }
        moved = self.move(steps)
        return attrs.evolve(moved, unit=abs(scale * moved.predicted) or 1.0)

    def at_random(self, names: Sequence[str], size: float, scale: float, seed: int) -> Movement:
        """A movement of some arrays, each along random signs."""
        generator = np.random.default_rng(seed)
        steps, squares = {}, 0.0
        for name in names:
            array = self.params[name]
            entry = size * min(self._length(name, scale), self._limit(name) / math.sqrt(array.size))
            signs = np.where(generator.random(array.shape) < 0.5, -entry, entry)
            steps[name] = signs * self.free.get(name, 1.0)
            squares += (2.0 * entry * scale * max(self.norms[name], self.floor)) ** 2
        return self.move(steps, math.sqrt(squares))

    def along_weights(self) -> Movement:
        """A movement of all arrays, each along itself: what a penalty on their squares would change most."""
        return self.move({name: 1e-3 * array * self.free.get(name, 1.0) for name, array in self.params.items()})

    def move(self, steps: Mapping[str, Array], unit: float = 1.0) -> Movement:
        """Evaluate the loss on both sides of the parameters, and put them back."""
        ends: list[dict[str, Array]] = []
        losses = []
        with restore_afterwards(self.params[name] for name in steps):
            start = {name: self.params[name].copy() for name in steps}
            for sign in (1.0, -1.0):
                for name, step in steps.items():
                    self.params[name][...] = start[name] + sign * step
                ends.append({name: self.params[name].astype(np.float64) for name in steps})
                losses.append(evaluate_closure(self.closure))
        # Rounding changes the steps, in single precision noticeably: the arrays themselves say what was done.
        apart = {name: there - ends[1][name] for name, there in ends[0].items()}
        penalties = {name: float(np.vdot(start[name].astype(np.float64), step)) for name, step in apart.items()}
        self._seen = self._seen or losses != [self.base, self.base]
        return Movement(
            change=losses[0] - losses[1],
            predicted=sum(float(np.vdot(self.gradients[name], step)) for name, step in apart.items()),
            bend=losses[0] + losses[1] - 2.0 * self.base,
            decay=(sum(one for name, one in penalties.items() if is_matrix(start[name])), sum(penalties.values())),
            unit=unit,
        )

    def _check_sight(self) -> None:
        self.move({name: np.array(self._limit(name) / math.sqrt(one.size)) for name, one in self.params.items()})
        if not self._seen:
            raise ClosureError(
                "the closure does not see run.params: write run.params = params after an update that makes new arrays"
            )

    def _length(self, name: str, scale: float) -> float:
        return SHARE * max(abs(self.base), 1e-3) / (2.0 * scale * max(self.norms[name], self.floor))

    def _limit(self, name: str) -> float:
        array = self.params[name]
        own = array.size / max(array.shape) if is_matrix(array) else array.size
        return LIMIT * max(global_norm([array]), math.sqrt(own))


def movable(params: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters that can be moved and of which it is known which gradient is theirs, by the gradient's name.

    Left out are arrays that cannot be written to, and those that share memory: nobody can say whether the gradient of
    each is that of its own use or that of all uses.
    """
    pairs = {
        name: array
        for name, array in parameters_of(gradients, params).items()
        if array.flags.writeable and array.dtype.kind == "f" and array.size
    }
    names = list(pairs)
    tied = {
        name
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if np.shares_memory(pairs[one], pairs[other])
        for name in (one, other)
    }
    return {name: array for name, array in pairs.items() if name not in tied}


def is_matrix(array: Array) -> bool:
    """Whether an array is more than a vector; a single column or row is a vector."""
    return len([length for length in array.shape if length > 1]) > 1


def root_mean_square(values: Sequence[float]) -> float:
    """The root of the mean of the squares, 0 of nothing."""
    return math.sqrt(sum(value * value for value in values) / len(values)) if values else 0.0
