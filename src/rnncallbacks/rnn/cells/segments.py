"""The segments of a sequence that the backward pass works on one at a time."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

# Array elements, read and written, that stay in the second-level cache of a processor: 512 KiB in float32. With half as
# many, an LSTM step with 64 units took 5 % longer; with twice as many, small networks hold too much memory.
_CACHE_ELEMENTS = 2**17

# Elements of the states' gradient in one segment. With fewer, another segment costs more calls than it saves memory:
# 384 KiB in float32. The exact number is chosen by eye.
_MIN_SEGMENT_ELEMENTS = 3 * 2**15


@attrs.frozen
class Segment:
    """The steps from ``begin`` to ``end`` (excluded) of ``seq_len``.

    The backward pass takes the segments from the last to the first, so that gradients with respect to states are held
    for one segment only. Gradients of parameters are sums over the segments.
    """

    begin: int
    end: int
    seq_len: int

    @classmethod
    def whole(cls, seq_len: int) -> Segment:
        """All steps."""
        return cls(0, seq_len, seq_len)

    @property
    def is_first(self) -> bool:
        """Whether the backward pass begins with it, so that it writes sums instead of adding to them."""
        return self.end == self.seq_len

    @property
    def steps(self) -> slice:
        return slice(self.begin, self.end)


def segments(seq_len: int, step_elements: int, matrix_elements: int, max_count: int) -> Iterator[Segment]:
    """At most ``max_count`` segments of nearly equal length, the last first.

    Fewer if the states of a step have few elements, or if the recurrent matrix has more than a segment: each segment
    makes a gradient of that matrix, which is then added to the sum.

    Example
    -------
    >>> [(segment.begin, segment.end) for segment in segments(10, 2**15, 2**10, max_count=3)]
    [(6, 10), (3, 6), (0, 3)]
    """
    count = min(max_count, seq_len, -(-seq_len * step_elements // max(_MIN_SEGMENT_ELEMENTS, matrix_elements)))
    for number in range(count, 0, -1):
        yield Segment(seq_len * (number - 1) // count, seq_len * number // count, seq_len)


def cache_blocks(segment: Segment, step_elements: int) -> Iterator[tuple[int, int]]:
    """First step and end of the parts of a segment that fit in the cache, the last first.

    ``step_elements`` are read and written for each step.
    """
    length = max(1, _CACHE_ELEMENTS // step_elements)
    for end in range(segment.end, segment.begin, -length):
        yield max(segment.begin, end - length), end
