"""Saturated units: how many tanh units are near 1 or -1, and whether that goes on for long enough to be a fault."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.arrays import Array

SATURATED = 0.99
"""A tanh unit beyond it passes on less than 2 % of its gradient."""

FAULTY_SHARE = 0.5
"""Healthy networks have up to 5 % of their units beyond, those with weights too large 96 %."""

SAMPLE = 4096
"""Entries of hidden states that are looked at."""

DOING_WELL = 0.7
"""A network whose loss fell below this share of where it began puts its saturated units to use."""


def saturated_share(hidden_states: list[Array] | Array) -> float | None:
    """The share of tanh units beyond 0.99 in size, after the first time step; None if the states are not of tanh.

    Those of tanh lie between -1 and 1, some of them below 0. Looks at a few thousand entries of a few time steps.

    Example
    -------
    >>> saturated_share(np.array([[[0.0, 0.0]], [[-1.0, 0.5]], [[1.0, -0.999]]]))
    0.75
    """
    count = len(hidden_states) - 1
    chosen = np.unique(np.linspace(1, count, min(count, 8)).astype(int))
    parts = [np.ravel(hidden_states[step]) for step in chosen]
    stride = max(1, sum(part.size for part in parts) // SAMPLE)
    sample = np.concatenate([part[::stride] for part in parts])
    sizes = np.abs(sample)
    if not sample.size or not sizes.max() <= 1.0 or not sample.min() < 0.0:  # nor for NaN
        return None
    return float(np.count_nonzero(sizes > SATURATED)) / sample.size


@attrs.define(eq=False)
class SaturationWindow:
    """Collects the shares of some batches, and then says whether they are too many.

    ``length`` is the number of batches. ``first_loss`` is the loss with which training began, ``loss`` the mean one of
    the last window, and ``full`` says whether there was one.

    Example
    -------
    >>> window = SaturationWindow(length=2)
    >>> window.add(0.96, loss=3.6), window.add(0.98, loss=3.5)
    (None, 0.97)
    >>> window.doing_well(None)
    False
    """

    length: int
    first_loss: float | None = attrs.field(default=None, init=False)
    shares: list[float] = attrs.field(factory=list, init=False)
    losses: list[float] = attrs.field(factory=list, init=False)
    loss: float = attrs.field(default=0.0, init=False)
    full: bool = attrs.field(default=False, init=False)

    def add(self, share: float, loss: float) -> float | None:
        """Take a batch in; the mean share if that fills the window and most batches have too many, else None."""
        if self.first_loss is None:
            self.first_loss = loss
        self.shares.append(share)
        self.losses.append(loss)
        if len(self.shares) < self.length:
            return None
        shares, self.loss = self.shares, sum(self.losses) / self.length
        self.shares, self.losses = [], []
        self.full = True
        faulty = sum(one >= FAULTY_SHARE for one in shares)
        return sum(shares) / self.length if faulty >= 0.8 * self.length else None

    def doing_well(self, uninformed: float | None) -> bool:
        """Whether the loss is far below the first one, and below ``uninformed``, that of an even guess."""
        assert self.first_loss is not None
        began = self.first_loss if uninformed is None else min(self.first_loss, uninformed)
        return self.loss < DOING_WELL * began
