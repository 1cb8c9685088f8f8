"""Twelve small tasks, as arrays with time first. Half of them are for setting thresholds, half for reports only."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text

Pair: TypeAlias = tuple[Array, Array]
"""Inputs (time, batch) of token numbers or (time, batch, features) of real numbers; targets (time, batch) or (batch,)
of classes, or the same with a last axis of one real number."""

CHARACTERS = slice(0, 40_000)
PROSE = slice(200_000, 240_000)
"""The parts of the embedded text from which two tasks are made."""


@attrs.frozen(kw_only=True)
class IndependentTask:
    """A task, and the function that makes its batches.

    Attributes
    ----------
    name:
        Its name.
    inputs, outputs:
        Numbers of input features (or of distinct tokens) and of outputs.
    kind:
        Whether targets are classes or real numbers.
    where:
        Whether a loss is taken at each step or at the last one.
    uninformed:
        Loss of the best constant prediction, at most: ln of the number of classes, or the variance of the targets.
    make:
        Makes ``count`` batches of ``size`` sequences each.
    for_tuning:
        Whether thresholds may be set on it; if not, it is for reports only.
    stream:
        Whether each batch continues the one before.
    next_token:
        Whether the targets are the inputs one step later.
    """

    name: str
    inputs: int
    outputs: int
    kind: Literal["classes", "real"] = "classes"
    where: Literal["each step", "last step"] = "each step"
    uninformed: float
    make: Callable[[np.random.Generator, int, int], list[Pair]]
    for_tuning: bool
    stream: bool = False
    next_token: bool = False

    def batches(self, seed: int, count: int, size: int) -> list[Pair]:
        """``count`` batches of ``size`` sequences, drawn from a seed."""
        return self.make(np.random.default_rng([seed, zlib.crc32(self.name.encode())]), count, size)


def _independent(
    batch: Callable[[np.random.Generator, int], Pair],
) -> Callable[[np.random.Generator, int, int], list[Pair]]:
    return lambda generator, count, size: [batch(generator, size) for _ in range(count)]


# One batch of unrelated sequences ------------------------------------------------------------------------------------


def _parity(generator: np.random.Generator, size: int) -> Pair:
    bits = generator.integers(0, 2, (8, size))
    return bits, bits.cumsum(axis=0) % 2


def _depth(generator: np.random.Generator, size: int) -> Pair:
    """Whether each bracket opens, and how many are open after it, at most four."""
    x, y = np.zeros((14, size), int), np.zeros((14, size), int)
    depth = np.zeros(size, int)
    for t in range(14):
        opens = (generator.random(size) < 0.5) & (depth < 4) | (depth == 0)
        depth = depth + np.where(opens, 1, -1)
        x[t], y[t] = opens, depth
    return x, y


def _dyck(generator: np.random.Generator, size: int) -> Pair:
    """Words of two kinds of brackets, and the next symbol."""
    words = np.zeros((17, size), int)
    for column in range(size):
        stack: list[int] = []
        for t in range(17):
            if not stack or (len(stack) < 4 and generator.random() < 0.5):
                stack.append(int(generator.integers(2)))
                words[t, column] = stack[-1]
            else:
                words[t, column] = 2 + stack.pop()
    return words[:-1], words[1:]


def _sine(generator: np.random.Generator, size: int) -> Pair:
    start, speed = generator.uniform(0, 2 * np.pi, size), generator.uniform(0.2, 0.6, size)
    wave = np.sin(start + speed * np.arange(16)[:, None])[:, :, None]
    return wave[:-1] + generator.normal(0, 0.02, (15, size, 1)), wave[1:]


def _copy(generator: np.random.Generator, size: int) -> Pair:
    """The token two steps ago; nothing shows the first two."""
    tokens = generator.integers(0, 6, (14, size))
    return tokens[2:], tokens[:-2]


def _adding(generator: np.random.Generator, size: int) -> Pair:
    """Twelve numbers, two of them marked, and the sum of these two."""
    x = np.zeros((12, size, 2))
    x[:, :, 0] = generator.random((12, size))
    for column in range(size):
        x[generator.choice(12, 2, replace=False), column, 1] = 1.0
    return x, (x[:, :, 0] * x[:, :, 1]).sum(axis=0)[:, None]


def _bag(generator: np.random.Generator, size: int) -> Pair:
    """Ten tokens, four of which are the label, and that label."""
    label = generator.integers(0, 4, size)
    x = generator.integers(0, 8, (10, size))
    for column in range(size):
        x[generator.choice(10, 4, replace=False), column] = label[column]
    return x, label


_PERMUTATION = np.random.default_rng(7).permutation(20)


def _permuted(generator: np.random.Generator, size: int) -> Pair:
    """A sine with its time steps permuted, and which of three frequencies it has."""
    label = generator.integers(0, 3, size)
    wave = np.sin(generator.uniform(0, 2 * np.pi, size) + (0.3 + 0.5 * label) * np.arange(20)[:, None])
    return (wave + generator.normal(0, 0.1, (20, size)))[_PERMUTATION][:, :, None], label


@cache
def _tokens(start: int, stop: int) -> tuple[Array, int]:
    """A part of the embedded text as token numbers, and the size of its vocabulary."""
    text = embedded_text()[start:stop].lower()
    vocabulary = Vocabulary.from_tokens(text)
    return np.asarray(vocabulary.encode(text)), len(vocabulary)


def _characters(generator: np.random.Generator, size: int) -> Pair:
    tokens, _ = _tokens(CHARACTERS.start, CHARACTERS.stop)
    chunks = tokens[generator.integers(0, len(tokens) - 15, size) + np.arange(15)[:, None]]
    return chunks[:-1], chunks[1:]


# Streams -------------------------------------------------------------------------------------------------------------


def _chunked(x: Array, y: Array, steps: int) -> list[Pair]:
    return [(x[t : t + steps], y[t : t + steps]) for t in range(0, len(x) - steps + 1, steps)]


def _lagged(generator: np.random.Generator, count: int, size: int) -> list[Pair]:
    """The token three steps ago, in chunks of six steps."""
    tokens = generator.integers(0, 5, (6 * count + 3, size))
    return _chunked(tokens[3:], tokens[:-3], 6)


def _latch(generator: np.random.Generator, count: int, size: int) -> list[Pair]:
    """Token 0 at most steps, and the last token that was not 0, in chunks of ten steps."""
    x = np.where(generator.random((10 * count, size)) < 0.15, generator.integers(1, 5, (10 * count, size)), 0)
    x[0] = generator.integers(1, 5, size)
    y = np.zeros_like(x)
    y[0] = x[0]
    for t in range(1, len(x)):
        y[t] = np.where(x[t] > 0, x[t], y[t - 1])
    return _chunked(x, y - 1, 10)


def _prose(generator: np.random.Generator, count: int, size: int) -> list[Pair]:
    """Rows of text that begin at different places and go on from chunk to chunk of fourteen characters."""
    tokens, _ = _tokens(PROSE.start, PROSE.stop)
    starts = generator.integers(0, len(tokens) - 14 * count - 1, size)
    rows = tokens[starts + np.arange(14 * count + 1)[:, None]]
    return _chunked(rows[:-1], rows[1:], 14)


_V, _W = _tokens(CHARACTERS.start, CHARACTERS.stop)[1], _tokens(PROSE.start, PROSE.stop)[1]
_ALL = (
    IndependentTask(
        name="parity", inputs=2, outputs=2, uninformed=math.log(2), make=_independent(_parity), for_tuning=True
    ),
    IndependentTask(
        name="depth", inputs=2, outputs=5, uninformed=math.log(5), make=_independent(_depth), for_tuning=True
    ),
    IndependentTask(
        name="sine", inputs=1, outputs=1, kind="real", uninformed=0.5, make=_independent(_sine), for_tuning=True
    ),
    IndependentTask(
        name="copy", inputs=6, outputs=6, uninformed=math.log(6), make=_independent(_copy), for_tuning=True
    ),
    IndependentTask(
        name="characters",
        inputs=_V,
        outputs=_V,
        uninformed=math.log(_V),
        make=_independent(_characters),
        for_tuning=True,
        next_token=True,
    ),
    IndependentTask(
        name="lagged", inputs=5, outputs=5, uninformed=math.log(5), make=_lagged, for_tuning=True, stream=True
    ),
    IndependentTask(
        name="adding",
        inputs=2,
        outputs=1,
        kind="real",
        where="last step",
        uninformed=1 / 6,
        make=_independent(_adding),
        for_tuning=False,
    ),
    IndependentTask(
        name="dyck",
        inputs=4,
        outputs=4,
        uninformed=math.log(4),
        make=_independent(_dyck),
        for_tuning=False,
        next_token=True,
    ),
    IndependentTask(
        name="bag",
        inputs=8,
        outputs=4,
        where="last step",
        uninformed=math.log(4),
        make=_independent(_bag),
        for_tuning=False,
    ),
    IndependentTask(
        name="permuted",
        inputs=1,
        outputs=3,
        where="last step",
        uninformed=math.log(3),
        make=_independent(_permuted),
        for_tuning=False,
    ),
    IndependentTask(
        name="latch", inputs=5, outputs=4, uninformed=math.log(4), make=_latch, for_tuning=False, stream=True
    ),
    IndependentTask(
        name="prose",
        inputs=_W,
        outputs=_W,
        uninformed=math.log(_W),
        make=_prose,
        for_tuning=False,
        stream=True,
        next_token=True,
    ),
)

INDEPENDENT_TASKS: Mapping[str, IndependentTask] = MappingProxyType({task.name: task for task in _ALL})
"""The tasks by name."""
