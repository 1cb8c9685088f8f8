"""A recurrent network from scratch that predicts the next token in the language a^n b^n EOS.

This is ``broken_loop.py`` with ``Run`` around its loop and no repair. The guards name its faults within a few epochs.
"""

from functools import partial

import numpy as np
import numpy.typing as npt

from rnncallbacks import Run, load_plugins

Array = npt.NDArray[np.float64]

VOCABULARY = {"a": 0, "b": 1, "EOS": 2, "UNK": 3}
MAX_N = 8
HIDDEN_SIZE = 50
BATCH_SIZE = 10
EPOCHS = 3

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


def loss_of(x: Array, y: Array, entering: Array) -> float:
    """The loss at the current parameters. Guards evaluate it to test the gradient."""
    outputs, hiddens = forward_pass(x, entering, params)
    return backward_pass(x, outputs, hiddens, y, params)[0]


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

with Run(params, plugins=load_plugins({"preset": "guards"}), learning_rate=0.5) as run:
    hiddens = [np.zeros((HIDDEN_SIZE, BATCH_SIZE))]
    for _ in run.epochs(EPOCHS):
        train_loss = val_loss = 0.0
        for inputs, targets in run.batches(val_loader, phase="val"):
            x, y = one_hot(inputs), one_hot(targets)
            outputs, hiddens = forward_pass(x, hiddens[-1], params)
            loss, _grads = backward_pass(x, outputs, hiddens, y, params)
            run.observe(hidden_states=hiddens)
            run.record(loss)
            val_loss += loss
        for inputs, targets in run.batches(train_loader):
            x, y, entering = one_hot(inputs), one_hot(targets), hiddens[-1]
            outputs, hiddens = forward_pass(x, entering, params)
            loss, grads = backward_pass(x, outputs, hiddens, y, params)
            run.observe(hidden_states=hiddens)
            run.backward(loss, grads, closure=partial(loss_of, x, y, entering))
            train_loss += loss
            params = update_parameters(params, grads, lr=0.5)
        run.log(train_loss=train_loss / len(training_set), val_loss=val_loss / len(validation_set))
print(run.diagnosis)
