"""Streams: every pair of tokens once, states that leave no document, and memory that does not grow with the stream."""

import gc
import tracemalloc
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.errors import DataError, OptionError, ShapeError
from rnncallbacks.plugins import HiddenStateReset, LossAveraging
from rnncallbacks.rnn.data import streams
from rnncallbacks.rnn.data.batches import next_tokens
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD
from rnncallbacks.training.trainer import Trainer


def counted(batch, array):
    """The entries that count, row by row."""
    mask = np.ones(batch.inputs.shape[:2], dtype=bool) if batch.mask is None else batch.mask
    return [array[mask[:, row], row].tolist() for row in range(batch.size)]


def numbers(batch):
    """All that a batch says, for a comparison."""
    return [None if one is None else one.tolist() for one in (batch.inputs, batch.targets, batch.mask, batch.starts)]


STREAMS = st.tuples(st.integers(2, 200), st.integers(1, 9), st.integers(1, 12)).filter(lambda s: s[0] > s[1])


class TestStreamLoader:
    @given(STREAMS)
    def test_visits_every_token_exactly_once(self, stream):
        size, batch_size, seq_len = stream
        tokens = np.arange(size) * 3
        rows = {"inputs": [[] for _ in range(batch_size)], "targets": [[] for _ in range(batch_size)]}
        for batch in StreamLoader(tokens, batch_size, seq_len):
            for name, parts in rows.items():
                for part, row in zip(parts, counted(batch, getattr(batch, name)), strict=True):
                    part.extend(row)
        assert list(chain(*rows["inputs"])) == tokens[:-1].tolist()
        assert list(chain(*rows["targets"])) == tokens[1:].tolist()

    @given(STREAMS)
    def test_a_row_goes_on_where_it_stopped(self, stream):
        loader = StreamLoader(np.random.default_rng(0).permutation(stream[0]), *stream[1:])
        batches = list(loader)
        assert len(loader) == len(batches)
        assert all(batch.size == stream[1] for batch in batches)
        for before, after in pairwise(batches):
            assert before.mask is None
            np.testing.assert_array_equal(after.inputs[0], before.targets[-1])

    @given(STREAMS, st.integers(1, 30))
    def test_batches_do_not_depend_on_how_many_are_read_at_once(self, stream, pairs):
        tokens = np.random.default_rng(0).permutation(stream[0])
        documents = range(0, stream[0] - pairs, pairs + 1)
        whole = len(documents) >= stream[1]
        found = []
        for at_once in (1, 40, 2**12):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(streams, "_TOKENS_PER_READ", at_once)
                loader = StreamLoader(tokens, *stream[1:], document_starts=documents if whole else None)
                found.append([numbers(batch) for batch in loader])
        assert found[0] == found[1] == found[2]

    def test_small_batches_are_read_some_at_a_time(self, monkeypatch):
        read = []
        monkeypatch.setattr(
            streams, "next_tokens", lambda *arguments: read.append(arguments) or next_tokens(*arguments)
        )
        assert len(list(StreamLoader(np.arange(1001), 2, 5))) == 100
        assert len(read) == 2
        assert len(list(StreamLoader(np.arange(2001), 2, 500))) == 2
        assert len(read) == 4

    @given(STREAMS)
    def test_who_overwrites_a_batch_changes_no_other(self, stream):
        loader = StreamLoader(np.arange(stream[0]), *stream[1:])
        whole = [numbers(batch) for batch in loader]
        for batch, expected in zip(loader, whole, strict=True):
            assert numbers(batch) == expected
            for array in (batch.inputs, batch.targets, batch.starts):
                array[...] = 1

    @given(STREAMS)
    def test_a_target_is_the_next_input(self, stream):
        for batch in StreamLoader(np.random.default_rng(0).permutation(stream[0]), *stream[1:]):
            np.testing.assert_array_equal(batch.targets[:-1], batch.inputs[1:])

    @given(STREAMS)
    def test_all_rows_start_at_the_first_chunk_and_none_later(self, stream):
        loader = StreamLoader(np.zeros(stream[0], int), *stream[1:])
        for _ in range(2):
            starts = [batch.starts.all() for batch in loader]
            assert starts == [True] + [False] * (len(loader) - 1)

    @given(STREAMS, st.integers(0, 20))
    def test_skipped_batches_are_left_out_of_the_next_iteration_alone(self, stream, skipped):
        loader = StreamLoader(np.arange(stream[0]), *stream[1:])
        whole = list(loader)
        loader.skip_batches(skipped)
        for begin in (skipped, 0):
            assert [numbers(batch) for batch in loader] == [numbers(batch) for batch in whole[begin:]]

    def test_every_iteration_is_the_same(self):
        loader = StreamLoader(np.arange(100), 3, 7)
        assert list(map(numbers, loader)) == list(map(numbers, loader))

    def test_chunks_are_full_and_without_a_mask_when_they_fit(self):
        batches = list(StreamLoader(np.arange(1 + 4 * 15), 4, 5))
        assert [batch.inputs.shape for batch in batches] == [(5, 4)] * 3
        assert all(batch.mask is None for batch in batches)

    @given(STREAMS)
    def test_drop_last_leaves_whole_chunks_only(self, stream):
        size, batch_size, seq_len = stream
        if (size - 1) // batch_size < seq_len:
            with pytest.raises(OptionError, match=f"do not fill one chunk of seq_len {seq_len}"):
                StreamLoader(np.arange(size), batch_size, seq_len, drop_last=True)
            return
        batches = list(StreamLoader(np.arange(size), batch_size, seq_len, drop_last=True))
        every = list(StreamLoader(np.arange(size), batch_size, seq_len))
        assert all(batch.inputs.shape == (seq_len, batch_size) and batch.mask is None for batch in batches)
        assert len(batches) == (size - 1) // batch_size // seq_len
        assert [numbers(one) for one in batches] == [numbers(one) for one in every[: len(batches)]]

    def test_a_batch_is_no_window_on_the_stream(self):
        tokens = np.arange(50)
        for batch in StreamLoader(tokens, 2, 10):
            batch.inputs[:] = -1
            batch.targets[:] = -1
        np.testing.assert_array_equal(tokens, np.arange(50))

    @pytest.mark.parametrize(
        ("options", "error", "expected"),
        [
            ({"tokens": []}, DataError, "0 tokens are too few for batch_size 4.*at least 5"),
            ({"tokens": [1, 2, 3, 4]}, DataError, "4 tokens are too few for batch_size 4"),
            ({"tokens": np.zeros((5, 5), int)}, ShapeError, r"tokens: expected one axis.*\(5, 5\)"),
            ({"tokens": np.zeros(50)}, DataError, "tokens: expected token numbers.*float64"),
            ({"tokens": [1, 2, 3, -7, -8, 4]}, DataError, r"tokens: .* 0 or more, got -7 at 3 \(the first of 2\)"),
            ({"batch_size": 0}, OptionError, "batch_size: expected an integer >= 1, got 0"),
            ({"batch_size": 2.0}, OptionError, r"batch_size: expected an integer .* got 2\.0"),
            ({"seq_len": 0}, OptionError, "seq_len: expected an integer >= 1, got 0"),
            ({"seq_len": True}, OptionError, "seq_len: .* got True"),
            ({"document_starts": [3, 2]}, DataError, "increasing positions, got 3 followed by 2 at index 1"),
            ({"document_starts": [3, 3]}, DataError, "increasing positions, got 3 followed by 3"),
            ({"document_starts": [3, 50]}, DataError, "position 50 is out of range (.|\n)*leave out the end"),
            ({"document_starts": [-1, 3]}, DataError, "position -1 is out of range for a stream of 50"),
            ({"document_starts": [0.5]}, DataError, "document_starts: expected positions, which are integers"),
            ({"document_starts": [[0]]}, ShapeError, "document_starts: expected one axis of positions"),
            ({"document_starts": []}, DataError, "document_starts: 1 documents of two or more tokens .* batch_size 4"),
            ({"document_starts": [0, 10, 20, 49]}, DataError, "3 documents of two or more tokens .*(.|\n)* may be cut"),
        ],
    )
    def test_bad_input(self, options, error, expected):
        with pytest.raises(error, match=expected):
            StreamLoader(**{"tokens": np.arange(50), "batch_size": 4, "seq_len": 5} | options)


def lengths_of_documents(draw):
    lengths = draw(st.lists(st.integers(1, 25), min_size=1, max_size=20).filter(lambda some: max(some) > 1))
    usable = sum(length > 1 for length in lengths)
    return lengths, draw(st.integers(1, usable)), draw(st.integers(1, 12))


DOCUMENTS = st.composite(lengths_of_documents)()


def in_documents(lengths, batch_size, seq_len, **options):
    """A stream whose tokens are their own positions, and where its documents begin."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    return StreamLoader(np.arange(ends[-1]), batch_size, seq_len, document_starts=starts, **options), starts.tolist()


def fewest_batches(chunks, rows):
    """By trying every end of the first row."""
    if rows == 1:
        return sum(chunks)
    return min(
        max(sum(chunks[:end]), fewest_batches(chunks[end:], rows - 1)) for end in range(1, len(chunks) - rows + 2)
    )


class TestDocuments:
    @given(DOCUMENTS)
    def test_every_pair_of_a_document_comes_once_and_no_pair_spans_two(self, stream):
        loader, starts = in_documents(*stream)
        seen = []
        for batch in loader:
            for inputs, targets in zip(counted(batch, batch.inputs), counted(batch, batch.targets), strict=True):
                seen += zip(inputs, targets, strict=True)
        end = len(loader.tokens)
        assert sorted(seen) == [(one, one + 1) for one in range(end - 1) if one + 1 not in starts]

    @given(DOCUMENTS)
    def test_a_row_goes_through_its_documents_in_their_order(self, stream):
        loader, starts = in_documents(*stream)
        rows = [[] for _ in range(loader.batch_size)]
        for batch in loader:
            for row, inputs, begins in zip(rows, counted(batch, batch.inputs), batch.starts.tolist(), strict=True):
                assert begins == bool(inputs and inputs[0] in starts)
                assert not set(inputs[1:]) & set(starts)
                row += inputs
        assert all(rows)
        everything = list(chain(*rows))
        assert everything == sorted(everything)

    @given(DOCUMENTS, st.integers(0, 20))
    def test_skipped_batches_are_left_out_of_the_next_iteration_alone(self, stream, skipped):
        loader, _ = in_documents(*stream)
        whole = list(loader)
        loader.skip_batches(skipped)
        for begin in (skipped, 0):
            assert [numbers(batch) for batch in loader] == [numbers(batch) for batch in whole[begin:]]

    @given(DOCUMENTS)
    def test_a_row_waits_for_no_other_before_its_last_document_ends(self, stream):
        batches = list(in_documents(*stream)[0])
        for before, after in pairwise(batches):
            empty_before, empty_after = (
                np.array([not row for row in counted(one, one.inputs)]) for one in (before, after)
            )
            assert not (empty_before & ~empty_after).any()

    @given(DOCUMENTS)
    def test_a_batch_is_as_long_as_its_longest_row_and_padded_with_zeros(self, stream):
        for batch in in_documents(*stream)[0]:
            longest = max(map(len, counted(batch, batch.inputs)))
            assert batch.inputs.shape == batch.targets.shape == (longest, stream[1])
            assert longest <= stream[2]
            if batch.mask is not None:
                assert not batch.mask.all()
                assert (batch.mask[1:] <= batch.mask[:-1]).all()
                assert not batch.inputs[~batch.mask].any()
                assert not batch.targets[~batch.mask].any()

    @given(DOCUMENTS)
    def test_there_are_as_few_batches_as_can_be(self, stream):
        lengths, batch_size, seq_len = stream
        loader, _ = in_documents(*stream)
        chunks = [-(-(length - 1) // seq_len) for length in lengths if length > 1]
        assert len(loader) == len(list(loader)) == fewest_batches(chunks, batch_size)

    @given(DOCUMENTS)
    def test_drop_last_leaves_out_the_batches_in_which_a_row_is_through(self, stream):
        busy = [one for one in in_documents(*stream)[0] if all(counted(one, one.inputs))]
        loader, _ = in_documents(*stream, drop_last=True)
        assert [numbers(one) for one in loader] == [numbers(one) for one in busy]
        assert len(loader) == len(busy)

    def test_what_comes_before_the_first_start_is_a_document(self):
        one, other = (StreamLoader(np.arange(30), 2, 4, document_starts=some) for some in ([9, 17], [0, 9, 17]))
        assert list(map(numbers, one)) == list(map(numbers, other))

    def test_no_start_is_one_document(self):
        (batch,) = StreamLoader(np.arange(9), 1, 20, document_starts=[])
        assert batch.inputs[:, 0].tolist() == list(range(8))


STREAM = np.random.default_rng(0).integers(0, 5, 97)
STARTS = [0, 1, 14, 31, 33, 60, 71, 90]
PARTS = [part for part in np.split(STREAM, STARTS[1:]) if len(part) > 1]


def network(seed=0):
    # Not the initial weights: with biases and larger weights, a state that leaks is felt.
    model = RecurrentModel(6, vocab_size=5, dtype="float64", seed=seed)
    model.parameters.flat[:] = np.random.default_rng(seed).normal(size=model.parameters.flat.size) * 0.7
    return model


def alone(model, document):
    """The loss of one document from a zero state, summed over its tokens."""
    logits, _ = model.predict(document[:-1, None], model.zero_state(1))
    logits = logits[:, 0]
    totals = np.log(np.exp(logits).sum(axis=1))
    return float((totals - logits[np.arange(len(logits)), document[1:]]).sum())


class TestTruncation:
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
    def test_gradients_are_those_of_full_backpropagation_where_a_chunk_is_a_whole_document(self, batch_size):
        model = network()
        (whole,) = SequenceLoader(PARTS, len(PARTS))
        loss, _ = model.forward(whole, model.zero_state(whole.size))
        expected = model.backward().flat.copy()

        summed, total = np.zeros_like(expected), 0.0
        for batch in StreamLoader(STREAM, batch_size, 97, document_starts=STARTS):
            assert batch.inputs.shape[0] == max(map(len, counted(batch, batch.inputs)))
            part, _ = model.forward(batch, model.zero_state(batch.size))
            summed += model.backward().flat * batch.tokens / whole.tokens
            total += part * batch.tokens / whole.tokens
        assert total == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(summed, expected, rtol=1e-9, atol=1e-13)

        # And both are what the documents' losses, one by one, change by.
        direction = np.random.default_rng(1).normal(size=expected.size)
        changed = []
        for step in (3e-6, -3e-6):
            moved = network()
            moved.parameters.flat[:] += step * direction
            changed.append(sum(alone(moved, part) for part in PARTS) / whole.tokens)
        assert summed @ direction == pytest.approx((changed[0] - changed[1]) / 6e-6, rel=1e-6)

    def test_gradients_are_those_of_full_backpropagation_where_a_chunk_is_the_whole_stream(self):
        model = network()
        (batch,) = StreamLoader(STREAM, 1, 96)
        model.forward(batch, model.zero_state(1))
        found = model.backward().flat.copy()
        direction = np.random.default_rng(1).normal(size=found.size)
        changed = []
        for step in (3e-6, -3e-6):
            moved = network()
            moved.parameters.flat[:] += step * direction
            changed.append(alone(moved, STREAM) / 96)
        assert found @ direction == pytest.approx((changed[0] - changed[1]) / 6e-6, rel=1e-6)


class Watch:
    """Keeps what each batch of a phase entered with, ended with and lost."""

    def __init__(self, phase):
        self.phase, self.seen, self.states = phase, [], []

    @hookimpl
    def on_batch_end(self, batch):
        if batch.phase == self.phase:
            self.seen.append((batch.data, batch.loss))
            if "hidden_states" in batch.observed:
                states = batch.observed["hidden_states"]
                self.states.append((batch.data, states[0].copy(), states.copy()))


class TestTraining:
    @pytest.mark.parametrize("seq_len", [1, 3, 7, 96])
    @pytest.mark.parametrize("batch_size", [1, 3])
    def test_each_document_loses_what_it_loses_alone(self, batch_size, seq_len):
        model, watch = network(), Watch("val")
        loader = StreamLoader(STREAM, batch_size, seq_len, document_starts=STARTS)
        Trainer(model, SGD(), plugins=[HiddenStateReset(), watch], learning_rate=0.01).fit(loader, loader, max_epochs=1)
        losses = [alone(model, part) for part in PARTS]
        assert sum(loss * batch.tokens for batch, loss in watch.seen) == pytest.approx(sum(losses), rel=1e-12)
        if batch_size == 1:
            seen = []
            for batch, loss in watch.seen:
                if batch.starts[0]:
                    seen.append(0.0)
                seen[-1] += loss * batch.tokens
            assert seen == pytest.approx(losses, rel=1e-12)

    def test_rows_enter_with_zeros_where_they_start_and_else_with_what_they_ended_with(self):
        watch = Watch("train")
        loader = StreamLoader(STREAM, 3, 4, document_starts=STARTS)
        Trainer(network(), SGD(), plugins=[HiddenStateReset(), watch], learning_rate=0.01).fit(loader, max_epochs=2)
        assert len(watch.states) == 2 * len(loader)
        carried = 0
        for (before, _, states), (after, entering, _) in pairwise(watch.states):
            ends = before.inputs.shape[0] if before.mask is None else before.mask.sum(axis=0)
            final = states[ends, np.arange(3)]
            assert not entering[after.starts].any()
            np.testing.assert_array_equal(entering[~after.starts], final[~after.starts])
            carried += int((~after.starts).sum())
        assert carried > 10


def peak(path, count, document_starts, use):
    """The most memory that was allocated at a time, over a file of so many tokens."""
    np.resize(np.arange(256, dtype=np.uint16), count).tofile(path)
    tokens = np.memmap(path, dtype=np.uint16, mode="r")
    gc.collect()  # an earlier run, or its collection in the middle of this one, would count
    tracemalloc.start()
    try:
        use(StreamLoader(tokens, 8, 32, document_starts=document_starts))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read(loader):
    assert sum(batch.tokens for batch in loader) >= len(loader.tokens) - 16


def train(loader):
    model = RecurrentModel(4, vocab_size=256)
    trainer = Trainer(model, SGD(), plugins=[HiddenStateReset(), LossAveraging()], learning_rate=0.01)
    trainer.fit(loader, max_epochs=1, progress=False)  # whose plugin is looked up and loaded in each run


class TestMemory:
    @pytest.mark.parametrize("use", [read, train])
    @pytest.mark.parametrize("documents", [None, 16])
    def test_does_not_grow_with_the_stream(self, tmp_path, use, documents):
        size = 2_500

        def of(count):
            starts = None if documents is None else np.arange(documents) * (count // documents)
            return peak(tmp_path / "tokens", count, starts, use)

        of(size // 10)  # what is allocated once, such as imports
        # A copy of the longer stream would be 50,000 bytes. Other threads of the test run allocate now and then, and
        # their memory is counted too, so one of three measurements has to be within the limit.
        limit = min(of(size), of(size)) + 20_000
        assert any(of(10 * size) < limit for _ in range(3))

    @pytest.mark.parametrize("cut", [lambda tokens: tokens[::-1], lambda tokens: tokens[::2], lambda tokens: tokens])
    def test_does_not_copy_the_stream(self, tmp_path, cut):
        np.zeros(1_000_000, dtype=np.uint16).tofile(tmp_path / "tokens")
        tokens = cut(np.memmap(tmp_path / "tokens", dtype=np.uint16, mode="r"))
        loader = StreamLoader(tokens, 4, 10)
        assert np.shares_memory(loader.tokens, tokens)
        tracemalloc.start()
        batch = next(iter(loader))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert batch.inputs.dtype == np.intp
        assert most < 20_000
