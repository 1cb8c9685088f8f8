"""Meetings: the points of a run at which all ranks exchange a few numbers, so that they decide the same."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.errors import RankError
from rnncallbacks.parallel.communicator import Communicator

NUMBERS = (
    "place",
    "place_squared",
    "digest",
    "digest_squared",
    "evaluates",
    "news",
    "skipped",
    "stopped",
    "weight",
    "loss",
    "sequences",
    "tokens",
    "carries",
)
"""The numbers that each rank brings to a meeting. The meeting returns their sums over all ranks."""
_INDEX = {name: index for index, name in enumerate(NUMBERS)}
_BITS = 0xFFFFF
"""Places and digests have 20 bits: the sums of their squares are exact in float64 for up to 8,000 ranks."""


class Meetings:
    """The meetings of one run.

    The ranks execute the same loop and meet at the same places. If one left its loop earlier than the others, or
    skipped a call, the sums show it to all ranks.

    Parameters
    ----------
    communicator:
        The ranks.
    """

    def __init__(self, communicator: Communicator) -> None:
        self.communicator = communicator
        self._ranks = communicator.ranks
        self._sums = np.zeros(len(NUMBERS))

    def meet(self, place: str, digest: bytes = b"", **numbers: float) -> dict[str, float]:
        """The sums of ``numbers`` over all ranks.

        ``together`` is 1 if all ranks are at this place, and ``agree`` is 1 if all brought the same digest.
        """
        sums = self._sums
        sums[:] = 0.0
        code, content = crc32(place.encode()) & _BITS, crc32(digest) & _BITS
        sums[:4] = code, code * code, content, content * content
        for name, number in numbers.items():
            sums[_INDEX[name]] = number
        self.communicator.sum(sums)
        found = dict(zip(NUMBERS, sums.tolist(), strict=True))
        found["together"] = float(self._are_equal(found["place"], found["place_squared"]))
        found["agree"] = float(self._are_equal(found["digest"], found["digest_squared"]))
        return found

    def refuse(self, place: str) -> RankError:
        """The error for ranks that are not together. All ranks must call this."""
        places = self.communicator.gather_objects(place)
        listed = "; ".join(f"rank {rank} {where}" for rank, where in enumerate(places))
        return RankError(
            f"the ranks are not at the same place of the loop: {listed}",
            hint="give all ranks the same batches, or with shard=False the same number of batches; decide in the loop "
            "by values that are the same on all ranks, such as run.history",
            is_reported=self.communicator.rank != 0,
        )

    def _are_equal(self, total: float, squares: float) -> bool:
        """Whether all ranks brought the same number: the case of equality in the Cauchy-Schwarz inequality."""
        return total * total == self._ranks * squares


def sampled(arrays: Any) -> bytes:
    """About 16 entries of each array, as bytes. They differ after almost any update of the arrays."""
    return b"".join(_entries(array).tobytes() for array in arrays)


def _entries(array: Array) -> Array:
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat  # no copy of the array
    return np.asarray(flat[:: max(1, array.size // 16)])
