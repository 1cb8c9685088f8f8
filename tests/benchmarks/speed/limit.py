"""The limit: the matrix products of a step, and nothing else.

Products write into preallocated arrays, with operands in the layout that NumPy multiplies fastest. Each time step has
the product of the state with the recurrent weights and, in the backward pass, that of its gradient with their
transpose. The whole sequence has the products for the logits and for the gradients of the head's weights, of the states
and of the recurrent weights. Where the vocabulary is smaller than the number of positions, the gradient of the input
weights is a product with a one-hot matrix. Elsewhere it is a sum of rows by token, which needs no product.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from speed.task import Task


class Limit:
    """``copied`` selects a transposed copy of the recurrent weights in place of a transposed view."""

    def __init__(self, task: Task, *, copied: bool) -> None:
        rng, parameters = np.random.default_rng(0), task.parameters()

        def array(*shape: int) -> np.ndarray:
            return rng.uniform(-0.1, 0.1, shape).astype(np.float32)

        seq_len, batch, vocab, hidden = task.seq_len, task.batch_size, task.vocab_size, task.hidden_size
        self.weight_hh, self.weight_head = parameters["rnn.weight_hh_l0"], parameters["head.weight"]
        self.states, self.errors = array(seq_len + 1, batch, hidden), array(task.positions, vocab)
        self.inner = array(seq_len, batch, task.rows)
        """Gradients with respect to the pre-activations of the gates."""
        self.one_hot = array(task.positions, vocab) if vocab < task.positions else None
        self.forward, self.backward = array(seq_len, batch, task.rows), array(seq_len, batch, hidden)
        self.logits, self.d_states = array(task.positions, vocab), array(task.positions, hidden)
        self.d_head, self.d_hh, self.d_ih = array(vocab, hidden), array(task.rows, hidden), array(task.rows, vocab)
        self._transposed = np.ascontiguousarray(self.weight_hh.T) if copied else self.weight_hh.T
        self._there = list(zip(self.states[:-1], self.forward, strict=True))
        self._back = list(zip(self.inner, self.backward, strict=True))[::-1]

    def step(self) -> float:
        dot, transposed, weight_hh = np.dot, self._transposed, self.weight_hh
        for state, out in self._there:
            dot(state, transposed, out)
        features = self.states[1:].reshape(self.d_states.shape)
        dot(features, self.weight_head.T, self.logits)
        dot(self.errors.T, features, self.d_head)
        dot(self.errors, self.weight_head, self.d_states)
        for inner, out in self._back:
            dot(inner, weight_hh, out)
        inner = self.inner.reshape(len(features), -1)
        dot(inner.T, self.states[:-1].reshape(features.shape), self.d_hh)
        if self.one_hot is not None:
            dot(inner.T, self.one_hot, self.d_ih)
        return math.nan


WAYS = {"copied": partial(Limit, copied=True), "view": partial(Limit, copied=False)}
