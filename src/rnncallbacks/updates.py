"""What an update did to the parameters. Pure functions: guards decide what it means."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.pairing import parameters_of

FOLLOWS = 0.95
"""Above this cosine, an update is a multiple of the gradient. The first ones of Adam, Adagrad and RMSprop hold its signs
only, and stay below 0.9."""


def follows_gradient(before: Mapping[str, Array], after: Mapping[str, Array], gradients: Mapping[str, Array]) -> float:
    r"""Whether an update follows the gradient's scale: the cosine between what it took off and the gradients.

    .. math:: \cos(\theta_{before} - \theta_{after},\, g)

    1 for gradient descent, with momentum too at the first update. Parameters are found by the gradients' names. NaN if
    no parameter changed, or none has a gradient.

    Example
    -------
    >>> before, gradients = {"w": np.array([1.0, 1.0])}, {"w": np.array([3.0, 0.1])}
    >>> round(follows_gradient(before, {"w": before["w"] - 0.1 * gradients["w"]}, gradients), 3)
    1.0
    >>> round(follows_gradient(before, {"w": before["w"] - 0.1 * np.sign(gradients["w"])}, gradients), 3)
    0.73
    """
    product = taken = given = 0.0
    starts, ends = parameters_of(gradients, before), parameters_of(gradients, after)
    for name in starts.keys() & ends.keys():
        gradient = gradients[name].astype(np.float64).ravel()
        step = np.subtract(starts[name], ends[name], dtype=np.float64).ravel()
        product += float(step @ gradient)
        taken += float(step @ step)
        given += float(gradient @ gradient)
    scale = math.sqrt(taken) * math.sqrt(given)
    return product / scale if scale > 0.0 else math.nan
