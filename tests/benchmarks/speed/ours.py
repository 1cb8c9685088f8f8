"""The step in this library: ``RecurrentModel``, ``clip_by_global_norm`` and ``Adam``."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rnncallbacks.arrays.gradients import clip_by_global_norm
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from speed.task import BETAS, EPS, LEARNING_RATE, MAX_NORM, Arrays, Task


class Ours:
    kernels: Literal["numpy", "numba"] = "numpy"

    def __init__(self, task: Task) -> None:
        self.model = RecurrentModel(task.hidden_size, vocab_size=task.vocab_size, cell=task.cell, kernels=self.kernels)
        for name, array in task.parameters().items():
            self.model.parameters[name][...] = array
        self.optimizer = Adam(betas=BETAS, eps=EPS, kernels=self.kernels)
        self.optimizer.bind(self.model.parameters)
        self.batch = SequenceBatch(*task.tokens())

    def gradients(self) -> tuple[float, Arrays]:
        loss, _ = self.model.forward(self.batch, self.model.zero_state(self.batch.size))
        return loss, {name: np.array(array) for name, array in self.model.backward().items()}

    def step(self) -> float:
        loss, _ = self.model.forward(self.batch, self.model.zero_state(self.batch.size))
        gradients = self.model.backward()
        clip_by_global_norm([gradients.flat], MAX_NORM)
        self.optimizer.step(gradients, LEARNING_RATE)
        return loss


class Compiled(Ours):
    kernels = "numba"


WAYS = {"model": Ours, "compiled": Compiled}
