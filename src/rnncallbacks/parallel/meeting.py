"""Meetings: the points of a run at which all ranks exchange a few numbers, so that they decide the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from zlib import crc32

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.errors import RankError
from rnncallbacks.parallel.communicator import Communicator
from rnncallbacks.parallel.gradient_sum import GradientSum

NUMBERS = (
    "place",
    "digest",
    "evaluates",
    "collects",
    "news",
    "skipped",
    "stopped",
    "weight",
    "loss",
    "sequences",
    "tokens",
)
"""The numbers that each rank brings to a meeting. The meeting returns their sums over all ranks."""
_INDEX = {name: index for index, name in enumerate(NUMBERS)}
NOTHING: Mapping[str, float] = MappingProxyType({})
_ZEROS = (0.0,) * (len(NUMBERS) - 2)
NO_NEWS = dict.fromkeys(NUMBERS, 0.0) | {"together": 1.0, "agree": 1.0}
"""The sums of most meetings: all ranks bring the same place and digest, and zeros."""


class Meetings:
    """The meetings of one run.

    The ranks execute the same loop and meet at the same places. If one left its loop earlier than the others, or
    skipped a call, the numbers show it to all ranks.

    MPI requires that all ranks send messages of the same size. Whether a meeting adds up gradients therefore does not
    depend on where a rank is, but on the meetings before, which all ranks had together: after :meth:`expect_gradients`,
    the next meeting does. A rank without gradients brings zeros.

    Parameters
    ----------
    communicator:
        The ranks.

    Attributes
    ----------
    gradients:
        The sum of the gradients.
    """

    def __init__(self, communicator: Communicator) -> None:
        self.communicator = communicator
        self.gradients = GradientSum(communicator, len(NUMBERS))
        self._expects_gradients = False

    def expect_gradients(self) -> None:
        """Have the next meeting add up gradients, once their shapes are known. All ranks must call it."""
        self._expects_gradients = self.gradients.has_layout

    def meet(
        self,
        place: str,
        digest: bytes = b"",
        arrays: Sequence[Array] = (),
        factor: float = 0.0,
        numbers: Mapping[str, float] = NOTHING,
    ) -> dict[str, float]:
        """The sums of ``numbers`` over all ranks.

        ``together`` is 1 if all ranks are at this place, and then the gradients are added up. ``agree`` is 1 if all
        brought the same digest.

        Parameters
        ----------
        place:
            Where this rank is.
        digest:
            What should be the same on all ranks.
        arrays, factor:
            The gradients of this rank, and the factor by which they are multiplied before the sum.
        numbers:
            Some of :data:`NUMBERS`; the others are 0.
        """
        values = [float(crc32(place.encode())), float(crc32(digest)), *_ZEROS]
        for name, number in numbers.items():
            values[_INDEX[name]] = number
        own = np.array(values)
        expected, self._expects_gradients = self._expects_gradients, False
        if expected and (not arrays or self.gradients.fits(arrays)):
            return _sums(self.gradients.exchange(arrays or None, factor, own))
        if expected:
            # The ranks have gradients of other shapes or dtypes than before. If only some have, they are not together.
            own[_INDEX["place"]] += 1.0
            sums = _sums(self.gradients.exchange(None, 0.0, own))
            if not sums["together"]:
                return sums
            own[_INDEX["place"]] -= 1.0
        sums = _sums(self.communicator.gather(own))
        if arrays and sums["together"]:
            self.gradients.take_layout(arrays)
            return _sums(self.gradients.exchange(arrays, factor, own))
        return sums

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


def _sums(numbers: Array) -> dict[str, float]:
    """The sums over the ranks, added in their order, so that they are the same in each kind of meeting.

    If all ranks bring the same place and digest, and zeros, these two are not added up.
    """
    ranks, size = len(numbers), 8 * len(NUMBERS)
    content = numbers.tobytes()
    if content[16:size] == bytes(size - 16) and content == ranks * content[:size]:
        return NO_NEWS
    columns = list(zip(*numbers.tolist(), strict=True))
    places, digests, *_ = columns
    sums: dict[str, float] = dict(zip(NUMBERS, map(sum, columns), strict=True))
    sums["together"] = float(places.count(places[0]) == ranks)
    sums["agree"] = float(digests.count(digests[0]) == ranks)
    return sums


def sampled(arrays: Any) -> bytes:
    """About 16 entries of each array, as bytes. They differ after almost any update of the arrays."""
    return b"".join(_entries(array).tobytes() for array in arrays)


def _entries(array: Array) -> Array:
    flat = array if array.ndim == 1 else array.reshape(-1) if array.flags.c_contiguous else array.flat  # no copy
    entries = np.asarray(flat[:: max(1, array.size // 16)])
    return entries.astype(np.float64) if entries.dtype.char == "g" else entries  # the others have no unused bytes
