"""What an update did to the parameters. Pure functions: guards decide what it means."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import median

import attrs
import numpy as np

from rnncallbacks.arrays import Array, parameters_of
from rnncallbacks.gradients import global_norm


@attrs.frozen(kw_only=True)
class UpdateDirectionThresholds:
    """The threshold of :func:`is_proportional`."""

    proportional_cosine: float = 0.95
    """Smallest cosine between an update and its gradient that counts as proportional. First updates of SGD, also with
    momentum, measured 1; those of Adam, Adagrad and RMSprop, which keep little but the signs, below 0.9."""


UPDATE_DIRECTION = UpdateDirectionThresholds()


def update_gradient_cosine(
    before: Mapping[str, Array], after: Mapping[str, Array], gradients: Mapping[str, Array]
) -> float:
    r"""The cosine between the negative update and the gradient, over all arrays together.

    .. math:: \frac{(\theta_{before} - \theta_{after}) \cdot g}
                   {\lVert \theta_{before} - \theta_{after} \rVert \, \lVert g \rVert}

    1 for gradient descent, and for the first update with momentum. Parameters are paired with the gradients by name;
    parameters that did not change are left out, as they may be frozen. NaN if none changed, or if all gradients of
    those that did are zero.

    Example
    -------
    >>> before, gradients = {"w": np.array([1.0, 1.0])}, {"w": np.array([3.0, 0.1])}
    >>> round(update_gradient_cosine(before, {"w": before["w"] - 0.1 * gradients["w"]}, gradients), 3)
    1.0
    >>> round(update_gradient_cosine(before, {"w": before["w"] - 0.1 * np.sign(gradients["w"])}, gradients), 3)
    0.73
    """
    product = squared_update = squared_gradient = 0.0
    starts, ends = parameters_of(gradients, before), parameters_of(gradients, after)
    with np.errstate(all="ignore"):  # parameters of a run that diverged may overflow
        for name in starts.keys() & ends.keys():
            gradient = gradients[name].astype(np.float64).ravel()
            decrease = np.subtract(starts[name], ends[name], dtype=np.float64).ravel()
            if not decrease.any():
                continue
            product += float(decrease @ gradient)
            squared_update += float(decrease @ decrease)
            squared_gradient += float(gradient @ gradient)
    norms = math.sqrt(squared_update) * math.sqrt(squared_gradient)
    return product / norms if norms > 0.0 else math.nan


def is_proportional(cosine: float) -> bool | None:
    """Whether an update is proportional to its gradient, by their cosine; None if the cosine is NaN.

    The updates of plain SGD are, so that a gradient off by a factor makes the update off by that factor. Those of
    adaptive optimizers are not.

    Example
    -------
    >>> is_proportional(0.999), is_proportional(0.8), is_proportional(math.nan)
    (True, False, None)
    """
    return None if math.isnan(cosine) else cosine >= UPDATE_DIRECTION.proportional_cosine


def update_ratio(before: Mapping[str, Array], after: Mapping[str, Array]) -> float:
    r"""The size of an update beside that of what it changed: :math:`\lVert \theta_{after} - \theta_{before} \rVert /
    \lVert \theta_{before} \rVert`, over all arrays together.

    0 if nothing changed, infinite if all parameters were zero and no longer are.

    Example
    -------
    >>> update_ratio({"w": np.array([3.0, 4.0])}, {"w": np.array([3.0, 4.5])})
    0.1
    """
    with np.errstate(over="ignore", invalid="ignore"):
        step = global_norm([after[name] - array for name, array in before.items()])
    return ratio_of(step, global_norm(list(before.values())))


def ratio_of(step: float, size: float) -> float:
    """The ratio of two norms, where both may be 0."""
    if step == 0.0:
        return 0.0
    return step / size if size else math.inf


def usual_norm(arrays: Collection[Array]) -> float:
    r"""The norm of these arrays if each matrix were orthogonal, and all else zero.

    .. math:: \sqrt{\sum \min(m, n)}

    Beside it, an update to weights that began near zero is not larger than it is.

    Example
    -------
    >>> usual_norm([np.zeros((4, 9)), np.zeros((5, 5)), np.zeros(5)])
    3.0
    """
    return math.sqrt(sum(min(array.shape) for array in arrays if array.ndim == 2 and min(array.shape) > 1))


def predicted_change(steps: Mapping[str, Array], gradients: Mapping[str, Array]) -> float:
    r"""By how much an update changes its batch's loss, to first order: :math:`g \cdot \Delta\theta`.

    ``steps`` are the parameters after the update less those before it. They are found by the gradients' names; those
    that are in doubt are left out.

    Example
    -------
    >>> predicted_change({"w": np.array([-0.5])}, {"w": np.array([4.0])})
    -2.0
    """
    found = parameters_of(gradients, steps)
    with np.errstate(over="ignore", invalid="ignore"):
        return sum(float(np.vdot(gradients[name], step)) for name, step in found.items())


def overshoot(changes: Sequence[float]) -> tuple[float, float]:
    r"""How often updates raised the loss of their own batch, and how far, from what each changed it by.

    Changes come as shares of the first loss. The second number is
    :math:`\frac{1}{n} \sum_i \min(\max(c_i, 0), 3)`: a mean over all updates, in which one that blew up counts as 3.
    Zeros for no change at all.

    Example
    -------
    >>> overshoot([-0.5, 0.5, -0.25, 1.5])
    (0.5, 0.5)
    """
    if not len(changes):
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        rises = np.clip(np.nan_to_num(np.asarray(changes, dtype=np.float64), nan=3.0), 0.0, 3.0)
    return float((rises > 0.0).mean()), float(rises.mean())


SILENT = 1e-2
"""A unit's gradient beside the usual one, below which nothing goes through it."""


def silent_units(gradients: Mapping[str, Array]) -> float | None:
    """The share of the recurrent units that pass no gradient on; None if no gradient is that of a recurrent matrix.

    Such a matrix is square, and the largest one counts. A unit is silent if its row, or its column, of the gradient is
    less than a hundredth of the usual one: ReLU units that never open, tanh units that are always at 1 or -1.

    Example
    -------
    >>> gradient = np.ones((8, 8))
    >>> gradient[:6] = 0.0
    >>> silent_units({"Whh": gradient})
    0.75
    """
    square = [one for one in gradients.values() if one.ndim == 2 and one.shape[0] == one.shape[1] >= 8]
    if not square:
        return None
    squares = np.square(max(square, key=lambda one: one.size), dtype=np.float64)
    shares = [float((sums <= SILENT**2 * sums.mean()).mean()) for sums in (squares.sum(axis=0), squares.sum(axis=1))]
    return max(shares)


BLOWN_UP = (6, 3.0)
"""So many losses in a row above so many times the reference are no transient of the first updates, which is over in
about five."""

RISES: tuple[tuple[int, int, float], ...] = ((20, 10, 2.0), (60, 20, 1.25), (80, 20, 1.05))
"""Losses seen, how many of the last are looked at, and how far above the reference their median may lie. Recipes that
work, with a vocabulary of tokens and single sequences, lie at up to 1.6 times the first loss after 40 batches."""

MOST = max(seen for seen, _, _ in RISES)
"""More losses than these are not looked at."""

FALLING = 0.8
"""The later half of the losses beside the earlier one: a run below that is on its way down."""


def risen(losses: Sequence[float], reference: float) -> int:
    """How many of the last losses show that a run left its first loss behind upwards; 0 if none do.

    The first updates of adaptive optimizers may raise the loss to several times the first one, and it falls again
    within about ten batches. Later, no healthy run stays above it. So what is too much depends on how many losses there
    are, and a loss on its way down is waited for.

    Example
    -------
    >>> risen([1.0, 5.0, 2.0, 0.9, 0.8, 0.7, 0.6], 1.0), risen([1.0, 4.0, 5.0, 7.0, 9.0, 8.0, 9.0], 1.0)
    (0, 6)
    """
    count, factor = BLOWN_UP
    recent = losses[-count:]
    if len(losses) > count and min(recent) > factor * reference and not falls(recent):
        return count
    for seen, window, factor in RISES:
        recent = losses[-2 * window :]
        if len(losses) >= seen and median(recent[window:]) > factor * reference and not falls(recent):
            return window
    return 0


def falls(losses: Sequence[float]) -> bool:
    """Whether the later half of the losses lies clearly below the earlier one, by their medians.

    Example
    -------
    >>> falls([4.0, 4.0, 3.0, 3.0]), falls([4.0, 4.0, 3.9, 3.9])
    (True, False)
    """
    half = len(losses) // 2
    return median(losses[half:]) < FALLING * median(losses[:half])


def times_too_high(way: float) -> float:
    r"""About how many times a good rate a rate is that is too high, from the mean size of its first dozen updates.

    .. math:: \min(29\, w^{0.24}, 100)

    with w that mean beside the size of the weights as they began. Fitted to 450 runs at 10, 30 and 100 times a good
    rate, under five optimizers: two thirds of the estimates are right within a factor of 2.2. The exponent is small
    because weights that grow and gradients that are clipped hide how far a rate goes.

    Example
    -------
    >>> round(times_too_high(1.0)), round(times_too_high(10.0))
    (29, 50)
    """
    return min(29.0 * math.pow(way, 0.24), 100.0)


def same_losses(earlier: Sequence[float], later: Sequence[float]) -> bool | None:
    """Whether two rounds over the same data show one and the same network; None if they do not tell.

    A network that rests gives the same losses, in another order if the batches were shuffled, and nearly the same mean
    if they were also put together anew. One that learns does not.

    Example
    -------
    >>> same_losses([1.0, 2.0, 1.5], [2.0, 1.5, 1.0]), same_losses([1.0, 1.1, 1.2], [0.5, 0.6, 0.7])
    (True, False)
    """
    first, second = np.sort(np.asarray(earlier)), np.sort(np.asarray(later))
    if first.shape == second.shape and np.allclose(first, second, rtol=1e-6, atol=1e-12):
        return True
    before, after = float(first.mean()), float(second.mean())
    if math.isclose(before, after, rel_tol=1e-6):
        return True
    error = math.sqrt(float(first.var()) / len(first) + float(second.var()) / len(second))
    if abs(after - before) > max(4.0 * error, 0.01 * abs(before)):
        return False
    return None
