"""The opponent of the step-time benchmark: the network as it is usually written from scratch.

One-hot columns, Python lists of what each step needs, float64, gradients summed up step by step, parameters in a dict,
and Adam as a loop over that dict. It computes the same loss, gradients and updates as the library's own.
"""

from __future__ import annotations

import numpy as np


class FromScratchRNN:
    """A character model with one tanh layer, trained with global-norm clipping and Adam.

    ``parameters`` holds Wxh (hidden, vocab), Whh (hidden, hidden), Why (vocab, hidden) and column vectors bh, by.
    """

    def __init__(self, parameters: dict[str, np.ndarray], learning_rate: float, max_norm: float) -> None:
        self.params = {name: array.astype(np.float64) for name, array in parameters.items()}
        self.m = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.v = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.t = 0
        self.learning_rate = learning_rate
        self.max_norm = max_norm

    def train_step(self, inputs: np.ndarray, targets: np.ndarray) -> float:
        """One update from tokens of shape (seq_len, batch); returns the loss before it."""
        loss, grads = self.loss_and_gradients(inputs, targets)
        norm = np.sqrt(sum(np.sum(grad**2) for grad in grads.values()))
        if norm > self.max_norm:
            grads = {name: grad * (self.max_norm / norm) for name, grad in grads.items()}
        self.t += 1
        for name, grad in grads.items():
            self.m[name] = 0.9 * self.m[name] + 0.1 * grad
            self.v[name] = 0.999 * self.v[name] + 0.001 * grad**2
            m_hat = self.m[name] / (1 - 0.9**self.t)
            v_hat = self.v[name] / (1 - 0.999**self.t)
            self.params[name] -= self.learning_rate * m_hat / (np.sqrt(v_hat) + 1e-8)
        return loss

    def loss_and_gradients(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """The mean negative log-likelihood per token, and its gradients."""
        params = self.params
        seq_len, batch = inputs.shape
        vocab, hidden = params["Why"].shape
        columns = np.arange(batch)
        xs, hs, ps = [], [np.zeros((hidden, batch))], []
        loss = 0.0
        for t in range(seq_len):
            x = np.zeros((vocab, batch))
            x[inputs[t], columns] = 1
            h = np.tanh(params["Wxh"] @ x + params["Whh"] @ hs[-1] + params["bh"])
            y = params["Why"] @ h + params["by"]
            e = np.exp(y - np.max(y, axis=0))
            p = e / np.sum(e, axis=0)
            loss -= np.sum(np.log(p[targets[t], columns]))
            xs.append(x)
            hs.append(h)
            ps.append(p)
        grads = {name: np.zeros_like(array) for name, array in params.items()}
        dh_next = np.zeros((hidden, batch))
        for t in reversed(range(seq_len)):
            dy = ps[t].copy()
            dy[targets[t], columns] -= 1
            dy /= seq_len * batch
            h = hs[t + 1]
            grads["Why"] += dy @ h.T
            grads["by"] += np.sum(dy, axis=1, keepdims=True)
            dh = params["Why"].T @ dy + dh_next
            draw = (1 - h * h) * dh
            grads["bh"] += np.sum(draw, axis=1, keepdims=True)
            grads["Wxh"] += draw @ xs[t].T
            grads["Whh"] += draw @ hs[t].T
            dh_next = params["Whh"].T @ draw
        return loss / (seq_len * batch), grads
