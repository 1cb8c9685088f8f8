"""Meetings: the points of a run at which all ranks exchange a few numbers, and decide the same."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

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
"""What a rank brings to a meeting; the meeting returns the sums over all ranks."""
_INDEX = {name: index for index, name in enumerate(NUMBERS)}
_BITS = 0xFFFFF
"""Places and digests have 20 bits: the sums of their squares are exact in float64 for up to 8,000 ranks."""


class Meetings:
    """The meetings of one run.

    The ranks execute the same loop and meet at the same places. Where they do not, since one left its loop earlier than
    the others or skipped a call, the numbers show it, and all ranks know.

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
        """The error for ranks that are not together; all ranks have to call this."""
        places = self.communicator.gather_objects(place)
        listed = "; ".join(f"rank {rank} {where}" for rank, where in enumerate(places))
        return RankError(
            f"the ranks are not at the same place of the loop: {listed}",
            hint="give all ranks the same batches, which data_parallel divides, or as many batches on each; and let "
            "the loop depend on values alone that are the same on all ranks, as run.backward and run.history have them",
            is_told=self.communicator.rank != 0,
        )

    def _are_equal(self, total: float, squares: float) -> bool:
        """Whether all ranks brought the same number: by the Cauchy-Schwarz inequality, only then are these equal."""
        return total * total == self._ranks * squares


def sampled(arrays: Any) -> bytes:
    """Some entries of each array: bytes that differ after almost any change of all entries."""
    return b"".join(array.reshape(-1)[:: max(1, array.size // 16)].tobytes() for array in arrays)
