"""Text from a trained network, one token at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays import Array
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.checks import as_tokens, check_count


class Predictor(Protocol):
    """What ``sample`` needs of a network."""

    def zero_state(self, batch_size: int) -> Any:
        """The state before a sequence."""

    def predict(self, inputs: Array, state: Any) -> tuple[Array, Any]:
        """Logits (seq_len, batch, vocab_size) for tokens (seq_len, batch), and the state after them."""


def sample(
    model: Predictor, prompt_tokens: npt.ArrayLike, length: int, *, temperature: float = 1.0, seed: int = 0
) -> Iterator[int]:
    """Tokens that continue a prompt, each drawn as soon as it is asked for.

    With logits z of the last step, token w is drawn with probability ``exp(z_w / temperature) / sum_v exp(z_v /
    temperature)``, and is the input of the next step.

    Parameters
    ----------
    model:
        A network over tokens with an output at each step.
    prompt_tokens:
        The tokens to begin with, at least one, of shape (count,). They are not among the drawn.
    length:
        Number of tokens to draw, 0 or more.
    temperature:
        Above 0. Below 1 prefers likely tokens more than the network does, above 1 less.
    seed:
        Of the drawing, 0 or more.

    Yields
    ------
    int
        The next token.

    Raises
    ------
    OptionError
        ``temperature``, ``length`` or ``seed`` is out of range.
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
    """
    prompt = as_tokens("prompt_tokens", prompt_tokens)
    if not prompt.size:
        raise DataError("prompt_tokens: expected at least one token, got none")
    check_count("length", length, minimum=0)
    if not (np.isfinite(temperature) and temperature > 0.0):
        raise OptionError(
            f"temperature: expected a number above 0, got {temperature!r}",
            hint="0.1 or less nearly always draws the likeliest token",
        )
    generator = np.random.default_rng(check_count("seed", seed, minimum=0))
    # The checks above must not wait until the first token is asked for, as they would inside of a generator.
    return _draw(model, prompt[:, None], length, temperature, generator)


def _draw(
    model: Predictor, inputs: Array, length: int, temperature: float, generator: np.random.Generator
) -> Iterator[int]:
    state = model.zero_state(1)
    for _ in range(length):
        logits, state = model.predict(inputs, state)
        scores = logits[-1, 0].astype(np.float64)
        if not np.isfinite(scores).all():
            raise DataError(
                "the network's logits are not finite, so there is nothing to draw from",
                hint="its parameters have probably diverged in training",
            )
        # At a temperature near 0 all but the likeliest become minus infinity, which is right.
        with np.errstate(over="ignore"):
            weights = np.exp((scores - scores.max()) / temperature)
        token = int(generator.choice(len(weights), p=weights / weights.sum()))
        yield token
        inputs = np.array([[token]])
