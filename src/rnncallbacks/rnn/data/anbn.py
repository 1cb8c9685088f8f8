"""The toy language a^n b^n: n times a, n times b, and an end mark. A memory task that is learned in seconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.data.text import Vocabulary
from rnncallbacks.rnn.validation import check_count

ANBN_VOCABULARY = Vocabulary(("UNK", "a", "b", "EOS"), unknown="UNK")


def anbn(count: int = 100, *, min_n: int = 1, max_n: int = 12, seed: int = 0) -> list[npt.NDArray[np.intp]]:
    """Sentences of the language a^n b^n, each followed by EOS, with n uniform between ``min_n`` and ``max_n``.

    The position of the first b is random. All later tokens, including EOS, can be predicted with certainty by counting.

    Parameters
    ----------
    count:
        Number of sentences, 1 or more.
    min_n, max_n:
        Smallest and largest n, 1 or more. A sentence has 2n + 1 tokens.
    seed:
        Of the random numbers, 0 or more.

    Returns
    -------
    list of arrays
        The token numbers of each sentence in ``ANBN_VOCABULARY``, for a ``SequenceLoader``.

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
