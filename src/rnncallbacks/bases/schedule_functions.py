"""Learning-rate schedules as pure functions from progress to scale.

``t`` is the number of updates (or of epochs, where the schedule runs per epoch) that are already done: 0 for the first
one. The scale multiplies the base learning rate; 1 leaves it as it is. Schedules know nothing of one another, and the
product of two scales is a scale.
"""

from __future__ import annotations

import math
from numbers import Integral

from rnncallbacks.errors import OptionError


def warmup(t: int, *, steps: int, start: float = 0.0) -> float:
    """Rise linearly to 1, so that the first updates are small.

    ``start + (1 - start) * min(1, (t + 1) / steps)``. Counted from ``t + 1``, because a scale of 0 would waste the
    first update.

    Parameters
    ----------
    t:
        Updates or epochs done, 0 or more.
    steps:
        How many updates or epochs the rise takes, 1 or more. The last of them has the full learning rate.
    start:
        Where the line starts, in [0, 1]. The first scale lies one step above it.

    Raises
    ------
    OptionError
        An argument lies outside its range.

    Source
    ------
    Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2, gradual warmup.

    Example
    -------
    >>> [warmup(t, steps=4) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    _check_count("t", t, minimum=0)
    _check_count("steps", steps, minimum=1)
    _check_fraction("start", start)
    return start + (1.0 - start) * min(1.0, (t + 1) / steps)


def step_decay(t: int, *, every: int, factor: float) -> float:
    """Multiply by ``factor`` once in every ``every`` updates or epochs.

    ``factor ** floor(t / every)``.

    Parameters
    ----------
    t:
        Updates or epochs done, 0 or more.
    every:
        How long each stair is, 1 or more.
    factor:
        Height of a stair relative to the one before, in (0, 1].

    Raises
    ------
    OptionError
        An argument lies outside its range.

    Source
    ------
    Szegedy et al. 2015, "Going Deeper with Convolutions", section 6: ``every=8, factor=0.96``, in epochs.

    Example
    -------
    >>> [step_decay(t, every=2, factor=0.5) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    _check_count("t", t, minimum=0)
    _check_count("every", every, minimum=1)
    _check_factor(factor)
    return float(factor ** (t // every))


def exponential_decay(t: int, *, factor: float) -> float:
    """Multiply by ``factor`` after each update or epoch.

    ``factor ** t``.

    Parameters
    ----------
    t:
        Updates or epochs done, 0 or more.
    factor:
        Ratio of one scale to the one before, in (0, 1].

    Raises
    ------
    OptionError
        An argument lies outside its range.

    Source
    ------
    Senior et al. 2013, "An Empirical Study of Learning Rates in Deep Neural Networks for Speech Recognition":
    ``10 ** (-t / r)``, which is ``factor = 10 ** (-1 / r)``.

    Example
    -------
    >>> [exponential_decay(t, factor=0.5) for t in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """
    _check_count("t", t, minimum=0)
    _check_factor(factor)
    return float(factor**t)


def cosine_decay(t: int, *, steps: int, min_scale: float = 0.0) -> float:
    """Fall from 1 to ``min_scale`` along half a cosine wave, and stay there.

    ``min_scale + (1 - min_scale) * (1 + cos(pi * min(t, steps) / steps)) / 2``.

    Parameters
    ----------
    t:
        Updates or epochs done, 0 or more.
    steps:
        How many updates or epochs the fall takes, 1 or more.
    min_scale:
        The scale from ``t = steps`` on, in [0, 1].

    Raises
    ------
    OptionError
        An argument lies outside its range.

    Source
    ------
    Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", equation 5, without restarts.

    Example
    -------
    >>> [round(cosine_decay(t, steps=4), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    _check_count("t", t, minimum=0)
    _check_count("steps", steps, minimum=1)
    _check_fraction("min_scale", min_scale)
    return _cosine(1.0, min_scale, min(t, steps) / steps)


def one_cycle(
    t: int, *, steps: int, pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> float:
    """Rise from ``1 / div_factor`` to 1, then fall to next to nothing, both along half a cosine wave, and stay there.

    With ``low = 1 / div_factor``, ``end = low / final_div_factor``, ``peak = pct_start * steps - 1``,
    ``last = steps - 1`` and ``wave(a, b, x) = b + (a - b) * (1 + cos(pi * x)) / 2``::

        wave(low, 1, t / peak)                      t <= peak
        wave(1, end, (t - peak) / (last - peak))    peak < t <= last
        end                                         t > last

    Names, defaults and numbers are those of ``torch.optim.lr_scheduler.OneCycleLR``, as lr / max_lr: the base learning
    rate is the highest one. A rise shorter than one step is left out.

    Parameters
    ----------
    t:
        Updates or epochs done, 0 or more.
    steps:
        Length of the cycle in updates or epochs, 1 or more.
    pct_start:
        Share of the cycle spent rising, in [0, 1). A share, not a percentage, in spite of the name.
    div_factor:
        The cycle starts at ``1 / div_factor``; 1 or more.
    final_div_factor:
        The cycle ends this many times lower than it started; 1 or more.

    Raises
    ------
    OptionError
        An argument lies outside its range.

    Source
    ------
    Smith and Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates".

    Example
    -------
    >>> [round(one_cycle(t, steps=10), 3) for t in range(12)]
    [0.04, 0.52, 1.0, 0.95, 0.812, 0.611, 0.389, 0.188, 0.05, 0.0, 0.0, 0.0]
    """
    _check_count("t", t, minimum=0)
    _check_count("steps", steps, minimum=1)
    if not 0.0 <= pct_start < 1.0:
        raise OptionError(
            f"pct_start: expected a number in [0, 1), got {pct_start!r}",
            hint="pct_start is the share of the cycle that rises: 0.3 for 30 percent",
        )
    _check_divisor("div_factor", div_factor)
    _check_divisor("final_div_factor", final_div_factor)
    low = 1.0 / div_factor
    peak = pct_start * steps - 1.0
    last = steps - 1
    t = min(t, last)
    if t <= peak and peak > 0.0:
        return _cosine(low, 1.0, t / peak)
    return _cosine(1.0, low / final_div_factor, (t - peak) / (last - peak))


def inverse_sqrt(t: int, *, warmup_steps: int) -> float:
    """Rise linearly to 1, then fall with the square root of the step number.

    ``min((t + 1) / warmup_steps, sqrt(warmup_steps / (t + 1)))``: both are 1 at the last step of the rise.

    Parameters
    ----------
    t:
        Updates or epochs done, 0 or more.
    warmup_steps:
        How many updates or epochs the rise takes, 1 or more.

    Raises
    ------
    OptionError
        An argument lies outside its range.

    Source
    ------
    Vaswani et al. 2017, "Attention Is All You Need", equation 3, divided by its highest value, so that the base
    learning rate is the highest one.

    Example
    -------
    >>> [inverse_sqrt(t, warmup_steps=4) for t in (0, 1, 3, 15, 63)]
    [0.25, 0.5, 1.0, 0.5, 0.25]
    """
    _check_count("t", t, minimum=0)
    _check_count("warmup_steps", warmup_steps, minimum=1)
    return min((t + 1) / warmup_steps, math.sqrt(warmup_steps / (t + 1)))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0


def _check_count(name: str, value: int, *, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        hint = (
            "count the updates or epochs that are done, from 0" if name == "t" else "give a number of updates or epochs"
        )
        raise OptionError(f"{name}: expected a whole number, {minimum} or more, got {value!r}", hint=hint)


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise OptionError(
            f"{name}: expected a number in [0, 1], got {value!r}", hint="give a share of the base learning rate"
        )


def _check_factor(factor: float) -> None:
    if not 0.0 < factor <= 1.0:
        raise OptionError(
            f"factor: expected a number in (0, 1], got {factor!r}", hint="0.5 halves the learning rate at each decay"
        )


def _check_divisor(name: str, value: float) -> None:
    if not 1.0 <= value < math.inf:
        raise OptionError(f"{name}: expected a finite number, 1 or more, got {value!r}", hint="25 starts at 1/25th")
