"""The epoch through Keras' ``fit`` on JAX: ``SimpleRNN`` on tokens that the compiled step encodes.

One-hot floats made in advance and an identity embedding were slower. Each batch begins with a zero state, because
``fit`` on JAX does not carry it between batches, even with ``stateful=True``. The amount of work is the same.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

from rnncallbacks.rnn.data.streams import StreamLoader
from speed.epochs import PATIENCE, Gate, stacked
from speed.task import LEARNING_RATE, MAX_NORM, Task


class Turns(keras.callbacks.Callback):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate, self.loss = gate, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.gate(self.loss)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.loss = (logs or {})["val_loss"]


def keras_arrays(task: Task, loader: StreamLoader) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, (sequences, seq_len): the sequences of one batch, then those of the next."""
    inputs, targets = (part.transpose(0, 2, 1).reshape(-1, task.seq_len) for part in stacked(loader))
    return inputs.astype(np.int32), targets.astype(np.int32)


def network(task: Task) -> keras.Model:
    tokens = keras.Input(batch_shape=(task.batch_size, task.seq_len), dtype="int32")
    one_hot = keras.layers.Lambda(lambda given: keras.ops.one_hot(given, task.vocab_size))
    layer = keras.layers.SimpleRNN(task.hidden_size, return_sequences=True)
    head = keras.layers.Dense(task.vocab_size)
    model = keras.Model(tokens, head(layer(one_hot(tokens))))
    start = task.parameters()
    bias = start["rnn.bias_ih_l0"] + start["rnn.bias_hh_l0"]
    layer.set_weights([start["rnn.weight_ih_l0"].T, start["rnn.weight_hh_l0"].T, bias])
    head.set_weights([start["head.weight"].T, start["head.bias"]])
    return model


def keras_epochs(task: Task, train: StreamLoader, held_out: StreamLoader, gate: Gate) -> None:
    model = network(task)
    model.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8, global_clipnorm=MAX_NORM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    callbacks = [
        keras.callbacks.ReduceLROnPlateau(patience=PATIENCE),
        keras.callbacks.EarlyStopping(patience=PATIENCE),
        Turns(gate),
    ]
    inputs, targets = keras_arrays(task, train)
    model.fit(
        inputs,
        targets,
        batch_size=task.batch_size,
        epochs=10**6,
        shuffle=False,
        verbose=0,
        validation_data=keras_arrays(task, held_out),
        validation_batch_size=task.batch_size,
        callbacks=callbacks,
    )
