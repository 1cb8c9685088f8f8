"""The positions of a padded batch that count, from the mask or the lengths that the loader yields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray


def padding_mask(data: Any, targets: Array | None) -> BoolArray | None:
    """True where an integer target counts; None if the data do not show it, or if all targets count.

    The third member of a tuple, or ``mask`` or ``lengths`` of a mapping, is a mask if it has the shape of the targets,
    and ones followed by zeros in each row, on either axis. It is lengths if the longest is the number of time steps,
    and all targets after the lengths are the same.

    Example
    -------
    >>> tokens, targets = np.array([[3, 1, 0], [2, 4, 5]]), np.array([[1, 7, 7], [4, 5, 1]])
    >>> padding_mask((tokens, targets, np.array([1, 3])), targets).tolist()
    [[True, False, False], [True, True, True]]
    """
    if targets is None or targets.ndim != 2 or targets.dtype.kind not in "iu":
        return None
    shown: Any = None
    if isinstance(data, Mapping):
        shown = data.get("mask", data.get("lengths"))
    elif isinstance(data, tuple | list) and len(data) > 2:
        shown = data[2]
    if isinstance(shown, list):
        shown = np.asarray(shown) if all(isinstance(one, int | np.integer) for one in shown) else None
    if not isinstance(shown, np.ndarray) or shown.dtype.kind not in "biuf" or not shown.size:
        return None
    mask = _mask_of_lengths(shown, targets) if shown.ndim == 1 else _as_mask(shown, targets)
    return None if mask is None or mask.all() or not mask.any() else mask


def _as_mask(shown: Array, targets: Array) -> BoolArray | None:
    zeros = shown == 0
    if shown.shape != targets.shape or not (zeros | (shown == 1)).all():
        return None
    ends = any(bool((np.diff(zeros.astype(np.int8), axis=axis) >= 0).all()) for axis in (0, 1))
    return ~zeros if ends else None


def _mask_of_lengths(lengths: Array, targets: Array) -> BoolArray | None:
    if lengths.dtype.kind not in "iu" or targets.shape[0] == targets.shape[1] or lengths.min() < 1:
        return None
    for axis in (0, 1):
        steps = targets.shape[1 - axis]
        if len(lengths) != targets.shape[axis] or lengths.max() != steps:
            continue
        mask = np.arange(steps) < lengths[:, None]
        mask = mask if axis == 0 else mask.T
        padding = targets[~mask]
        return mask if padding.size and (padding == padding[0]).all() else None
    return None
