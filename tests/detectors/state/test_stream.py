"""Contiguity: streams are told from unrelated sequences in every layout, and chance is taken for neither."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.sequences import Sequences
from rnncallbacks.detectors.state.stream import Shift, Tally, continuation, edges_of, time_first
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
    """The tally over all pairs of neighbours, and how often the shift holds within batches."""
    shift, tally = Shift(), Tally()
    for one in batches:
        x, y = time_first(one)
        if y is not None:
            shift.add(x, y)
    edges = [edges_of(one, None if mask is None else mask[index]) for index, one in enumerate(batches)]
    for before, after in pairwise(edges):
        tally.add(continuation(before, after, shift.steps), np.ones(after.batch_size, dtype=bool))
    return tally, shift


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
    tally, shift = judged(layout(STREAMS[name]()))
    assert tally.rows == (19 * ROWS if name != "one row" else 59)
    assert (tally.share, tally.broken) == (1.0, 0)
    assert not tally.cannot_be_a_stream(shift.share)
    assert tally.cannot_be_chance()


def test_a_smooth_series_goes_on_though_its_targets_are_of_another_kind():
    tally, shift = judged(waves())
    assert shift.steps is None
    assert not tally.cannot_be_a_stream()
    assert not tally.cannot_be_chance()  # smoothness is no proof


def test_noisy_labels_break_a_stream_no_more_than_they_break_its_batches():
    generator = np.random.default_rng(3)
    noisy = []
    for one in stream(30, batches=80, rows=8):
        anything = generator.integers(30, size=one.targets.shape)
        noisy.append(shown(one.inputs, np.where(generator.random(anything.shape) < 0.4, anything, one.targets)))
    tally, shift = judged(noisy)
    assert (shift.steps, round(shift.share, 1)) == (1, 0.6)
    assert 0.5 < tally.share < 0.7
    assert tally.cannot_be_a_stream()
    assert not tally.cannot_be_a_stream(shift.share)
    assert not tally.cannot_be_chance()


def test_documents_that_begin_in_between_leave_a_stream_a_stream():
    batches = stream(30, batches=40)
    for index in range(0, 40, 7):
        batches[index] = unrelated(30, batches=1, seed=index)[0]
    tally, shift = judged(batches)
    assert tally.share < 0.8
    assert not tally.cannot_be_a_stream(shift.share)


def test_chunks_that_overlap_are_of_one_stream():
    tokens = np.random.default_rng(0).integers(5, size=(300, ROWS))
    batches = [
        shown(tokens[at : at + SEQ_LEN], tokens[at + 1 : at + SEQ_LEN + 1]) for at in range(0, 200, SEQ_LEN // 2)
    ]
    tally, shift = judged(batches)
    assert tally.share == 1.0
    assert not tally.cannot_be_a_stream(shift.share)


def test_windows_whose_target_is_the_next_token():
    tokens = np.random.default_rng(0).integers(20, size=(21 * SEQ_LEN, ROWS))
    windows = tokens.reshape(21, SEQ_LEN, ROWS)
    tally, _ = judged([shown(now, following[0]) for now, following in pairwise(windows)])
    assert (tally.share, tally.cannot_be_a_stream(), tally.cannot_be_chance()) == (1.0, False, True)


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
    tally, shift = judged(layout(UNRELATED[name]()))
    assert tally.cannot_be_a_stream(shift.share or 1.0)
    assert not tally.cannot_be_chance()
    assert tally.broken > len(UNRELATED[name]()) / 3


@pytest.mark.parametrize("batch_size", [1, 4])
def test_sentences_are_no_stream(batch_size):
    batches = list(SequenceLoader(anbn(80, max_n=8), batch_size))[: 9 if batch_size == 1 else 4]
    tally, shift = judged([of(batch) for batch in batches])
    assert (shift.steps, tally.share) == (1, 0.0)
    assert tally.cannot_be_a_stream(shift.share)


def test_seven_rows_that_do_not_go_on_are_enough_and_six_are_not():
    for rows, enough in ((6, False), (7, True)):
        tally = Tally()
        before, after = (edges_of(one) for one in unrelated(1000, batches=2, rows=rows))
        tally.add(continuation(before, after, 1), np.ones(rows, dtype=bool))
        assert (tally.rows, tally.went_on) == (rows, 0)
        assert tally.cannot_be_a_stream() == enough


def test_classes_of_sequences_are_no_next_inputs():
    generator = np.random.default_rng(0)
    batches = [shown(one, one[3] % 2) for one in generator.integers(20, size=(20, SEQ_LEN, ROWS))]
    assert judged(batches)[0].cannot_be_a_stream()
    vectors = [shown(one, generator.normal(size=(ROWS, 3))) for one in generator.integers(20, size=(5, SEQ_LEN, ROWS))]
    assert judged(vectors)[0].cannot_be_a_stream()


def test_rows_that_the_mask_ends_do_not_go_on():
    batches = stream(30)
    mask = np.ones((len(batches), SEQ_LEN, ROWS), dtype=bool)
    mask[:, -1, :2] = False
    tally, _ = judged(batches, mask)
    assert tally.share == pytest.approx(0.6)
    tags = [shown(one.inputs, one.inputs * 7 % 5) for one in batches]
    tally, shift = judged(tags, mask)
    assert (shift.steps, tally.rows, tally.went_on) == (None, 19 * 2, 0)


# --- what cannot be told ---------------------------------------------------------------------------------------------


def test_without_a_shift_nothing_is_known():
    generator = np.random.default_rng(0)
    tags = [shown(one, one * 7 % 5) for one in generator.integers(20, size=(20, SEQ_LEN, ROWS))]
    noise = [shown(one, np.cumsum(one, axis=0)) for one in generator.normal(size=(20, SEQ_LEN, ROWS, 2))]
    constant = [shown(np.ones((SEQ_LEN, ROWS), dtype=int), np.ones((SEQ_LEN, ROWS), dtype=int))] * 5
    single = [shown(one[:1], one[1:2]) for one in generator.integers(20, size=(20, 2, ROWS))]
    for batches in (tags, constant, single):
        tally, shift = judged(batches)
        assert (shift.steps, shift.share, tally.rows) == (None, 0.0, 0)
        assert not tally.cannot_be_a_stream()
        assert not tally.cannot_be_chance()
        assert np.isnan(tally.share)
    assert not judged(noise)[0].cannot_be_a_stream()


def test_no_edges_without_an_axis_of_time():
    assert edges_of(shown(np.zeros((3, 3)), None, time_axis=None)) is None
    assert edges_of(Sequences(None, None, None, None)) is None


def test_sentences_that_begin_and_end_with_one_mark_prove_nothing():
    """Each first input is the last target, whatever the order of the sentences."""
    generator = np.random.default_rng(0)
    batches = []
    for _ in range(30):
        tokens = generator.integers(1, 20, (SEQ_LEN + 1, ROWS))
        tokens[0] = tokens[-1] = 0
        batches.append(shown(tokens[:-1], tokens[1:]))
    tally, _ = judged(batches)
    assert tally.share == 1.0
    assert not tally.cannot_be_chance()


def test_few_rows_that_all_go_on_are_no_proof_that_the_rest_would():
    """Ten different tokens in ten rows say little of how often two would meet."""
    for vocab_size, batches, proof in ((1000, 11, False), (1000, 40, True), (2, 41, False), (2, 161, True)):
        tally, _ = judged(stream(vocab_size, batches=batches, rows=1))
        assert (tally.share, tally.cannot_be_chance()) == (1.0, proof)


def test_batches_of_other_sizes_are_compared_as_far_as_both_have_rows():
    before, after = stream(30, batches=2)
    short = edges_of(shown(after.inputs[:, :2], after.targets[:, :2]))
    found = continuation(edges_of(before), short, 1)
    assert found.goes_on.tolist() == [True, True]
    tally = Tally()
    tally.add(found, np.array([True, False]))
    assert tally.rows == 1
    assert continuation(short, edges_of(before), 1).known.tolist() == [True, True]


def test_edges_are_copies():
    one = stream(30, batches=1)[0]
    edges = edges_of(one)
    kept = edges.last_targets.copy()
    one.targets[...] = -5
    np.testing.assert_array_equal(edges.last_targets, kept)


def test_a_tally_begins_anew():
    tally, _ = judged(stream(30))
    tally.clear()
    assert (tally.rows, tally.batches, tally.broken, tally.cannot_be_chance()) == (0, 0, 0, False)


# --- the arithmetic --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [1, 2, 5, 16])
def test_the_shift_is_found_behind_and_ahead(lag):
    tokens = np.random.default_rng(lag).integers(6, size=(60, 3))
    ahead, behind = Shift(), Shift()
    ahead.add(tokens[:-lag], tokens[lag:])
    behind.add(tokens[lag:], tokens[:-lag])
    assert (ahead.steps, behind.steps, ahead.share) == (lag, -lag, 1.0)


def test_a_shift_wants_some_pairs_and_then_settles():
    shift = Shift()
    tokens = np.random.default_rng(0).integers(6, size=(4000, 1))
    shift.add(tokens[:5], tokens[1:6])
    assert shift.steps is None
    shift.add(tokens[:-1], tokens[1:])
    assert (shift.steps, shift.settled) == (1, True)
    shift.add(tokens[:3], tokens[1:5])  # of other shapes: no pairs
    assert shift.pairs[1] == 4 + 3998


@given(st.integers(2, 6), st.integers(1, 8), st.integers(0, 10_000))
def test_a_stream_of_any_size_is_never_refused(vocab_size, rows, seed):
    tally, shift = judged(stream(vocab_size, batches=8, rows=rows, seed=seed))
    assert not tally.cannot_be_a_stream(shift.share or 1.0)


@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 10_000))
def test_chance_is_never_taken_for_a_stream(vocab_size, rows, seed):
    batches = unrelated(vocab_size, batches=12, rows=rows, seed=seed)
    tally, _ = judged(batches)
    assert not tally.cannot_be_chance()
