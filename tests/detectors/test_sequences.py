"""What a batch shows of its sequences: every layout that scripts have, and no guess where nothing tells."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.sequences import hidden_states_of, inputs_of, mask_of, sequences_of
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import ArrayLoader, SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader

SEQ_LEN, BATCH_SIZE, VOCAB, FEATURES = 7, 4, 5, 3
rng = np.random.default_rng(0)
TOKENS = rng.integers(0, VOCAB, (SEQ_LEN + 1, BATCH_SIZE))
X, Y = TOKENS[:-1], TOKENS[1:]
FLOATS = rng.normal(size=(SEQ_LEN, BATCH_SIZE, FEATURES))


def batch_of(data, batch_size=None, sequences=None, **observed):
    return Batch(data, "train", 1, batch_size=batch_size, sequences=sequences, observed=observed)


def one_hot(tokens, axes):
    """One-hot vectors of tokens (time, batch), with the axes of time, batch and vocabulary where ``axes`` says."""
    return np.ascontiguousarray(np.eye(VOCAB)[tokens].transpose(["TBV".index(axis) for axis in axes]))


def time_first(shown):
    return shown.inputs if shown.time_axis == 0 else shown.inputs.swapaxes(0, 1)


# --- layouts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["TVB", "TBV", "BTV", "VTB"])
@pytest.mark.parametrize("known", ["size", "hidden states", "targets"])
def test_one_hot_vectors_become_tokens_wherever_their_axis_lies(axes, known):
    x, y = one_hot(X, axes), one_hot(Y, axes)
    batch = batch_of((x, y))
    if known == "size":
        batch.batch_size = BATCH_SIZE
    elif known == "hidden states":
        batch.observed["hidden_states"] = [np.zeros((9, BATCH_SIZE))] * (SEQ_LEN + 1)
    shown = sequences_of(batch)
    np.testing.assert_array_equal(time_first(shown), X)
    assert (shown.seq_len, shown.batch_size, shown.vocab_size) == (SEQ_LEN, BATCH_SIZE, VOCAB)
    assert shown.per_step


@pytest.mark.parametrize("known", ["targets", "hidden states"])
def test_features_in_columns_are_known_by_their_targets_or_by_the_states(known):
    x = FLOATS.transpose(0, 2, 1)
    if known == "targets":
        batch = batch_of((x, rng.normal(size=BATCH_SIZE)))
        batch.observed["hidden_states"] = [np.zeros((BATCH_SIZE, 9))] * (SEQ_LEN + 1)
    else:
        batch = batch_of((x, x), hidden_states=[np.zeros((9, BATCH_SIZE))] * (SEQ_LEN + 1))
    shown = sequences_of(batch)
    np.testing.assert_array_equal(time_first(shown), FLOATS)
    assert (shown.seq_len, shown.batch_size) == (SEQ_LEN, BATCH_SIZE)


@pytest.mark.parametrize(
    ("inputs", "targets", "time_axis"),
    [((10, 12, 2), (10,), 1), ((10, 12, 2), (10, 1), 1), ((12, 10, 2), (10, 1), 0), ((10, 12, 2), (9, 1), None)],
)
def test_one_target_for_each_sequence_tells_which_axis_is_time(inputs, targets, time_axis):
    shown = sequences_of(batch_of((rng.normal(size=inputs), rng.normal(size=targets))))
    assert shown.time_axis == time_axis


@pytest.mark.parametrize("data", [(X, Y), (X.T, Y.T)], ids=["time first", "batch first"])
@pytest.mark.parametrize("how", ["batch_size", "sequences"])
def test_the_batch_size_tells_which_axis_is_time(data, how):
    shown = sequences_of(batch_of(data, **{how: BATCH_SIZE}))
    np.testing.assert_array_equal(time_first(shown), X)
    assert (shown.seq_len, shown.batch_size) == (SEQ_LEN, BATCH_SIZE)
    assert shown.vocab_size is None


def test_without_a_size_the_number_of_hidden_states_tells():
    other = rng.integers(0, VOCAB, X.shape)  # targets that are not the next inputs
    for states in ([np.zeros((2, 2))] * (SEQ_LEN + 1), np.zeros((SEQ_LEN + 1, BATCH_SIZE, 9))):
        assert sequences_of(batch_of((X.T, other.T), hidden_states=states)).time_axis == 1
        assert sequences_of(batch_of((X, other), hidden_states=states)).time_axis == 0


@pytest.mark.parametrize(
    ("inputs", "targets", "states", "time_first"),
    [
        ((10, 12, 2), (10,), (10, 13, 20), False),
        ((10, 12, 2), (10,), (10, 12, 20), False),
        ((10, 10), (10, 10), (10, 11, 20), False),
        ((12, 10, 2), (10,), (13, 10, 20), True),
        ((10, 12), (10, 12), (13, 10, 20), True),
        ((12, 10), (12, 10), (12, 10, 20), True),
    ],
)
def test_states_in_an_array_with_the_batch_first_have_their_axes_swapped(inputs, targets, states, time_first):
    shown, hidden = (np.zeros(inputs), np.zeros(targets)), np.zeros(states)
    expected = hidden if time_first else hidden.swapaxes(0, 1)
    assert hidden_states_of(batch_of(shown, hidden_states=hidden)).shape == expected.shape


def test_without_either_the_targets_tell_if_they_are_the_next_inputs():
    assert sequences_of(batch_of((X, Y))).time_axis == 0
    assert sequences_of(batch_of((X.T, Y.T))).time_axis == 1
    square = rng.integers(0, VOCAB, (6, 5))
    assert sequences_of(batch_of((square[:-1], square[1:]), batch_size=5)).time_axis == 0
    assert sequences_of(batch_of((square[:-1].T, square[1:].T), batch_size=5)).time_axis == 1


def test_nothing_is_guessed_where_nothing_tells():
    shown = sequences_of(batch_of((X, rng.integers(0, VOCAB, X.shape))))
    assert (shown.time_axis, shown.seq_len, shown.batch_size) == (None, None, None)
    np.testing.assert_array_equal(shown.inputs, X)
    rising = np.arange(6)[:, None] + np.arange(6)  # windows of stride 1: the next input is the target both ways
    assert sequences_of(batch_of((rising, rising + 1))).time_axis is None


@pytest.mark.parametrize("axes", ["TBF", "BTF", "TFB"])
def test_features_keep_their_axis_and_it_comes_last(axes):
    x = FLOATS.transpose(["TBF".index(axis) for axis in axes])
    shown = sequences_of(batch_of((x, 2 * x), batch_size=BATCH_SIZE))
    np.testing.assert_array_equal(time_first(shown), FLOATS)
    assert shown.targets.shape == shown.inputs.shape
    assert (shown.seq_len, shown.batch_size, shown.vocab_size) == (SEQ_LEN, BATCH_SIZE, None)
    assert shown.per_step


def test_floats_of_zeros_and_ones_that_are_no_one_hot_vectors_stay_what_they_are():
    for floats in (np.zeros((6, 4, 5)), np.ones((6, 4, 5)), rng.integers(0, 2, (6, 4, 5)).astype(float)):
        assert sequences_of(batch_of((floats, floats), batch_size=4)).inputs is floats


def test_inputs_and_targets_may_come_in_different_layouts():
    shown = sequences_of(batch_of((one_hot(X, "TVB"), Y.T), batch_size=BATCH_SIZE))
    np.testing.assert_array_equal(shown.inputs, X)
    np.testing.assert_array_equal(shown.targets, Y)
    assert shown.per_step


# --- one target per sequence, one sequence per batch -----------------------------------------------------------------


@pytest.mark.parametrize("x", [X, X.T], ids=["time first", "batch first"])
def test_one_target_per_sequence_tells_the_batch_size(x):
    labels = np.array([0, 1, 1, 0])
    shown = sequences_of(batch_of((x, labels)))
    assert (shown.seq_len, shown.batch_size, shown.per_step) == (SEQ_LEN, BATCH_SIZE, False)
    hot = sequences_of(batch_of((x, np.eye(2)[labels])))
    np.testing.assert_array_equal(hot.targets, labels)
    assert (hot.batch_size, hot.vocab_size) == (BATCH_SIZE, 2)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X[:, 0], Y[:, 0]),
        (X[:, 0].tolist(), Y[:, 0].tolist()),
        (np.eye(VOCAB)[X[:, 0]], np.eye(VOCAB)[Y[:, 0]]),
        (np.eye(VOCAB)[X[:, 0]].T, np.eye(VOCAB)[Y[:, 0]].T),
        ([np.eye(VOCAB)[:, [token]] for token in X[:, 0]], [np.eye(VOCAB)[:, [token]] for token in Y[:, 0]]),
    ],
    ids=["tokens", "lists", "rows", "columns", "list of columns"],
)
def test_one_sequence_by_itself(x, y):
    shown = sequences_of(batch_of((x, y), batch_size=1))
    np.testing.assert_array_equal(shown.inputs, X[:, :1])
    np.testing.assert_array_equal(shown.targets, Y[:, :1])
    assert (shown.seq_len, shown.batch_size, shown.time_axis, shown.per_step) == (SEQ_LEN, 1, 0, True)


def test_one_sequence_of_features_by_itself():
    x, y = FLOATS[:, 0], FLOATS[:, 1]
    shown = sequences_of(batch_of((x, y), batch_size=1))
    assert shown.inputs.shape == shown.targets.shape == (SEQ_LEN, 1, FEATURES)
    label = sequences_of(batch_of((x, np.array([1])), batch_size=1))
    assert (label.seq_len, label.targets.shape, label.per_step) == (SEQ_LEN, (1,), False)
    series = sequences_of(batch_of((x, y), batch_size=SEQ_LEN))  # rows of scalars
    assert (series.inputs.shape, series.seq_len) == ((SEQ_LEN, FEATURES), FEATURES)


# --- where inputs and targets are found ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X, Y, np.array([7, 6, 5, 7])),
        {"inputs": X, "targets": Y},
        SimpleNamespace(inputs=X, targets=Y),
        SequenceBatch(X, Y),
    ],
    ids=["tuple", "list", "with lengths", "mapping", "object", "batch"],
)
def test_what_a_loader_may_yield(data):
    batch = batch_of(data)
    shown = sequences_of(batch)
    np.testing.assert_array_equal(shown.inputs, X)
    np.testing.assert_array_equal(shown.targets, Y)
    assert shown.time_axis == 0
    assert inputs_of(batch) is X


@pytest.mark.parametrize(
    "data", [17, None, "text", (X,), (np.zeros(4), np.zeros(3), np.zeros(2)), ([[1, 2], [3]], [1])]
)
def test_what_shows_nothing(data):
    shown = sequences_of(batch_of(data, batch_size=4))
    assert (shown.inputs, shown.targets, shown.time_axis, shown.vocab_size) == (None, None, None, None)
    assert (shown.seq_len, shown.batch_size, shown.per_step) == (None, None, False)


LABELS = np.arange(BATCH_SIZE) % 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"tokens": X, "first": LABELS}, (X, LABELS)),
        ({"answer": LABELS, "text": X}, (X, LABELS)),
        ({"labels": Y, "text": X}, (X, Y)),
        ({"source": X, "answer": Y}, (X, Y)),
        ({"text": X, "next": Y, "x": X}, (X, None)),
        ({"now": X, "next": Y}, (None, None)),
        ({"text": X, "weights": np.ones(2)}, (None, None)),
    ],
    ids=[
        "a known name",
        "one label each",
        "known targets",
        "other known names",
        "three arrays",
        "of one shape",
        "another length",
    ],
)
def test_two_arrays_in_a_mapping(data, expected):
    shown = sequences_of(batch_of(data))
    for found, array in zip((shown.inputs, shown.targets), expected, strict=True):
        assert found is None if array is None else np.array_equal(found, array)


def test_what_the_script_observed_wins_over_the_loader():
    batch = batch_of((Y, X), batch_size=BATCH_SIZE, inputs=X.T, targets=Y.T)
    shown = sequences_of(batch)
    np.testing.assert_array_equal(shown.inputs, X.T)
    assert shown.time_axis == 1
    np.testing.assert_array_equal(inputs_of(batch), X.T)
    index = sequences_of(batch_of(17, batch_size=BATCH_SIZE, inputs=one_hot(X, "TVB"), targets=one_hot(Y, "TVB")))
    np.testing.assert_array_equal(index.targets, Y)
    assert index.vocab_size == VOCAB


def test_the_loaders_of_the_library():
    stream = next(iter(StreamLoader(np.arange(40) % 6, batch_size=5, seq_len=5)))
    assert sequences_of(batch_of(stream)).time_axis == 0  # square, and the targets settle it
    arrays = next(iter(ArrayLoader(rng.normal(size=(6, 6, 2)), np.arange(6), batch_size=6)))
    shown = sequences_of(batch_of(arrays))
    assert (shown.seq_len, shown.batch_size, shown.per_step) == (6, 6, False)
    padded = next(iter(SequenceLoader([[1, 2, 3, 4], [5, 6]], batch_size=2, shuffle=False)))
    shown = sequences_of(batch_of(padded, sequences=2))
    np.testing.assert_array_equal(mask_of(batch_of(padded), shown), padded.mask)


def test_a_mask_counts_only_if_it_is_laid_out_as_the_inputs_are():
    shown = sequences_of(batch_of((X, Y), batch_size=BATCH_SIZE))
    assert mask_of(batch_of((X, Y)), shown) is None
    mask = np.ones(X.shape)
    assert mask_of(batch_of({"inputs": X, "targets": Y, "mask": mask}), shown).dtype == bool
    assert mask_of(batch_of({"inputs": X, "targets": Y, "mask": mask.T}), shown) is None
    assert mask_of(batch_of(SimpleNamespace(mask=mask)), sequences_of(batch_of(None))) is None


def test_padding_is_minus_one_and_does_not_count():
    counts = np.arange(SEQ_LEN)[:, None] < np.array([7, 5, 6, 7])
    hot = one_hot(Y, "TVB") * counts[:, None, :]
    numbers = np.where(counts, Y, -1)
    for targets, layout in ((hot, one_hot(X, "TVB")), (numbers, X), (numbers.T, X.T)):
        batch = batch_of((layout, targets), batch_size=BATCH_SIZE)
        shown = sequences_of(batch)
        mask = mask_of(batch, shown)
        if shown.time_axis == 1:
            np.testing.assert_array_equal((shown.targets.T, mask.T), (numbers, counts))
        else:
            np.testing.assert_array_equal((shown.targets, mask), (numbers, counts))
    nearly_blank = np.zeros((SEQ_LEN, VOCAB, BATCH_SIZE))
    nearly_blank[0, 0, 0] = 1.0
    assert sequences_of(batch_of((nearly_blank, Y), batch_size=BATCH_SIZE)).inputs.ndim == 3


@given(st.integers(2, 6), st.integers(1, 6), st.integers(2, 6), st.sampled_from(["TVB", "TBV", "BTV"]))
def test_however_long_and_wide_tokens_come_back_if_the_sizes_differ(seq_len, batch_size, vocab_size, axes):
    assume(len({seq_len, batch_size, vocab_size}) == 3)
    seed = [seq_len, batch_size, vocab_size]
    tokens = np.random.default_rng(seed).integers(0, vocab_size, (seq_len + 1, batch_size))
    hot = np.eye(vocab_size)[tokens[:-1]].transpose(["TBV".index(axis) for axis in axes])
    shown = sequences_of(batch_of((hot, tokens[1:]), batch_size=batch_size))
    np.testing.assert_array_equal(time_first(shown), tokens[:-1])
