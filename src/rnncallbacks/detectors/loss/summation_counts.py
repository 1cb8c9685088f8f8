"""The counts that a loss may be summed over: time steps, sequences, positions, tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rnncallbacks.detectors.sequences import mask_of, sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


def summation_counts(batch: Batch) -> dict[str, float]:
    """The numbers of terms that a loss of the batch may be a sum over, by name; counts of 1 are left out.

    With T time steps and B sequences these are T, B and T · B, and where some positions do not count, the tokens that
    do: in total, per sequence and per time step. If it is unknown which axis is time, the axes are named by their
    number.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> tokens = np.zeros((20, 16), dtype=int)
    >>> summation_counts(Batch((tokens, tokens), "train", 1, batch_size=16))
    {'the number of time steps': 20.0, 'the batch size': 16.0, 'the number of positions': 320.0}
    """
    shown = sequences_of(batch)
    steps, size = shown.seq_len, shown.batch_size
    counts: dict[str, float] = {}
    if shown.inputs is not None and (steps is None or size is None):
        lengths = [int(length) for length in shown.inputs.shape[:2]]
        counts = {f"the length of axis {axis} of the inputs": float(length) for axis, length in enumerate(lengths)}
        positions = math.prod(lengths)
    else:
        size = size or batch.batch_size or batch.sequences
        if steps is not None:
            counts["the number of time steps"] = float(steps)
        if size is not None:
            counts["the batch size"] = float(size)
        positions = (steps or 0) * (size or 0)
    if positions:
        counts["the number of positions"] = float(positions)
    mask = mask_of(batch, shown)
    tokens = batch.tokens if mask is None else int(np.count_nonzero(mask))
    if tokens and tokens != positions:
        counts["the tokens that count"] = float(tokens)
        if steps and size:
            counts["the tokens of a sequence"] = tokens / size
            counts["the tokens of a time step"] = tokens / steps
    return {name: count for name, count in counts.items() if count > 1.0}
