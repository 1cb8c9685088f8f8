"""Estimates learning rate / good learning rate from the sizes of the first updates."""

from __future__ import annotations

import math
from statistics import fmean

import attrs

from rnncallbacks.detectors.update.metrics import is_proportional
from rnncallbacks.detectors.update.update_record import UpdateRecord


@attrs.frozen(kw_only=True)
class TimesTooHighFit:
    """Coefficients of the estimate of learning rate / good learning rate.

    Fitted to 450 runs at 10, 30 and 100 times a good rate, under five optimizers: two thirds of the estimates of the
    power law are within a factor of 2.2.
    """

    factor: float = 29.0
    exponent: float = 0.24
    """Small, because growing weights and clipped gradients reduce the size of updates."""
    adaptive_update: float = 0.07
    """Mean update ratio of adaptive optimizers at a good rate, whose updates do not grow with the gradient. 39 healthy
    runs measured medians of 0.02 with Adam, 0.10 with RMSprop and 0.12 with Adagrad."""
    largest: float = 100.0
    """The largest multiple in the fitted runs."""


TIMES_TOO_HIGH = TimesTooHighFit()


def times_too_high(record: UpdateRecord) -> float:
    r"""An estimate of learning rate / good learning rate, for a rate that is too high.

    .. math:: \min(29\, \bar r^{\,0.24}, 100)

    with :math:`\bar r` the mean of the first twelve update norms, each divided by the initial norm of the weights. For
    updates that are not proportional to the gradient, :math:`\bar r / 0.07` if that is more. 1 if no update was
    measured.

    Example
    -------
    >>> record = UpdateRecord()
    >>> record.initial_ratios = [0.5, 1.5]
    >>> times_too_high(record)
    29.0
    """
    if not record.initial_ratios:
        return 1.0
    fit, ratio = TIMES_TOO_HIGH, fmean(record.initial_ratios)
    times = fit.factor * math.pow(ratio, fit.exponent)
    if is_proportional(record.gradient_cosine) is False:
        times = max(times, ratio / fit.adaptive_update)
    return min(times, fit.largest)
