from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.rnn.cells.segments import Segment, cache_blocks, segments


@given(seq_len=st.integers(1, 200), numbers=st.integers(1, 200_000))
def test_cache_blocks_go_backwards_over_every_step_once(seq_len: int, numbers: int) -> None:
    segment = Segment(10, 10 + seq_len, 300)
    parts = list(cache_blocks(segment, numbers))
    assert [step for begin, end in parts for step in reversed(range(begin, end))] == list(range(9 + seq_len, 9, -1))
    assert all(end - begin == 1 or (end - begin) * numbers <= 2**17 for begin, end in parts)


@given(
    seq_len=st.integers(1, 200),
    numbers=st.integers(1, 200_000),
    matrix=st.integers(1, 10**6),
    most=st.integers(1, 9),
)
def test_segments_go_backwards_over_every_step_once(seq_len: int, numbers: int, matrix: int, most: int) -> None:
    found = list(segments(seq_len, numbers, matrix, most))
    assert [step for segment in found for step in reversed(range(segment.begin, segment.end))] == list(range(seq_len))[
        ::-1
    ]
    assert [segment.is_first for segment in found] == [True] + [False] * (len(found) - 1)
    lengths = [segment.end - segment.begin for segment in found]
    assert max(lengths) - min(lengths) <= 1
    # No more than were asked for, and no cut where there is little to gain.
    assert len(found) == min(most, seq_len, -(-seq_len * numbers // max(matrix, 3 * 2**15)))
