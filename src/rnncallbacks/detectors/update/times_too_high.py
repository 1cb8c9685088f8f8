"""Estimates learning rate / good learning rate from the sizes of the first updates."""

from __future__ import annotations

import math
from statistics import fmean

import attrs

from rnncallbacks.detectors.update.update_record import UpdateRecord


@attrs.frozen(kw_only=True)
class TimesTooHighFit:
    """Coefficients of the estimate of learning rate / good learning rate.

    Fitted to 450 runs at 10, 30 and 100 times a good rate, under five optimizers: two thirds of the estimates are
    within a factor of 2.2.
    """

    factor: float = 29.0
    exponent: float = 0.24
    """Small, because growing weights and clipped gradients reduce the size of updates."""
    largest: float = 100.0
    """The largest multiple in the fitted runs."""


TIMES_TOO_HIGH = TimesTooHighFit()


def times_too_high(record: UpdateRecord) -> float:
    r"""An estimate of learning rate / good learning rate, for a rate that is too high.

    .. math:: \min(29\, \bar r^{\,0.24}, 100)

    with :math:`\bar r` the mean of the first twelve update norms, each divided by the initial norm of the weights. 1 if
    no update was measured.

    Example
    -------
    >>> record = UpdateRecord()
    >>> record.initial_ratios = [0.5, 1.5]
    >>> times_too_high(record)
    29.0
    """
    if not record.initial_ratios:
        return 1.0
    fit = TIMES_TOO_HIGH
    return min(fit.factor * math.pow(fmean(record.initial_ratios), fit.exponent), fit.largest)
