"""Measures of one update of the parameters: its size, its direction, and how it changes its batch's loss."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, parameters_of, same_layout, without_views
from rnncallbacks.arrays.gradients import global_norm


@attrs.frozen(kw_only=True)
class UpdateDirectionThresholds:
    """The thresholds of :func:`is_proportional` and :func:`has_one_rate`."""

    proportional_cosine: float = 0.95
    """Smallest cosine between an update and its gradient that counts as proportional. First updates of SGD, also with
    momentum, measured 1; those of Adam, Adagrad and RMSprop, which keep little more than signs, below 0.9."""
    rate_tolerance: float = 1e-6
    """Largest relative difference between the rates of two entries that have one rate: rounding. Chosen by eye."""
    one_rate_share: float = 0.5
    """Share of the entries that have the median rate of their array, above which an update has one rate: most."""


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


def has_one_rate(before: Mapping[str, Array], after: Mapping[str, Array], gradients: Mapping[str, Array]) -> bool:
    """Whether most entries change by one rate times their gradient, within each array.

    Those of clipped SGD do, by value or array by array. Those of adaptive optimizers have a rate for each entry.

    Example
    -------
    >>> before, gradients = {"w": np.zeros(4)}, {"w": np.array([9.0, 0.3, -0.2, 0.1])}
    >>> clipped, signs = {"w": -0.1 * np.clip(gradients["w"], -1, 1)}, {"w": -0.1 * np.sign(gradients["w"])}
    >>> has_one_rate(before, clipped, gradients), has_one_rate(before, signs, gradients)
    (True, False)
    """
    entries = same = 0
    starts, ends = parameters_of(gradients, before), parameters_of(gradients, after)
    with np.errstate(all="ignore"):
        for name in starts.keys() & ends.keys():
            gradient = np.asarray(gradients[name], dtype=np.float64).ravel()
            decrease = np.subtract(starts[name], ends[name], dtype=np.float64).ravel()
            used = (gradient != 0.0) & (decrease != 0.0)
            if np.count_nonzero(used) < 2:
                continue
            rates = decrease[used] / gradient[used]
            entries += rates.size
            same += int(np.sum(np.abs(rates / np.median(rates) - 1.0) <= UPDATE_DIRECTION.rate_tolerance))
    return entries > 0 and same > UPDATE_DIRECTION.one_rate_share * entries


def update_ratio(before: Mapping[str, Array], after: Mapping[str, Array]) -> float:
    r"""The relative update, over all arrays together.

    .. math:: \frac{\lVert \theta_{after} - \theta_{before} \rVert}{\lVert \theta_{before} \rVert}

    0 if no parameter changed, infinite if all parameters were zero before the update and some are not afterwards.

    Example
    -------
    >>> update_ratio({"w": np.array([3.0, 4.0])}, {"w": np.array([3.0, 4.5])})
    0.1
    """
    with np.errstate(over="ignore", invalid="ignore"):
        update_norm = global_norm([after[name] - array for name, array in before.items()])
    return norm_ratio(update_norm, global_norm(list(before.values())))


def norm_ratio(numerator: float, denominator: float) -> float:
    """The ratio of two norms: 0 if the first is 0, infinite if only the second is.

    Example
    -------
    >>> norm_ratio(0.0, 0.0), norm_ratio(1.0, 0.0), norm_ratio(1.0, 4.0)
    (0.0, inf, 0.25)
    """
    if numerator == 0.0:
        return 0.0
    return numerator / denominator if denominator else math.inf


def orthogonal_norm(arrays: Collection[Array]) -> float:
    r"""The norm that the arrays would have if each matrix were orthogonal and all other arrays were zero.

    .. math:: \sqrt{\sum_i \min(m_i, n_i)}

    for matrices of shapes :math:`(m_i, n_i)`; vectors, and matrices of one row or column, count as zero. Updates of
    weights that were initialized close to zero are measured relative to this norm: relative to the weights themselves
    they would look large.

    Example
    -------
    >>> orthogonal_norm([np.zeros((4, 9)), np.zeros((5, 5)), np.zeros(5)])
    3.0
    """
    return math.sqrt(sum(min(array.shape) for array in arrays if array.ndim == 2 and min(array.shape) > 1))


def predicted_loss_change(updates: Mapping[str, Array], gradients: Mapping[str, Array]) -> float:
    r"""The first-order prediction of how an update changes its batch's loss: :math:`g \cdot \Delta\theta`.

    ``updates`` holds the parameters after the update minus those before it. They are paired with the gradients by name;
    parameters whose gradient is ambiguous are left out. Negative for an update that lowers the loss.

    Example
    -------
    >>> predicted_loss_change({"w": np.array([-0.5])}, {"w": np.array([4.0])})
    -2.0
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if same_layout(gradients, updates):
            return float(np.vdot(*without_views(gradients), *without_views(updates)))
        paired = parameters_of(gradients, updates)
        return sum(float(np.vdot(gradients[name], update)) for name, update in paired.items())


@attrs.frozen(kw_only=True)
class OvershootLimits:
    """The limits of :func:`overshoot`."""

    largest_rise: float = 3.0
    """Largest rise of one batch's loss that counts, relative to the first loss. Chosen by eye: one diverging update
    should not dominate the mean."""


OVERSHOOT_LIMITS = OvershootLimits()


def overshoot(loss_changes: Sequence[float]) -> tuple[float, float]:
    r"""The share of updates that raised the loss of their own batch, and the mean rise.

    ``loss_changes`` holds the loss of the same batch after an update minus the loss before it, relative to the first
    loss of the run. Returns the share of updates with a positive change, and the mean overshoot

    .. math:: \frac{1}{n} \sum_i \min(\max(c_i, 0), 3)

    over all n updates. A change that is NaN counts as 3. Both are 0 for an empty sequence.

    Source: Schaul, Zhang and LeCun, "No more pesky learning rates" (2013), for the loss of one batch before and after
    an update.

    Example
    -------
    >>> overshoot([-0.5, 0.5, -0.25, 1.5])
    (0.5, 0.5)
    """
    if not len(loss_changes):
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        limit = OVERSHOOT_LIMITS.largest_rise
        rises = np.clip(np.nan_to_num(np.asarray(loss_changes, dtype=np.float64), nan=limit), 0.0, limit)
    return float((rises > 0.0).mean()), float(rises.mean())


@attrs.frozen(kw_only=True)
class DeadUnitThresholds:
    """The thresholds of :func:`dead_unit_share`."""

    relative_gradient: float = 1e-2
    """Norm of a unit's gradient / root mean square of those of all units, at or below which the unit is dead. Chosen by
    eye."""
    smallest_matrix: int = 8
    """Fewest units of a recurrent matrix that is examined. Chosen by eye."""


DEAD_UNITS = DeadUnitThresholds()


def dead_unit_share(gradients: Mapping[str, Array]) -> float | None:
    """The share of recurrent units that pass no gradient on; None if no gradient is that of a recurrent matrix.

    The recurrent matrix is the largest square one, of shape (hidden_size, hidden_size). A unit is dead if its row, or
    its column, of this matrix's gradient has a norm of at most a hundredth of the root mean square over all units. ReLU
    units that are always at zero are dead, and so are tanh units that are always at 1 or -1. Of the shares by row and
    by column, the larger one is returned.

    Example
    -------
    >>> gradient = np.ones((8, 8))
    >>> gradient[:6] = 0.0
    >>> dead_unit_share({"Whh": gradient})
    0.75
    """
    square = [
        array
        for array in gradients.values()
        if array.ndim == 2 and array.shape[0] == array.shape[1] >= DEAD_UNITS.smallest_matrix
    ]
    if not square:
        return None
    squares = np.square(max(square, key=lambda array: array.size), dtype=np.float64)
    limit = DEAD_UNITS.relative_gradient**2
    return max(float((sums <= limit * sums.mean()).mean()) for sums in (squares.sum(axis=0), squares.sum(axis=1)))


def has_initial_biases(arrays: Collection[Array]) -> bool:
    """Whether vectors are among the parameters, each with one value in all entries, as biases are before any training.

    A second value is that of the forget gates. Where no vector has one axis, those are columns or rows: weights of a
    single input or output lie the other way.

    Example
    -------
    >>> has_initial_biases([np.eye(3), np.zeros(3)]), has_initial_biases([np.eye(3), np.array([0.0, 0.1, 0.0])])
    (True, False)
    >>> has_initial_biases([np.array([0.0, 1.0, 0.0, 0.0]).repeat(5)])
    True
    """
    vectors = [array for array in arrays if array.size == max(array.shape or (1,)) > 1]
    flat = [array for array in vectors if array.ndim == 1]
    columns = [array for array in vectors if array.ndim > 1 and array.shape[0] > 1]
    rows = [array for array in vectors if array.ndim > 1 and array.shape[0] == 1]
    ways = (flat,) if flat else (columns, rows)
    return any(way and all(_has_one_value(array) for array in way) for way in ways)


def _has_one_value(bias: Array) -> bool:
    return len(np.unique(bias)) <= (2 if bias.size >= 8 else 1)
