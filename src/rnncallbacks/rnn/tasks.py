"""The toy language a^n b^n: as many b as a, then an end mark. A task that needs a memory, solved in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.checks import check_count
from rnncallbacks.rnn.text import Vocabulary

Sentence = TypeVar("Sentence")

ANBN_VOCABULARY = Vocabulary(("UNK", "a", "b", "EOS"), unknown="UNK")


def anbn(count: int = 100, *, min_n: int = 1, max_n: int = 12, seed: int = 0) -> list[npt.NDArray[np.intp]]:
    """Sentences of the language a^n b^n, each followed by EOS, with n drawn evenly from ``min_n`` to ``max_n``.

    The first b cannot be foreseen; all that follows it can, by counting. A network that has learned the task is sure of
    every token behind the first b, EOS included.

    Parameters
    ----------
    count:
        Number of sentences, 1 or more.
    min_n, max_n:
        Smallest and largest n, 1 or more; a sentence has 2n + 1 tokens.
    seed:
        Of the drawing, 0 or more.

    Returns
    -------
    list of arrays
        The token numbers of each sentence in ``ANBN_VOCABULARY``, for a ``SequenceLoader``; with ``batch_size=1``, one
        sentence per batch.

    Raises
    ------
    OptionError
        An option is out of range, or ``min_n`` is above ``max_n``.

    Example
    -------
    >>> for sentence in anbn(3, max_n=4, seed=1):
    ...     print(" ".join(ANBN_VOCABULARY.decode(sentence)))
    a a b b EOS
    a a a b b b EOS
    a a a a b b b b EOS

    Source: Gers and Schmidhuber, "LSTM recurrent networks learn simple context-free and context-sensitive languages",
    IEEE Transactions on Neural Networks 12 (2001).
    """
    check_count("count", count)
    if check_count("min_n", min_n) > check_count("max_n", max_n):
        raise OptionError(f"min_n: expected at most max_n {max_n}, got {min_n}")
    lengths = np.random.default_rng(check_count("seed", seed, minimum=0)).integers(min_n, max_n, count, endpoint=True)
    a, b, end = ANBN_VOCABULARY.encode(["a", "b", "EOS"])
    return [np.repeat([a, b, end], [n, n, 1]) for n in lengths]


def train_validation_test(
    sequences: Sequence[Sentence], validation: float = 0.1, test: float = 0.1
) -> tuple[list[Sentence], list[Sentence], list[Sentence]]:
    """The sequences in three parts, in their order: by default 80 %, 10 % and 10 % of them.

    Raises
    ------
    OptionError
        A share is not between 0 and 1, or nothing is left for training.
    DataError
        There are too few sequences for each part to have one.

    Example
    -------
    >>> [len(part) for part in train_validation_test(anbn(100))]
    [80, 10, 10]
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0.0 < share < 1.0:
            raise OptionError(f"{name}: expected a share between 0 and 1, got {share!r}")
    if validation + test >= 1.0:
        raise OptionError(f"validation {validation} and test {test} leave nothing for training")
    total = len(sequences)
    tested = round(test * total)
    trained = total - tested - round(validation * total)
    parts = list(sequences[:trained]), list(sequences[trained : total - tested]), list(sequences[total - tested :])
    if not all(parts):
        raise DataError(
            f"{total} sequences are too few for validation {validation} and test {test}: the parts would have "
            f"{', '.join(str(len(part)) for part in parts)}"
        )
    return parts
