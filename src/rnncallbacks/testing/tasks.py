"""The small tasks of the fault kit, each with training, validation and held-out data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import MappingProxyType

import attrs
import numpy as np
import numpy.typing as npt

from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import ArrayLoader, SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text

Tokens = npt.NDArray[np.intp]

SEQ_LEN = 20
BATCH_SIZE = 16
"""Time steps and sequences of a batch. Chosen by eye, so that a run takes seconds."""


@attrs.frozen(eq=False)
class TaskData:
    """The data of one run. ``held_out`` is not seen by the run, and scores its network."""

    train: Iterable[SequenceBatch]
    validation: Iterable[SequenceBatch]
    held_out: Iterable[SequenceBatch]


@attrs.frozen(eq=False)
class Task:
    """A task that is learned in a few hundred batches.

    Parameters
    ----------
    name:
        Key in ``TASKS``.
    vocab_size:
        Number of tokens; in a regression, number of inputs and of outputs.
    epochs:
        Epochs of a run.
    make:
        Function that returns the data of a seed.
    seq_len, batch_size:
        Time steps and sequences of a full batch.
    stream:
        Whether each batch continues the batch before (contiguous batches), so that the state must be carried.
    regression:
        Whether inputs and targets are real numbers and the loss is the squared error.
    """

    name: str
    vocab_size: int
    epochs: int
    make: Callable[[int], TaskData]
    seq_len: int = SEQ_LEN
    batch_size: int = BATCH_SIZE
    stream: bool = False
    regression: bool = False


class MappedLoader:
    """The batches of a loader, each changed by a function."""

    def __init__(self, batches: Iterable[SequenceBatch], change: Callable[[SequenceBatch], SequenceBatch]) -> None:
        self.batches = batches
        self.change = change

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def set_epoch(self, epoch: int) -> None:
        """Passes the epoch to the wrapped loader."""
        if hasattr(self.batches, "set_epoch"):
            self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[SequenceBatch]:
        return map(self.change, self.batches)


@cache
def _characters() -> Tokens:
    """The embedded text, reduced to 26 letters and spaces.

    The other characters are mostly rulers and tables.
    """
    text = re.sub("[^a-z]+", " ", embedded_text().lower())
    return Vocabulary.from_tokens(text).encode(text)


VOCABULARY_WORDS = 300
"""Tokens: one for each of the most frequent words, and one for all others. Chosen by eye."""


@cache
def _words() -> Tokens:
    """The embedded text as tokens of its most frequent words. Token 0 is every other word."""
    words = re.findall("[a-z]+", embedded_text().lower())
    numbers = {
        word: number for number, (word, _) in enumerate(Counter(words).most_common(VOCABULARY_WORDS - 1), start=1)
    }
    return np.array([numbers.get(word, 0) for word in words], dtype=np.intp)


def text_slice(seed: int, length: int) -> Tokens:
    """A slice of the text, whose start is drawn from the seed."""
    return _slice(_characters(), seed, length)


def _slice(tokens: Tokens, seed: int, length: int) -> Tokens:
    start = int(np.random.default_rng([seed, 1]).integers(len(tokens) - length))
    return tokens[start : start + length]


def _split_text(tokens: Tokens, seed: int) -> list[Tokens]:
    """30 batches for training, 3 for validation and 3 held out, with one token more in each for the last target."""
    size = BATCH_SIZE * SEQ_LEN
    return np.split(_slice(tokens, seed, 36 * size + 3), [30 * size + 1, 33 * size + 2])


def token_chunks(tokens: Tokens, seed: int) -> ArrayLoader:
    """The tokens as unrelated chunks, shuffled in each epoch."""
    count = (len(tokens) - 1) // SEQ_LEN
    inputs = tokens[: count * SEQ_LEN].reshape(count, SEQ_LEN)
    targets = tokens[1 : count * SEQ_LEN + 1].reshape(count, SEQ_LEN)
    return ArrayLoader(inputs, targets, BATCH_SIZE, seed=seed, drop_last=True)


def _make_characters(seed: int) -> TaskData:
    parts = _split_text(_characters(), seed)
    return TaskData(*(token_chunks(part, seed) for part in parts))


def _make_stream(seed: int) -> TaskData:
    return _stream(_split_text(_characters(), seed))


def _make_words(seed: int) -> TaskData:
    return _stream(_split_text(_words(), seed))


def _stream(parts: list[Tokens]) -> TaskData:
    return TaskData(*(StreamLoader(part, BATCH_SIZE, SEQ_LEN, drop_last=True) for part in parts))


ECHO_VOCAB, ECHO_LAG = 8, 3
RECALL_LEN = 6
"""Tokens of the echo task and the steps of its delay; time steps of the recall task. Chosen by eye."""


def _make_echo(seed: int) -> TaskData:
    """The target is the input three time steps before, and token 0 in the first three."""
    generator = np.random.default_rng([seed, 2])

    def loader(batches: int) -> ArrayLoader:
        inputs = generator.integers(ECHO_VOCAB, size=(batches * BATCH_SIZE, SEQ_LEN))
        targets = np.zeros_like(inputs)
        targets[:, ECHO_LAG:] = inputs[:, :-ECHO_LAG]
        return ArrayLoader(inputs, targets, BATCH_SIZE, seed=seed, drop_last=True)

    return TaskData(loader(30), loader(3), loader(3))


def _make_recall(seed: int) -> TaskData:
    """A stream in which a token repeats the one three before it with probability 0.9.

    In chunks of six time steps, a third of the targets depend on the chunk before.
    """
    generator = np.random.default_rng([seed, 8])

    def loader(batches: int) -> StreamLoader:
        tokens = generator.integers(ECHO_VOCAB, size=batches * BATCH_SIZE * RECALL_LEN + 1)
        repeats = generator.random(len(tokens)) < 0.9
        for position in range(3, len(tokens)):
            if repeats[position]:
                tokens[position] = tokens[position - 3]
        return StreamLoader(tokens, BATCH_SIZE, RECALL_LEN, drop_last=True)

    return TaskData(loader(60), loader(6), loader(6))


def _make_anbn(seed: int) -> TaskData:
    return TaskData(
        *(SequenceLoader(part, BATCH_SIZE, seed=seed, drop_last=True) for part in _sentences(seed, 320, 48))
    )


def _make_single(seed: int) -> TaskData:
    return TaskData(*(SequenceLoader(part, 1, seed=seed) for part in _sentences(seed, 80, 10)))


def _sentences(seed: int, train: int, rest: int) -> tuple[list[Tokens], list[Tokens], list[Tokens]]:
    sentences = anbn(train + 2 * rest, max_n=10, seed=seed)
    return sentences[:train], sentences[train : train + rest], sentences[train + rest :]


class RotatingLoader:
    """Yields the next ``count`` batches of a list in each epoch, and starts again at its end."""

    def __init__(self, batches: list[SequenceBatch], count: int) -> None:
        self.batches = batches
        self.count = count
        self._next = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[SequenceBatch]:
        for _ in range(self.count):
            yield self.batches[self._next % len(self.batches)]
            self._next += 1


def _make_parity(seed: int) -> TaskData:
    """The target says whether two neighboring bits differ. The loss has a plateau of hundreds of short epochs."""
    generator = np.random.default_rng([seed, 9])

    def batches(count: int) -> list[SequenceBatch]:
        bits = generator.integers(2, size=(count, SEQ_LEN + 1, BATCH_SIZE))
        return [SequenceBatch(one[1:], one[1:] ^ one[:-1]) for one in bits]

    return TaskData(RotatingLoader(batches(60), 2), batches(1), batches(3))


def _make_waves(seed: int) -> TaskData:
    """The target is the next value of a sum of two sine waves with noise."""
    generator = np.random.default_rng([seed, 5])

    def loader(batches: int) -> ArrayLoader:
        rows = batches * BATCH_SIZE
        time = np.arange(SEQ_LEN + 1) + generator.uniform(0, 100, (rows, 1))
        waves = np.sin(0.5 * time) + 0.5 * np.sin(0.17 * time) + 0.1 * generator.standard_normal(time.shape)
        values = waves[:, :, None].astype(np.float32)
        return ArrayLoader(values[:, :-1], values[:, 1:], BATCH_SIZE, seed=seed, drop_last=True)

    return TaskData(loader(30), loader(3), loader(3))


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            Task("characters", 27, 10, _make_characters),
            Task("stream", 27, 10, _make_stream, stream=True),
            Task("words", VOCABULARY_WORDS, 10, _make_words, stream=True),
            Task("echo", ECHO_VOCAB, 10, _make_echo),
            Task("recall", ECHO_VOCAB, 6, _make_recall, seq_len=RECALL_LEN, stream=True),
            Task("anbn", 4, 15, _make_anbn),
            Task("parity", 2, 600, _make_parity),
            Task("waves", 1, 10, _make_waves, regression=True),
            Task("anbn_single", 4, 5, _make_single, batch_size=1),
        )
    }
)
"""The tasks by name."""
