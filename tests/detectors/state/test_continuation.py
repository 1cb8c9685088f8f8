"""Continuation: which rows of a batch continue the row before, by tokens, by labels, by smoothness, and by overlap."""

import numpy as np
import pytest

from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.continuation import compare_row_ends
from rnncallbacks.detectors.state.row_ends import row_ends

SEQ_LEN, ROWS = 6, 3
TEXT = np.random.default_rng(0).integers(50, size=(3 * SEQ_LEN + 1, ROWS))


def chunk(start, rows=ROWS, mask=None):
    x, y = TEXT[start : start + SEQ_LEN, :rows], TEXT[start + 1 : start + SEQ_LEN + 1, :rows]
    return row_ends(Sequences(x, y, 0, None), mask)


def test_rows_continue_where_the_next_input_is_the_last_target():
    found = compare_row_ends(chunk(0), chunk(SEQ_LEN), 1)
    assert (found.continues.tolist(), found.known.tolist()) == ([True] * ROWS, [True] * ROWS)
    np.testing.assert_array_equal(found.ends, TEXT[SEQ_LEN])
    np.testing.assert_array_equal(found.begins, TEXT[SEQ_LEN])
    assert not compare_row_ends(chunk(0), chunk(2 * SEQ_LEN), 1).continues.any()


def test_batches_of_other_sizes_are_compared_as_far_as_both_have_rows():
    short = chunk(SEQ_LEN, rows=2)
    assert compare_row_ends(chunk(0), short, 1).continues.tolist() == [True, True]
    assert compare_row_ends(short, chunk(0), 1).known.tolist() == [True, True]


def test_rows_that_end_early_do_not_continue():
    mask = np.ones((SEQ_LEN, ROWS), dtype=bool)
    mask[-1, 0] = False
    found = compare_row_ends(chunk(0, mask=mask), chunk(SEQ_LEN), 1)
    assert (found.continues.tolist(), found.known.tolist()) == ([False, True, True], [True] * 3)
    unknown = compare_row_ends(chunk(0, mask=mask), chunk(SEQ_LEN), None)
    assert (unknown.continues.tolist(), unknown.known.tolist()) == ([False] * 3, [True, False, False])


@pytest.mark.parametrize(("start", "continues"), [(1, True), (3, True), (4, False), (SEQ_LEN + 1, False)])
def test_batches_that_overlap_by_half_continue(start, continues):
    assert compare_row_ends(chunk(0), chunk(start), 1).continues.all() == continues


def test_windows_with_one_target_continue_with_it():
    windows = [row_ends(Sequences(TEXT[n : n + SEQ_LEN], TEXT[n + SEQ_LEN], 0, None)) for n in (0, SEQ_LEN)]
    assert compare_row_ends(*windows, None).continues.all()
    vectors = row_ends(Sequences(TEXT[:SEQ_LEN], np.zeros((ROWS, 2)), 0, None))
    found = compare_row_ends(vectors, windows[1], None)
    assert (found.continues.any(), found.known.all()) == (False, True)


@pytest.mark.parametrize(
    ("jump", "continues", "known"), [(0.9, True, True), (1.5, False, False), (2.5, False, True), (np.nan, False, False)]
)
def test_a_series_continues_without_a_jump(jump, continues, known):
    series = np.arange(float(SEQ_LEN))[:, None, None] * np.ones((1, ROWS, 1))
    before, after = (row_ends(Sequences(one, None, 0, None)) for one in (series, series + SEQ_LEN - 1 + jump))
    found = compare_row_ends(before, after, None)
    assert (found.continues.tolist(), found.known.tolist()) == ([continues] * ROWS, [known] * ROWS)
    assert found.ends is None


@pytest.mark.parametrize(("own", "known"), [(True, True), (False, False)])
def test_targets_of_other_rows_do_not_show_whether_rows_continue(own, known):
    text = np.random.default_rng(0).integers(0, 20, (21, 6))
    targets = text[1:] if own else np.roll(text[1:], 1, axis=1)
    before, after = (row_ends(Sequences(text[n : n + 10], targets[n : n + 10], 0, None)) for n in (0, 10))
    found = compare_row_ends(before, after, shift=1)
    assert (found.known.all(), found.continues.all()) == (known, known)


def test_a_label_of_each_row_is_not_the_next_input_of_several_features():
    bits = TEXT[:1, :, None].repeat(2, axis=2) % 2
    first, second = (row_ends(Sequences(bits, TEXT[n], 0, None)) for n in (0, 1))
    assert not compare_row_ends(first, second, None).continues.any()
