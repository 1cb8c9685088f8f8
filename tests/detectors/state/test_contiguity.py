"""Contiguity: streams are told from unrelated sequences in every layout, and chance is taken for neither."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.contiguity import ContiguityCounts
from rnncallbacks.detectors.state.continuation import compare_row_ends
from rnncallbacks.detectors.state.row_ends import row_ends
from rnncallbacks.detectors.state.target_shift import TargetShift
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader

SEQ_LEN, ROWS = 12, 5


def shown(x, y, time_axis=0):
    return Sequences(np.asarray(x), None if y is None else np.asarray(y), time_axis, None)


def of(batch):
    return shown(batch.inputs, batch.targets)


def stream(vocab_size, batches=20, rows=ROWS, seed=0):
    tokens = np.random.default_rng(seed).integers(vocab_size, size=batches * rows * SEQ_LEN + 1)
    return [of(batch) for batch in StreamLoader(tokens, rows, SEQ_LEN)]


def unrelated(vocab_size, batches=20, rows=ROWS, seed=0):
    tokens = np.random.default_rng(seed).integers(vocab_size, size=(batches, SEQ_LEN + 1, rows))
    return [shown(one[:-1], one[1:]) for one in tokens]


def echo(vocab_size, lag, batches=20, rows=ROWS, seed=0, flowing=True):
    """The target is the input some steps ago; in a stream across the ends of batches too, else token 0 comes first."""
    tokens = np.random.default_rng(seed).integers(vocab_size, size=(batches * SEQ_LEN + lag, rows))
    made = []
    for start in range(lag, len(tokens), SEQ_LEN):
        x, y = tokens[start : start + SEQ_LEN], tokens[start - lag : start - lag + SEQ_LEN].copy()
        if not flowing:
            y[:lag] = 0
        made.append(shown(x, y))
    return made


def waves(batches=20, rows=ROWS, seed=0, flowing=True, ahead=0):
    """A smooth series; the target is a function of the input, or the input some steps ahead."""
    generator = np.random.default_rng(seed)
    phase = generator.uniform(0, 7, (batches, 1, rows, 1))
    if flowing:
        phase = phase[:1] + 0.3 * SEQ_LEN * np.arange(batches)[:, None, None, None]
    time = phase + 0.3 * np.arange(SEQ_LEN + 1)[:, None, None] * np.ones((1, 2))
    series = np.sin(time * [1.0, 0.7])
    return [shown(one[:-1], one[1:] if ahead else np.cumsum(one[:-1], axis=0)) for one in series]


def judged(batches, mask=None):
    """The counts over all pairs of neighbors, and the shift within batches."""
    shift, counts = TargetShift(), ContiguityCounts()
    for one in batches:
        x, y = one.time_first()
        if y is not None:
            shift.add(x, y)
    ends = [row_ends(one, None if mask is None else mask[index]) for index, one in enumerate(batches)]
    for before, after in pairwise(ends):
        counts.add(compare_row_ends(before, after, shift.steps), np.ones(after.batch_size, dtype=bool))
    return counts, shift


def turned(batches):
    return [shown(one.inputs.swapaxes(0, 1), one.targets.swapaxes(0, 1), 1) for one in batches]


# --- streams ---------------------------------------------------------------------------------------------------------

STREAMS = {
    "text": lambda: stream(30),
    "bits": lambda: stream(2),
    "one row": lambda: stream(30, batches=60, rows=1),
    "echo": lambda: echo(8, lag=3),
    "echo of bits": lambda: echo(2, lag=5),
    "series": lambda: waves(ahead=1),
}


@pytest.mark.parametrize("layout", [list, turned])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_one(name, layout):
    counts, shift = judged(layout(STREAMS[name]()))
    assert counts.rows == (19 * ROWS if name != "one row" else 59)
    assert (counts.share, counts.broken_batches) == (1.0, 0)
    assert not counts.cannot_be_contiguous(shift.agreement)
    assert counts.cannot_be_chance()


def test_a_smooth_series_continues_though_its_targets_are_of_another_kind():
    counts, shift = judged(waves())
    assert shift.steps is None
    assert not counts.cannot_be_contiguous()
    assert not counts.cannot_be_chance()  # smoothness is no proof


def test_noisy_labels_break_a_stream_no_more_than_they_break_its_batches():
    generator = np.random.default_rng(3)
    noisy = []
    for one in stream(30, batches=80, rows=8):
        anything = generator.integers(30, size=one.targets.shape)
        noisy.append(shown(one.inputs, np.where(generator.random(anything.shape) < 0.4, anything, one.targets)))
    counts, shift = judged(noisy)
    assert (shift.steps, round(shift.agreement, 1)) == (1, 0.6)
    assert 0.5 < counts.share < 0.7
    assert counts.cannot_be_contiguous()
    assert not counts.cannot_be_contiguous(shift.agreement)
    assert not counts.cannot_be_chance()


def test_documents_that_begin_in_between_leave_a_stream_a_stream():
    batches = stream(30, batches=40)
    for index in range(0, 40, 7):
        batches[index] = unrelated(30, batches=1, seed=index)[0]
    counts, shift = judged(batches)
    assert counts.share < 0.8
    assert not counts.cannot_be_contiguous(shift.agreement)


def test_chunks_that_overlap_are_of_one_stream():
    tokens = np.random.default_rng(0).integers(5, size=(300, ROWS))
    batches = [
        shown(tokens[at : at + SEQ_LEN], tokens[at + 1 : at + SEQ_LEN + 1]) for at in range(0, 200, SEQ_LEN // 2)
    ]
    counts, shift = judged(batches)
    assert counts.share == 1.0
    assert not counts.cannot_be_contiguous(shift.agreement)


def test_windows_whose_target_is_the_next_token():
    tokens = np.random.default_rng(0).integers(20, size=(21 * SEQ_LEN, ROWS))
    windows = tokens.reshape(21, SEQ_LEN, ROWS)
    counts, _ = judged([shown(now, following[0]) for now, following in pairwise(windows)])
    assert (counts.share, counts.cannot_be_contiguous(), counts.cannot_be_chance()) == (1.0, False, True)


# --- unrelated sequences ---------------------------------------------------------------------------------------------

UNRELATED = {
    "text": lambda: unrelated(30),
    "bits": lambda: unrelated(2),
    "one row": lambda: unrelated(30, rows=1),
    "echo": lambda: echo(8, lag=3, flowing=False),
    "series": lambda: waves(flowing=False, ahead=1),
    "smooth series": lambda: waves(flowing=False, batches=40),
}


@pytest.mark.parametrize("layout", [list, turned])
@pytest.mark.parametrize("name", UNRELATED)
def test_unrelated_sequences_are_no_stream(name, layout):
    counts, shift = judged(layout(UNRELATED[name]()))
    assert counts.cannot_be_contiguous(shift.agreement or 1.0)
    assert not counts.cannot_be_chance()
    assert counts.broken_batches > len(UNRELATED[name]()) / 3


@pytest.mark.parametrize("batch_size", [1, 4])
def test_sentences_are_no_stream(batch_size):
    batches = list(SequenceLoader(anbn(80, max_n=8), batch_size))[: 9 if batch_size == 1 else 4]
    counts, shift = judged([of(batch) for batch in batches])
    assert (shift.steps, counts.share) == (1, 0.0)
    assert counts.cannot_be_contiguous(shift.agreement)


def test_seven_rows_that_do_not_continue_are_enough_and_six_are_not():
    for rows, enough in ((6, False), (7, True)):
        counts = ContiguityCounts()
        before, after = (row_ends(one) for one in unrelated(1000, batches=2, rows=rows))
        counts.add(compare_row_ends(before, after, 1), np.ones(rows, dtype=bool))
        assert (counts.rows, counts.continuing) == (rows, 0)
        assert counts.cannot_be_contiguous() == enough


def test_classes_of_sequences_are_no_next_inputs():
    generator = np.random.default_rng(0)
    batches = [shown(one, one[3] % 2) for one in generator.integers(20, size=(20, SEQ_LEN, ROWS))]
    assert judged(batches)[0].cannot_be_contiguous()
    vectors = [shown(one, generator.normal(size=(ROWS, 3))) for one in generator.integers(20, size=(5, SEQ_LEN, ROWS))]
    assert judged(vectors)[0].cannot_be_contiguous()


def test_rows_that_the_mask_ends_do_not_continue():
    batches = stream(30)
    mask = np.ones((len(batches), SEQ_LEN, ROWS), dtype=bool)
    mask[:, -1, :2] = False
    counts, _ = judged(batches, mask)
    assert counts.share == pytest.approx(0.6)
    tags = [shown(one.inputs, one.inputs * 7 % 5) for one in batches]
    counts, shift = judged(tags, mask)
    assert (shift.steps, counts.rows, counts.continuing) == (None, 19 * 2, 0)


# --- what cannot be told ---------------------------------------------------------------------------------------------


def test_without_a_shift_nothing_is_known():
    generator = np.random.default_rng(0)
    tags = [shown(one, one * 7 % 5) for one in generator.integers(20, size=(20, SEQ_LEN, ROWS))]
    noise = [shown(one, np.cumsum(one, axis=0)) for one in generator.normal(size=(20, SEQ_LEN, ROWS, 2))]
    constant = [shown(np.ones((SEQ_LEN, ROWS), dtype=int), np.ones((SEQ_LEN, ROWS), dtype=int))] * 5
    single = [shown(one[:1], one[1:2]) for one in generator.integers(20, size=(20, 2, ROWS))]
    for batches in (tags, constant, single):
        counts, shift = judged(batches)
        assert (shift.steps, shift.agreement, counts.rows) == (None, 0.0, 0)
        assert not counts.cannot_be_contiguous()
        assert not counts.cannot_be_chance()
        assert np.isnan(counts.share)
    assert not judged(noise)[0].cannot_be_contiguous()


def test_sentences_that_begin_and_end_with_one_mark_prove_nothing():
    """Each first input is the last target, whatever the order of the sentences."""
    generator = np.random.default_rng(0)
    batches = []
    for _ in range(30):
        tokens = generator.integers(1, 20, (SEQ_LEN + 1, ROWS))
        tokens[0] = tokens[-1] = 0
        batches.append(shown(tokens[:-1], tokens[1:]))
    counts, _ = judged(batches)
    assert counts.share == 1.0
    assert not counts.cannot_be_chance()


def test_few_rows_that_all_continue_are_no_proof_that_the_rest_would():
    """Ten different tokens in ten rows say little of how often two would meet."""
    for vocab_size, batches, proof in ((1000, 11, False), (1000, 40, True), (2, 41, False), (2, 161, True)):
        counts, _ = judged(stream(vocab_size, batches=batches, rows=1))
        assert (counts.share, counts.cannot_be_chance()) == (1.0, proof)


def test_cleared_counts_begin_again():
    counts, _ = judged(stream(30))
    counts.clear()
    assert (counts.rows, counts.batches, counts.broken_batches, counts.cannot_be_chance()) == (0, 0, 0, False)


@given(st.integers(2, 6), st.integers(1, 8), st.integers(0, 10_000))
def test_a_stream_of_any_size_is_never_refused(vocab_size, rows, seed):
    counts, shift = judged(stream(vocab_size, batches=8, rows=rows, seed=seed))
    assert not counts.cannot_be_contiguous(shift.agreement or 1.0)


@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 10_000))
def test_chance_is_never_taken_for_a_stream(vocab_size, rows, seed):
    batches = unrelated(vocab_size, batches=12, rows=rows, seed=seed)
    counts, _ = judged(batches)
    assert not counts.cannot_be_chance()
