"""Saturated units: how many tanh units are near 1 or -1, and whether that goes on for long enough to be a fault."""

from __future__ import annotations

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.core.plugin_state import state_field

SATURATED = 0.99
"""A tanh unit beyond it passes on less than 2 % of its gradient."""

FAULTY_SHARE = 0.5
"""Healthy networks have up to 5 % of their units beyond, those with weights too large 96 %."""

SAMPLE, STEPS = 2048, 8
"""About so many entries of the hidden states are looked at, of so many time steps."""

DOING_WELL = 0.7
"""A network whose loss is below this share of that of an even guess puts its saturated units to use."""


def saturated_share(hidden_states: list[Array] | Array) -> float | None:
    """The share of tanh units beyond 0.99 in size, after the first time step; None if the states are not of tanh.

    Those of tanh lie between -1 and 1, some of them below 0. Looks at a few thousand entries of a few time steps.

    Example
    -------
    >>> saturated_share(np.array([[[0.0, 0.0]], [[-1.0, 0.5]], [[1.0, -0.999]]]))
    0.75
    """
    count = len(hidden_states) - 1
    # From the last step backwards, so that there is always one.
    parts = [hidden_states[step].reshape(-1) for step in range(count, 0, -max(1, count // STEPS))]
    stride = max(1, sum(part.size for part in parts) // SAMPLE)
    sample = np.concatenate([part[::stride] for part in parts])
    least, largest = sample.min(), sample.max()
    if not -1.0 <= least < 0.0 or not largest <= 1.0:  # NaN is neither
        return None
    return float(np.count_nonzero(np.abs(sample) > SATURATED)) / sample.size


@attrs.define(eq=False)
class SaturationWindow:
    """Collects the shares of some batches, and then says whether they are too many.

    ``length`` is the number of batches. ``first_share`` and ``first_loss`` are those with which training began,
    ``loss`` is the mean loss of the last window, and ``full`` says whether there was one.

    Example
    -------
    >>> window = SaturationWindow(length=2)
    >>> window.add(0.96, loss=3.6), window.add(0.98, loss=3.5)
    (None, 0.97)
    >>> window.is_fault(uninformed=3.3)
    True
    """

    length: int
    first_share: float | None = state_field(None)
    first_loss: float = state_field(0.0)
    shares: list[float] = state_field(factory=list)
    losses: list[float] = state_field(factory=list)
    loss: float = state_field(0.0)
    full: bool = state_field(False)

    def add(self, share: float, loss: float) -> float | None:
        """Take a batch in; the mean share if that fills the window and most batches have too many, else None."""
        if self.first_share is None:
            self.first_share, self.first_loss = share, loss
        self.shares.append(share)
        self.losses.append(loss)
        if len(self.shares) < self.length:
            return None
        shares, self.loss = self.shares, sum(self.losses) / self.length
        self.shares, self.losses = [], []
        self.full = True
        faulty = sum(one >= FAULTY_SHARE for one in shares)
        return sum(shares) / self.length if faulty >= 0.8 * self.length else None

    def is_fault(self, uninformed: float | None) -> bool:
        """Whether the units saturate from the first, and the network does not do well all the same.

        Units that saturate in training follow from something else, or from nothing bad: networks that learn with big
        steps have been seen with 80 % of them. ``uninformed`` is the loss of an even guess, if it is known.
        """
        even_guess = self.first_loss if uninformed is None else uninformed
        return (self.first_share or 0.0) >= FAULTY_SHARE and self.loss >= DOING_WELL * even_guess
