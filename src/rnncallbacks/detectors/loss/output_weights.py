"""The size of the output layer's weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnncallbacks.arrays import Array


def output_weight_scale(params: Mapping[str, Array], classes: int) -> float:
    r"""The root mean square of the output weights times the square root of their number of inputs.

    .. math:: \sqrt{H \cdot \operatorname{mean}(W^2)}

    It is the standard deviation of a logit if all H inputs are 1 or -1. A uniform distribution on
    :math:`\pm 1 / \sqrt{H}` has :math:`1 / \sqrt 3`, about 0.6. The output layer is a matrix with ``classes`` rows or
    columns; of several, the largest scale counts. 0 if there is none.

    Example
    -------
    >>> output_weight_scale({"head": np.full((36, 64), 0.5)}, classes=36)
    4.0
    """
    scales = [0.0]
    for array in params.values():
        if array.ndim == 2 and classes in array.shape and min(array.shape) > 1:
            inputs = array.shape[1] if array.shape[0] == classes else array.shape[0]
            scales.append(float(np.sqrt(inputs * np.mean(np.square(array, dtype=np.float64)))))
    return max(scales)
