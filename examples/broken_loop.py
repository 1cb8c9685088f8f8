"""A recurrent network from scratch that predicts the next token in the language a^n b^n EOS.

``broken_loop.py`` does not learn. It does not crash, its parameters change, and its gradients are finite, but the loss
stays high. ``repaired_loop.py`` is the same script with ``Run`` around its loop, and it learns.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

VOCABULARY = {"a": 0, "b": 1, "EOS": 2, "UNK": 3}
MAX_N = 8
HIDDEN_SIZE = 50
BATCH_SIZE = 10
EPOCHS = 200

rng = np.random.default_rng(0)


def make_sentence(n: int) -> list[int]:
    """n times a, n times b, then EOS up to the common length."""
    tokens = ["a"] * n + ["b"] * n + ["EOS"] * (2 * (MAX_N - n) + 1)
    return [VOCABULARY.get(token, VOCABULARY["UNK"]) for token in tokens]


def make_batches(sentences: npt.NDArray[np.intp]) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Inputs and targets of shape (batch_size, seq_len); each target is the token after its input."""
    rows = [sentences[start : start + BATCH_SIZE] for start in range(0, len(sentences), BATCH_SIZE)]
    return [(some[:, :-1], some[:, 1:]) for some in rows]


def one_hot(tokens: npt.NDArray[np.intp]) -> Array:
    """One-hot columns of shape (seq_len, vocab_size, batch_size)."""
    columns: Array = np.eye(len(VOCABULARY))[tokens].transpose(1, 2, 0)
    return columns


def orthogonal(rows: int, columns: int) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T


def forward_pass(x: Array, hidden: Array, params: list[Array]) -> tuple[list[Array], list[Array]]:
    """Softmax outputs of each time step, and the hidden states, beginning with the initial one."""
    u, v, w, b_hidden, b_out = params
    outputs, hiddens = [], [hidden]
    for step in x:
        hiddens.append(np.tanh(u @ step + v @ hiddens[-1] + b_hidden))
        scores = w @ hiddens[-1] + b_out
        exponentials = np.exp(scores - scores.max(axis=0))
        outputs.append(exponentials / exponentials.sum(axis=0))
    return outputs, hiddens


def backward_pass(
    x: Array, outputs: list[Array], hiddens: list[Array], y: Array, params: list[Array]
) -> tuple[float, list[Array]]:
    """The loss and its gradients, by backpropagation through time."""
    _, v, w, _, _ = params
    d_u, d_v, d_w, d_b_hidden, d_b_out = grads = [np.zeros_like(param) for param in params]
    loss, d_next = 0.0, np.zeros_like(hiddens[0])
    for t in reversed(range(len(x))):
        loss -= np.sum(y[t] * np.log(outputs[t] + 1e-12))
        d_scores = outputs[t] - y[t]
        d_hidden = (w.T @ d_scores + d_next) * (1 - hiddens[t + 1] ** 2)
        d_next = v.T @ d_hidden
        d_u += d_hidden @ x[t].T
        d_v += d_hidden @ hiddens[t].T
        d_w += d_scores @ hiddens[t + 1].T
        d_b_hidden += d_hidden.sum(axis=1, keepdims=True)
        d_b_out += d_scores.sum(axis=1, keepdims=True)
    return loss, grads


def update_parameters(params: list[Array], grads: list[Array], lr: float) -> list[Array]:
    for param, grad in zip(params, grads, strict=True):
        param -= lr * grad
    return params


def report(train_losses: list[Any], val_losses: list[Any]) -> None:
    for epoch in [0, *range(49, len(train_losses), 50)]:
        print(f"epoch {epoch + 1:3d}  train {train_losses[epoch]:9.4f}  val {val_losses[epoch]:9.4f}")
    solved = 0
    for inputs, targets in make_batches(test_set):
        outputs, _ = forward_pass(one_hot(inputs), np.zeros((HIDDEN_SIZE, len(inputs))), params)
        right = targets == np.argmax(outputs, axis=1).T
        # The first b is unpredictable. Every token after it is determined.
        solved += int((right | (inputs == VOCABULARY["a"])).all(axis=1).sum())
    print(f"n is unpredictable, so the lowest possible loss is about ln {MAX_N} / {2 * MAX_N} = {floor:.4f}")
    print(f"test sentences counted right: {solved} of {len(test_set)}")


floor = np.log(MAX_N) / (2 * MAX_N)
dataset = np.array([make_sentence(n) for n in rng.integers(1, MAX_N, size=100, endpoint=True)])
training_set, validation_set, test_set = np.split(dataset, [80, 90])
train_loader, val_loader = make_batches(training_set), make_batches(validation_set)

params = [
    orthogonal(HIDDEN_SIZE, len(VOCABULARY)),
    orthogonal(HIDDEN_SIZE, HIDDEN_SIZE),
    orthogonal(len(VOCABULARY), HIDDEN_SIZE),
    np.zeros((HIDDEN_SIZE, 1)),
    np.zeros((len(VOCABULARY), 1)),
]

if __name__ == "__main__":
    hiddens, train_losses, val_losses = [np.zeros((HIDDEN_SIZE, BATCH_SIZE))], [], []
    for _ in range(EPOCHS):
        train_loss = val_loss = 0.0
        for inputs, targets in val_loader:
            x, y = one_hot(inputs), one_hot(targets)
            outputs, hiddens = forward_pass(x, hiddens[-1], params)
            loss, _grads = backward_pass(x, outputs, hiddens, y, params)
            val_loss += loss
        for inputs, targets in train_loader:
            x, y = one_hot(inputs), one_hot(targets)
            outputs, hiddens = forward_pass(x, hiddens[-1], params)
            loss, grads = backward_pass(x, outputs, hiddens, y, params)
            train_loss += loss
            params = update_parameters(params, grads, lr=0.5)
        train_losses.append(train_loss / len(training_set))
        val_losses.append(val_loss / len(validation_set))
    report(train_losses, val_losses)
