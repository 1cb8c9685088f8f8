r"""Whether the loss falls as the gradients promise: what can be said of a backward pass without a closure.

An update changes the loss by :math:`g \cdot \Delta\theta`, to first order. The gradient of the next batch is taken
where the update led, and that batch had no part in the update: it promises without bias, and no more than the loss
falls where that is convex along the way. A single loss says little, as batches differ, but over many updates the
promises add up, and the differences do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import attrs
import numpy as np

from rnncallbacks.arrays import Array, FlatArrays, lie_alike
from rnncallbacks.core.plugin_state import state_field

LOOKS = (40, 120, 280)
"""Numbers of updates after which promises are compared with the loss."""

SURE = 4.0
"""A sum of promises beside the root of the sum of their squares, from which on it is not made of luck."""

POSSIBLE = 3.0
"""The same at the first look: where no array promises so much, as where steps are too long, later looks are in vain."""

LEAST = 0.15
"""A sum of promises beside the first loss that is worth comparing."""

DEVIATIONS = 3.0
"""So many standard errors above what was measured is what promises may have kept at best."""

KEPT, KEPT_OF_ARRAY = 0.75, 0.2
"""Shares of what all arrays, or one of them, promised, below which they are broken. 270 healthy runs kept 0.98 and
more at best; a single array, 0.77 and more."""

PRECISE = 0.3
"""A standard error of what one array kept, above which nothing is said of it: sums of promises that rise together
cannot be told apart, and curvature then makes one of them look absurd."""

DIVERGED = 1e6
"""Losses and promises of so many times the first loss are those of a run that is lost already."""

DECAYS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Factors of the penalties on weights that are in use."""

LAGS = 5
"""Losses so far apart may still depend on one another."""

ARRAYS = 6
"""Arrays that are told apart, those that promise most; the others are taken together."""


@attrs.frozen
class Verdict:
    """What became of promises.

    ``outcome``: "broken" or "kept" for sure, or "unclear". ``promised`` is by how much the loss was to fall, as a share
    of the first one, and ``kept`` the share of that by which it did, NaN if too little was promised; both for all
    arrays, and for ``array``, the one that kept least at best of those of which that is known ("": of none). ``alike``
    says whether two arrays or more are known to have kept the same share, as where one factor is wrong.
    """

    outcome: Literal["broken", "kept", "unclear"]
    updates: int
    promised: float
    kept: float
    array: str
    array_promised: float
    array_kept: float
    alike: bool


@attrs.define(eq=False)
class Promises:
    """The losses of a run's first batches, and what the updates between them promised.

    Call ``add`` with each batch's loss and raw gradients, before its update, and with the parameters by the gradients'
    names. ``over`` is True when there is nothing more to learn: promises are surely kept, or made of luck; or updates
    are left out now and then (gradients are added up on purpose), or there are none; or the run diverges, or its loss
    begins below 0.
    """

    over: bool = False
    _first: float = state_field(math.nan)
    _losses: list[float] = state_field(factory=list)
    _promised: list[list[float]] = state_field(factory=list)
    _decayed: list[list[float]] = state_field(factory=list)
    _rested: int = state_field(0)
    _before: Mapping[str, Array] = state_field(factory=dict)
    _steps: list[tuple[str, Array]] = state_field(factory=list)

    def add(self, loss: float, gradients: Mapping[str, Array], params: Mapping[str, Array]) -> Verdict | None:
        """Take in a batch; returns what was found, if promises are broken."""
        if self.over:
            return None
        if not params or (not lie_alike(self._before, params) and [*self._before] != [*params]):
            # Parameters that come and go are not followed.
            self.over = bool(self._before) or not params
            self._first, self._before = loss, _copied(params)
            self._steps = list(self._before.items())
            return None
        found, promises, decay = None, *self._measure(gradients, params)
        moved = any(promises)
        if not moved and not self._promised and self._rested < LOOKS[0]:
            self._first = loss  # a warm-up may begin at a learning rate of 0
            self._rested += 1
            return None
        sane = all(abs(number) < DIVERGED * self._first for number in (*promises, loss))
        self.over = not moved or not sane
        if not self.over:
            self._losses.append(loss)
            self._promised.append(promises)
            self._decayed.append(decay)
            found = self._judge()
        if self.over:
            self._before, self._steps = {}, []
        return found

    def _measure(self, gradients: Mapping[str, Array], params: Mapping[str, Array]) -> tuple[list[float], list[float]]:
        """What the last update promised, array by array, and by how much it lowered half of the squared norm."""
        before = self._before
        promises, decay = [], []
        with np.errstate(all="ignore"):  # of a run that diverges
            if isinstance(before, FlatArrays) and isinstance(params, FlatArrays):
                np.subtract(before.flat, params.flat, before.flat)
                for name, step in self._steps:
                    promises.append(float(np.vdot(gradients[name], step)))
                    decay.append(float(np.vdot(params[name], step)))
                np.copyto(before.flat, params.flat)
                return promises, decay
            for name, step in self._steps:
                now = params[name]
                if now.shape != step.shape:
                    return [math.nan], []
                np.subtract(step, now, step)
                promises.append(float(np.vdot(gradients[name], step)))
                decay.append(float(np.vdot(now, step)))
                np.copyto(step, now)
        return promises, decay

    def _judge(self) -> Verdict | None:
        count = len(self._losses)
        if count not in LOOKS:
            return None
        promised = np.array(self._promised)
        if count == LOOKS[0] and not _sure(promised, POSSIBLE).any():
            self.over = True
            return None
        found = judge(list(self._before), self._first, np.array(self._losses), promised, np.array(self._decayed))
        self.over = found.outcome != "unclear" or count == LOOKS[-1]
        return found if found.outcome == "broken" else None


def _copied(params: Mapping[str, Array]) -> Mapping[str, Array]:
    if isinstance(params, FlatArrays):
        copies = params.zeros_like()
        np.copyto(copies.flat, params.flat)
        return copies
    # Whole numbers may become others, and half precision loses small steps.
    return {name: array.astype(np.promote_types(array.dtype, np.float32)) for name, array in params.items()}


def judge(names: list[str], first: float, losses: Array, promised: Array, decayed: Array) -> Verdict:
    r"""Compare losses with what was promised until then: the least squares fit of

    .. math:: \ell_t = a - \sum_p \beta_p S_{tp} + e_t, \qquad S_{tp} = \sum_{s \le t} -g_{sp} \cdot \Delta\theta_{sp}

    where :math:`\beta_p` is the share that array p kept. Its standard error is the larger one of two: of residuals that
    are alike and depend on the one before, and that of Newey and West, of residuals that grow smaller with the loss.

    ``losses`` (updates,) are those behind the updates, ``promised`` (updates, arrays) is what each update promised, and
    ``decayed`` (updates, arrays) by how much it lowered :math:`\lVert\theta_p\rVert^2 / 2`. The gradients may hold a
    penalty on that, weight decay, which is not in the losses: promises are broken only if they are without its part
    too, for every usual factor of a penalty.

    Example
    -------
    >>> promised = np.full((40, 1), 0.02)
    >>> noise = 0.01 * np.random.default_rng(0).standard_normal(40)
    >>> falls = 2.0 - np.arange(40) * 0.02
    >>> judge(["w"], 2.0, falls + noise, promised, 0.0 * promised).outcome
    'kept'
    >>> found = judge(["w"], 2.0, 2.0 - np.arange(40) * 0.006 + noise, promised, 0.0 * promised)
    >>> found.outcome, round(found.promised, 2), round(found.kept, 1)
    ('broken', 0.4, 0.3)

    Source: Newey and West, "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
    covariance matrix", Econometrica 55 (1987).
    """
    found = _compare(names, first, losses, promised)
    if found.outcome != "broken":
        return found
    without = (_compare(names, first, losses, promised - factor * decayed) for factor in DECAYS)
    return found if all(one.outcome == "broken" for one in without) else attrs.evolve(found, outcome="unclear")


def _compare(names: list[str], first: float, losses: Array, promised: Array) -> Verdict:
    labels, single = _told_apart(names, promised)
    kept, covariances = _fit(losses, np.cumsum(single, axis=0))
    sums = single.sum(axis=0)
    total = float(sums.sum())
    errors = np.sqrt(np.maximum(*map(np.diag, covariances)))
    known = _sure(single) & (sums >= LEAST * first) & (errors < PRECISE)
    at_best = np.where(known, kept + DEVIATIONS * errors, np.inf)
    least = int(np.argmin(at_best))
    weights = sums / total if total > 0.0 else np.full(len(sums), math.nan)
    share = float(weights @ kept)
    error = DEVIATIONS * math.sqrt(max(0.0, *(float(weights @ one @ weights) for one in covariances)))
    worth = total >= LEAST * first and _sure(single.sum(axis=1)[:, None]).all()
    broken = (worth and share + error < KEPT) or at_best[least] < KEPT_OF_ARRAY
    surely = total >= LEAST * first and share - error > KEPT
    return Verdict(
        outcome="broken" if broken else "kept" if surely else "unclear",
        updates=len(losses),
        promised=total / first,
        kept=share if worth else math.nan,
        array=labels[least] if known[least] else "",
        array_promised=float(sums[least]) / first,
        array_kept=float(kept[least]),
        alike=bool(known.sum() >= 2 and (np.abs(kept - share)[known] < DEVIATIONS * errors[known]).all()),
    )


def _told_apart(names: list[str], promised: Array) -> tuple[list[str], Array]:
    """The columns of those arrays that promise most, with their names, and the sum of the others as one column."""
    order = np.argsort(-np.abs(promised.sum(axis=0)))
    most, others = order[:ARRAYS], order[ARRAYS:]
    if not len(others):
        return [names[place] for place in most], promised[:, most]
    return [*(names[place] for place in most), ""], np.column_stack(
        [promised[:, most], promised[:, others].sum(axis=1)]
    )


def _fit(losses: Array, sums: Array) -> tuple[Array, tuple[Array, Array]]:
    """The shares that were kept, and their covariance, estimated in two ways."""
    scale = np.abs(sums).max(axis=0)
    scale[scale == 0.0] = 1.0
    design = np.column_stack([-sums / scale, np.ones(len(losses))])
    solution = np.linalg.lstsq(design, losses, rcond=None)[0]
    rest = losses - design @ solution
    inverse = np.linalg.pinv(design.T @ design)
    freedom = max(len(losses) - design.shape[1], 1)
    size = float(rest @ rest)
    dependence = float(rest[1:] @ rest[:-1]) / size if size else 0.0
    dependence = min(max(dependence, 0.0), 0.95)
    even = inverse * (size / freedom * (1.0 + dependence) / (1.0 - dependence))
    scores = design * rest[:, None]
    spread = scores.T @ scores
    for lag in range(1, LAGS + 1):
        shifted = scores[lag:].T @ scores[:-lag]
        spread += (1.0 - lag / (LAGS + 1)) * (shifted + shifted.T)
    uneven = len(losses) / freedom * inverse @ spread @ inverse
    back = np.outer(scale, scale)
    return solution[:-1] / scale, (even[:-1, :-1] / back, uneven[:-1, :-1] / back)


def _sure(promised: Array, least: float = SURE) -> Array:
    """Which columns sum up to more than luck."""
    sure: Array = promised.sum(axis=0) >= least * np.sqrt(np.square(promised).sum(axis=0))
    return sure & promised.any(axis=0)
