"""A recurrent network written from scratch, as tutorials have it: one-hot columns, shape (seq_len, vocab_size, batch).

It shares nothing with :mod:`rnncallbacks.rnn`: the custom loop stands for somebody else's script.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnncallbacks.arrays import Array

Params = dict[str, Array]
BackThroughTime = Callable[[Array], Array]


def transposed(matrix: Array) -> Array:
    """The matrix by which gradients go back through time, where all is well."""
    return matrix.T


def initial_params(inputs: int, hidden: int, outputs: int, generator: np.random.Generator) -> Params:
    """An orthogonal recurrent matrix; all else is drawn evenly within one over the root of ``hidden``."""
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
    """Logits of shape (seq_len, vocab_size, batch), and the states, the entering one first."""
    hiddens = [state]
    recurrent = params["Whh"]
    for drive in np.matmul(params["Wxh"], x) + params["bh"]:
        drive = drive + recurrent @ hiddens[-1]
        hiddens.append(np.tanh(drive) if cell == "tanh" else np.maximum(drive, 0.0))
    return np.matmul(params["Why"], np.stack(hiddens[1:])) + params["by"], hiddens


def backward(
    params: Params,
    x: Array,
    hiddens: list[Array],
    errors: Array,
    cell: str = "tanh",
    recurrence: BackThroughTime = transposed,
) -> tuple[Params, Array]:
    """Gradients of the parameters, and those of the states by time step, from those of the logits."""
    after = np.stack(hiddens[1:])
    slopes = 1.0 - after * after if cell == "tanh" else (after > 0.0).astype(after.dtype)
    back = recurrence(params["Whh"])
    hidden_gradients = np.matmul(params["Why"].T, errors)
    drives = np.empty_like(hidden_gradients)
    later = np.zeros_like(hidden_gradients[0])
    for t in range(len(x) - 1, -1, -1):
        hidden_gradients[t] += later
        drives[t] = hidden_gradients[t] * slopes[t]
        later = back @ drives[t]
    before = np.stack([np.broadcast_to(hiddens[0], hiddens[1].shape), *hiddens[1:-1]])
    return {
        "Wxh": np.matmul(drives, x.transpose(0, 2, 1)).sum(axis=0),
        "Whh": np.matmul(drives, before.transpose(0, 2, 1)).sum(axis=0),
        "bh": drives.sum(axis=(0, 2))[:, None],
        "Why": np.matmul(errors, after.transpose(0, 2, 1)).sum(axis=0),
        "by": errors.sum(axis=(0, 2))[:, None],
    }, hidden_gradients


def column_softmax(logits: Array) -> Array:
    """Probabilities over the vocabulary, axis 1."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def mean_nll(logits: Array, y: Array) -> tuple[float, Array]:
    """The negative log-likelihood by position, and its gradient; a position without a target counts nowhere."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    count = y.sum()
    loss = -float((log_probabilities * y).sum()) / count
    return loss, (np.exp(log_probabilities) * y.sum(axis=1, keepdims=True) - y) / count


def squared_error_of_softmax(logits: Array, y: Array) -> tuple[float, Array]:
    """The squared error between probabilities and one-hot targets, a mean over all numbers, and its gradient."""
    probabilities = column_softmax(logits)
    differences = (probabilities - y) * y.sum(axis=1, keepdims=True)
    pull = 2.0 * differences / (y.sum() * y.shape[1])
    errors = probabilities * (pull - (pull * probabilities).sum(axis=1, keepdims=True))
    return float((differences**2).sum() / (y.sum() * y.shape[1])), errors


def squared_error(outputs: Array, y: Array) -> tuple[float, Array]:
    """The mean squared error of a regression, and its gradient."""
    differences = outputs - y
    return float((differences**2).mean()), 2.0 * differences / differences.size
