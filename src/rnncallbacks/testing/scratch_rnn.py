"""A recurrent network written from scratch on one-hot columns of shape (seq_len, vocab_size, batch).

It shares no code with :mod:`rnncallbacks.rnn`, because the custom loop represents a user's own script.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnncallbacks.arrays.containers import Array

Params = dict[str, Array]
BackwardMatrix = Callable[[Array], Array]
"""From the recurrent matrix to the matrix that takes gradients one time step back."""


def transposed(matrix: Array) -> Array:
    """The correct matrix for backpropagation through time."""
    return matrix.T


def initial_params(inputs: int, hidden: int, outputs: int, generator: np.random.Generator) -> Params:
    """An orthogonal recurrent matrix, input and output matrices uniform in +-1/sqrt(hidden), and zero biases."""
    bound = hidden**-0.5
    q, r = np.linalg.qr(generator.standard_normal((hidden, hidden)))
    return {
        "Wxh": generator.uniform(-bound, bound, (hidden, inputs)),
        "Whh": q * np.sign(np.diagonal(r)),
        "bh": np.zeros((hidden, 1)),
        "Why": generator.uniform(-bound, bound, (outputs, hidden)),
        "by": np.zeros((outputs, 1)),
    }


def forward(params: Params, x: Array, state: Array, cell: str = "tanh") -> tuple[Array, list[Array]]:
    """Logits of shape (seq_len, vocab_size, batch), and the list of hidden states, beginning with ``state``.

    The cell computes h_t = f(Wxh x_t + Whh h_{t-1} + bh), where f is tanh or ReLU, and logits are Why h_t + by.
    """
    hiddens = [state]
    recurrent = params["Whh"]
    for projected in np.matmul(params["Wxh"], x) + params["bh"]:
        preactivation = projected + recurrent @ hiddens[-1]
        hiddens.append(np.tanh(preactivation) if cell == "tanh" else np.maximum(preactivation, 0.0))
    return np.matmul(params["Why"], np.stack(hiddens[1:])) + params["by"], hiddens


def backward(
    params: Params,
    x: Array,
    hiddens: list[Array],
    errors: Array,
    cell: str = "tanh",
    backward_matrix: BackwardMatrix = transposed,
) -> tuple[Params, Array]:
    """Gradients of the parameters and of the hidden states, (seq_len, hidden, batch), given those of the logits."""
    after = np.stack(hiddens[1:])
    slopes = 1.0 - after * after if cell == "tanh" else (after > 0.0).astype(after.dtype)
    back = backward_matrix(params["Whh"])
    hidden_gradients = np.matmul(params["Why"].T, errors)
    preactivations = np.empty_like(hidden_gradients)
    later = np.zeros_like(hidden_gradients[0])
    for t in range(len(x) - 1, -1, -1):
        hidden_gradients[t] += later
        preactivations[t] = hidden_gradients[t] * slopes[t]
        later = back @ preactivations[t]
    before = np.stack([np.broadcast_to(hiddens[0], hiddens[1].shape), *hiddens[1:-1]])
    return {
        "Wxh": np.matmul(preactivations, x.transpose(0, 2, 1)).sum(axis=0),
        "Whh": np.matmul(preactivations, before.transpose(0, 2, 1)).sum(axis=0),
        "bh": preactivations.sum(axis=(0, 2))[:, None],
        "Why": np.matmul(errors, after.transpose(0, 2, 1)).sum(axis=0),
        "by": errors.sum(axis=(0, 2))[:, None],
    }, hidden_gradients


def column_softmax(logits: Array) -> Array:
    """Softmax over the vocabulary, which is axis 1."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def mean_nll(logits: Array, y: Array) -> tuple[float, Array]:
    """Mean negative log-likelihood over the positions with a target, and its gradient."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    count = y.sum()
    loss = -float((log_probabilities * y).sum()) / count
    return loss, (np.exp(log_probabilities) * y.sum(axis=1, keepdims=True) - y) / count


def squared_error_of_softmax(logits: Array, y: Array) -> tuple[float, Array]:
    """Mean squared error between probabilities and one-hot targets, and its gradient.

    The mean is over all entries of the positions with a target.
    """
    probabilities = column_softmax(logits)
    differences = (probabilities - y) * y.sum(axis=1, keepdims=True)
    slopes = 2.0 * differences / (y.sum() * y.shape[1])
    errors = probabilities * (slopes - (slopes * probabilities).sum(axis=1, keepdims=True))
    return float((differences**2).sum() / (y.sum() * y.shape[1])), errors


def squared_error(outputs: Array, y: Array) -> tuple[float, Array]:
    """Mean squared error of a regression, and its gradient."""
    differences = outputs - y
    return float((differences**2).mean()), 2.0 * differences / differences.size
