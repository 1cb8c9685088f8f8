"""The loss of an n-gram model, a baseline for recurrent networks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.validation import IntArray, as_tokens, check_count


def ngram_loss(
    train: npt.ArrayLike, held_out: npt.ArrayLike, vocab_size: int, order: int, smoothing: float = 0.01
) -> float:
    """Mean negative log-likelihood of held-out tokens under an additively smoothed n-gram model, in nats per token.

    With n the order, V the vocabulary size, s the smoothing, and counts c taken from ``train``::

        p(w | context) = (c(context w) + s) / (c(context) + s V),    context: the n - 1 tokens before w

    The mean is over the held-out tokens that follow a complete context. A network with a lower loss has learned more
    than the frequencies of n-grams. Only n-grams that occur are stored.

    Parameters
    ----------
    train, held_out:
        Token numbers below ``vocab_size``, of shape (count,), at least ``order`` of each.
    vocab_size:
        V, 1 or more.
    order:
        n: 1 for single tokens, 2 for bigrams, 3 for trigrams.
    smoothing:
        s, above 0.

    Raises
    ------
    DataError
        A token is out of range or not an integer, or there are fewer than ``order`` tokens.
    ShapeError
        The tokens do not have exactly one axis.
    OptionError
        ``vocab_size``, ``order`` or ``smoothing`` is out of range.

    Example
    -------
    In an alternating sequence, each token determines the next one:

    >>> tokens = np.tile([0, 1], 50)
    >>> round(ngram_loss(tokens, tokens, vocab_size=2, order=1), 4)
    0.6931
    >>> round(ngram_loss(tokens, tokens, vocab_size=2, order=2), 4)
    0.0002

    Source: Manning and Schütze, "Foundations of Statistical Natural Language Processing" (1999), section 6.2.2
    (Lidstone's law).
    """
    check_count("vocab_size", vocab_size)
    if check_count("order", order) > 3:
        raise OptionError(f"order: expected 1, 2 or 3, got {order}")
    if not (np.isfinite(smoothing) and smoothing > 0.0):
        raise OptionError(
            f"smoothing: expected a number above 0, got {smoothing!r}",
            hint="with 0, the loss of an unseen n-gram is infinite",
        )
    if vocab_size**order > np.iinfo(np.int64).max:
        raise OptionError(f"vocab_size: {vocab_size} is too large to number n-grams of order {order} in 64 bits")
    train_codes = _ngrams("train", train, vocab_size, order)
    held_out_codes = _ngrams("held_out", held_out, vocab_size, order)
    joint = _counts(train_codes, held_out_codes)
    context = _counts(train_codes // vocab_size, held_out_codes // vocab_size)
    return float(np.mean(np.log(context + smoothing * vocab_size) - np.log(joint + smoothing)))


def _ngrams(name: str, tokens: npt.ArrayLike, vocab_size: int, order: int) -> npt.NDArray[np.int64]:
    """Each n-gram as one integer, whose digits to the base ``vocab_size`` are the tokens."""
    checked = as_tokens(name, tokens)
    if len(checked) < order:
        raise DataError(f"{name}: expected at least {order} tokens for order {order}, got {len(checked)}")
    if checked.max() >= vocab_size:
        position = int(np.argmax(checked >= vocab_size))
        raise DataError(
            f"{name}: expected token numbers below vocab_size {vocab_size}, got {checked[position]} at {position}"
        )
    count = len(checked) - order + 1
    codes = np.zeros(count, dtype=np.int64)
    for offset in range(order):
        codes = codes * vocab_size + checked[offset : offset + count]
    return codes


def _counts(train: IntArray, held_out: IntArray) -> IntArray:
    """The number of occurrences in ``train`` of each entry of ``held_out``."""
    codes, counts = np.unique(train, return_counts=True)
    positions = np.searchsorted(codes, held_out).clip(max=len(codes) - 1)
    return np.where(codes[positions] == held_out, counts[positions], 0)
