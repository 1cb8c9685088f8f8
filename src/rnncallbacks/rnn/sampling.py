"""Sampling of tokens from a trained network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.containers import Array, FloatArray
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.validation import IntArray, as_tokens, check_count

# Smallest temperature in use. A smaller one is 0 in float32, for which the weight of the most probable token is 0 / 0.
# At this temperature, all other tokens have weight 0.
_MIN_TEMPERATURE = 1e-37


class Predictor(Protocol):
    """The interface of a network for ``sample``."""

    def zero_state(self, batch_size: int) -> Any:
        """The initial state of a sequence."""

    def predict(self, inputs: Array, state: Any) -> tuple[Array, Any]:
        """Logits (seq_len, batch, vocab_size) for tokens (seq_len, batch), and the final state."""


def sample(
    model: Predictor,
    prompt_tokens: npt.ArrayLike,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[int]:
    r"""Tokens that continue a prompt, drawn one at a time as the iterator is consumed.

    .. math:: p(w) = \frac{e^{z_w / T}}{\sum_v e^{z_v / T}}

    with the logits z of the last step and the temperature T. The drawn token is the input of the next step. ``top_k``,
    then ``top_p`` remove improbable tokens, and the probabilities of the others are normalized again. Of equally
    probable tokens, those with lower numbers are kept.

    Parameters
    ----------
    model:
        A unidirectional network that predicts the next token at each step.
    prompt_tokens:
        At least one token, of shape (count,). They are not part of the result.
    length:
        Number of tokens to draw, 0 or more.
    temperature:
        T, above 0. Below 1, probable tokens are drawn more often than the network predicts; above 1, less often.
    top_k:
        Draw from this number of the most probable tokens, 1 or more; None: from all.
    top_p:
        Draw from the smallest set of tokens whose probabilities sum to at least this, above 0. With 1, from all tokens.
    seed:
        Of the random numbers, 0 or more.

    Yields
    ------
    int
        The next token.

    Raises
    ------
    OptionError
        ``temperature``, ``top_k``, ``top_p``, ``length`` or ``seed`` is out of range, or the outputs of the network are
        not logits of the next token.
    DataError
        The prompt is empty or not made of token numbers, or the logits are not finite.
    ShapeError
        The prompt does not have exactly one axis.

    Example
    -------
    A network that has learned the alphabet:

    >>> class Alphabet:
    ...     def zero_state(self, batch_size):
    ...         return None
    ...     def predict(self, inputs, state):
    ...         return 100.0 * np.eye(26)[(inputs + 1) % 26], state
    >>> "".join("abcdefghijklmnopqrstuvwxyz"[token] for token in sample(Alphabet(), [23], length=4))
    'yzab'

    Source: top_k: Fan, Lewis and Dauphin, "Hierarchical neural story generation" (2018); top_p: Holtzman et al., "The
    curious case of neural text degeneration" (2020).
    """
    if isinstance(model, RecurrentModel):
        _check_outputs(model)
    prompt = as_tokens("prompt_tokens", prompt_tokens)
    if not prompt.size:
        raise DataError("prompt_tokens: expected at least one token, got none")
    check_count("length", length, minimum=0)
    if not (np.isfinite(temperature) and temperature > 0.0):
        raise OptionError(
            f"temperature: expected a number above 0, got {temperature!r}",
            hint="with 0.1 or less, the most probable token is nearly always drawn",
        )
    if top_k is not None:
        check_count("top_k", top_k)
    if not 0.0 < top_p <= 1.0:
        raise OptionError(f"top_p: expected a number above 0 and at most 1, got {top_p!r}", hint="1 keeps all tokens")
    generator = np.random.default_rng(check_count("seed", seed, minimum=0))
    # A separate generator, so that the checks above run immediately.
    return _draw(model, prompt[:, None], length, temperature, top_k, top_p, generator)


def _check_outputs(model: RecurrentModel) -> None:
    for option, needed in (
        ("output", "step"),
        ("loss", "nll"),
        ("bidirectional", False),
        ("output_size", model.vocab_size),
    ):
        if getattr(model, option) != needed:
            raise OptionError(
                f"sample: the outputs of this model are not logits of the next token: {option} is "
                f"{getattr(model, option)!r}, expected {needed!r}",
                hint="make the model with vocab_size, output='step' and bidirectional=False",
            )


def _draw(
    model: Predictor,
    inputs: Array,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float,
    generator: np.random.Generator,
) -> Iterator[int]:
    state = model.zero_state(1)
    for _ in range(length):
        logits, state = model.predict(inputs, state)
        weights = _weights(logits[-1, 0], temperature)
        tokens = most_probable(weights, top_k, top_p)
        sums = _cumulative_sums(weights if tokens is None else weights[tokens])
        # Random numbers below the total always find a larger cumulative sum. Tokens of weight 0 are never drawn,
        # because their cumulative sum equals the one before.
        index = int(sums.searchsorted(generator.random() * sums[-1], side="right"))
        token = index if tokens is None else int(tokens[index])
        yield token
        inputs = np.array([[token]])


def _weights(logits: Array, temperature: float) -> FloatArray:
    """Probabilities, scaled so that the largest is 1."""
    scores = logits.astype(np.promote_types(logits.dtype, np.float32))
    # argmax and argmin take a third of the time of max and min. Both find NaN.
    largest = scores[scores.argmax()]
    if not (math.isfinite(largest) and math.isfinite(scores[scores.argmin()])):
        raise DataError(
            "sample: the network's logits are not finite, so no token can be drawn",
            hint="the parameters have probably diverged in training",
        )
    # At a temperature near 0, all but the most probable tokens become minus infinity, and their weights correctly 0.
    with np.errstate(over="ignore", under="ignore"):
        np.subtract(scores, largest, scores)
        np.divide(scores, max(temperature, _MIN_TEMPERATURE), scores)
        weights: FloatArray = np.exp(scores, scores)
    return weights


def most_probable(weights: FloatArray, top_k: int | None, top_p: float) -> IntArray | None:
    """The tokens that ``top_k`` and then ``top_p`` keep, in increasing order; None: all. Weights need not sum to 1.

    Example
    -------
    >>> most_probable(np.array([1.0, 5.0, 3.0, 1.0]), top_k=3, top_p=1.0).tolist()
    [0, 1, 2]
    >>> most_probable(np.array([1.0, 5.0, 3.0, 1.0]), top_k=None, top_p=0.75).tolist()
    [1, 2]
    """
    tokens = None
    if top_k is not None and top_k < len(weights):
        tokens = _largest(weights, top_k, np.partition(weights, -top_k)[-top_k])
        weights = weights[tokens]
    if top_p < 1.0:
        decreasing = np.sort(weights)[::-1]
        sums = _cumulative_sums(decreasing)
        count = int(sums.searchsorted(top_p * sums[-1])) + 1
        nucleus = _largest(weights, count, decreasing[count - 1])
        tokens = nucleus if tokens is None else tokens[nucleus]
    return tokens


def _largest(weights: FloatArray, count: int, least: float) -> IntArray:
    """The indices of the ``count`` largest weights, the smallest of which is ``least``. Of equal weights, the first."""
    indices = (weights >= least).nonzero()[0]
    if len(indices) > count:
        smallest = (weights[indices] == least).nonzero()[0]
        indices = np.delete(indices, smallest[count - len(indices) :])
    return indices


def _cumulative_sums(weights: FloatArray) -> FloatArray:
    """Cumulative sums in float64. numpy.cumsum with a dtype would take three times as long."""
    return weights.astype(np.float64).cumsum()
