"""Text from a trained network, one token at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import Array, FloatArray
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.checks import IntArray, as_tokens, check_count
from rnncallbacks.rnn.model import RecurrentModel

# A temperature that is 0 in float32 would make the likeliest token weigh 0 / 0. At this one, only that weighs anything.
_COLDEST = 1e-37


class Predictor(Protocol):
    """What ``sample`` needs of a network."""

    def zero_state(self, batch_size: int) -> Any:
        """The state before a sequence."""

    def predict(self, inputs: Array, state: Any) -> tuple[Array, Any]:
        """Logits (seq_len, batch, vocab_size) for tokens (seq_len, batch), and the state after them."""


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
    """Tokens that continue a prompt, each drawn as soon as it is asked for.

    With logits z of the last step, token w is drawn with probability ``exp(z_w / temperature) / sum_v exp(z_v /
    temperature)``, and is the input of the next step. ``top_k`` and then ``top_p`` leave out unlikely tokens; the
    probabilities of the others are divided by their sum. Of equally likely tokens, those with lower numbers are kept.

    Parameters
    ----------
    model:
        A network over tokens, in one direction, that was trained to foresee the next one at each step.
    prompt_tokens:
        The tokens to begin with, at least one, of shape (count,). They are not among the drawn.
    length:
        Number of tokens to draw, 0 or more.
    temperature:
        Above 0. Below 1 prefers likely tokens more than the network does, above 1 less.
    top_k:
        Draw from so many of the likeliest tokens, 1 or more; None: from all.
    top_p:
        Draw from the fewest tokens whose probabilities sum to this or more; above 0, and 1 for all of them.
    seed:
        Of the drawing, 0 or more.

    Yields
    ------
    int
        The next token.

    Raises
    ------
    OptionError
        ``temperature``, ``top_k``, ``top_p``, ``length`` or ``seed`` is out of range, or the network's outputs are not
        the logits of a next token.
    DataError
        The prompt is empty or holds no token numbers, or the network's logits are not finite.
    ShapeError
        The prompt has another number of axes than one.

    Example
    -------
    A network that knows the alphabet:

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
            hint="0.1 or less nearly always draws the likeliest token",
        )
    if top_k is not None:
        check_count("top_k", top_k)
    if not 0.0 < top_p <= 1.0:
        raise OptionError(f"top_p: expected a number above 0 and at most 1, got {top_p!r}", hint="1 keeps all tokens")
    generator = np.random.default_rng(check_count("seed", seed, minimum=0))
    # The checks above must not wait until the first token is asked for, as they would inside of a generator.
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
                f"sample: the outputs of this model are not the logits of a next token: {option} is "
                f"{getattr(model, option)!r}, not {needed!r}",
                hint="a model of text is made with vocab_size, and reads in one direction",
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
        tokens = likeliest(weights, top_k, top_p)
        sums = _sums(weights if tokens is None else weights[tokens])
        # A number below the sum of all, so that there is a first sum that is larger. It is larger than the sum before
        # it, too: what weighs nothing is never drawn.
        place = int(sums.searchsorted(generator.random() * sums[-1], side="right"))
        token = place if tokens is None else int(tokens[place])
        yield token
        inputs = np.array([[token]])


def _weights(logits: Array, temperature: float) -> FloatArray:
    """Probabilities times a factor that makes the largest of them 1."""
    scores = logits.astype(np.promote_types(logits.dtype, np.float32))
    # Arguments of the extremes are found in a third of the time that the extremes take. NaN is either.
    largest = scores[scores.argmax()]
    if not (math.isfinite(largest) and math.isfinite(scores[scores.argmin()])):
        raise DataError(
            "the network's logits are not finite, so there is nothing to draw from",
            hint="its parameters have probably diverged in training",
        )
    # At a temperature near 0 all but the likeliest become minus infinity, and their weights 0, which is right.
    with np.errstate(over="ignore", under="ignore"):
        np.subtract(scores, largest, scores)
        np.divide(scores, max(temperature, _COLDEST), scores)
        weights: FloatArray = np.exp(scores, scores)
    return weights


def likeliest(weights: FloatArray, top_k: int | None, top_p: float) -> IntArray | None:
    """The tokens that ``top_k`` and then ``top_p`` leave, rising, by weights that need not sum to 1; None: all.

    Example
    -------
    >>> likeliest(np.array([1.0, 5.0, 3.0, 1.0]), top_k=3, top_p=1.0).tolist()
    [0, 1, 2]
    >>> likeliest(np.array([1.0, 5.0, 3.0, 1.0]), top_k=None, top_p=0.75).tolist()
    [1, 2]
    """
    tokens = None
    if top_k is not None and top_k < len(weights):
        tokens = _heaviest(weights, top_k, np.partition(weights, -top_k)[-top_k])
        weights = weights[tokens]
    if top_p < 1.0:
        falling = np.sort(weights)[::-1]
        sums = _sums(falling)
        count = int(sums.searchsorted(top_p * sums[-1])) + 1
        nucleus = _heaviest(weights, count, falling[count - 1])
        tokens = nucleus if tokens is None else tokens[nucleus]
    return tokens


def _heaviest(weights: FloatArray, count: int, least: float) -> IntArray:
    """The places of the ``count`` heaviest, of which the lightest weighs ``least``; of equal ones, the first."""
    places = (weights >= least).nonzero()[0]
    if len(places) > count:
        lightest = (weights[places] == least).nonzero()[0]
        places = np.delete(places, lightest[count - len(places) :])
    return places


def _sums(weights: FloatArray) -> FloatArray:
    """Cumulative sums in float64; numpy.cumsum with a dtype takes three times as long."""
    return weights.astype(np.float64).cumsum()
