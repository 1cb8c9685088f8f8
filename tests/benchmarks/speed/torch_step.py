"""The step in eager PyTorch, in two variants. Cell and sizes decide which one is faster."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speed.task import BETAS, EPS, LEARNING_RATE, MAX_NORM, Arrays, Task

LAYERS = {"vanilla": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class TorchStep(ABC):
    """Head, loss, ``clip_grad_norm_`` and fused Adam. Variants compute the states of all time steps."""

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self.task = task
        inputs, targets = (torch.from_numpy(tokens.copy()) for tokens in task.tokens())
        self.tokens, self.targets = inputs, targets.reshape(-1)
        self.state = torch.zeros(task.batch_size, task.hidden_size)
        self.parameters = {name: nn.Parameter(torch.from_numpy(array)) for name, array in task.parameters().items()}

    def bind(self) -> None:
        self.leaves = list(self.parameters.values())
        self.optimizer = torch.optim.Adam(self.leaves, lr=LEARNING_RATE, betas=BETAS, eps=EPS, fused=True)

    @abstractmethod
    def hidden(self) -> Tensor:
        """The states after each time step, (seq_len, batch, hidden_size)."""

    def backward(self) -> Tensor:
        self.optimizer.zero_grad()
        hidden = self.hidden().view(-1, self.task.hidden_size)
        logits = functional.linear(hidden, self.parameters["head.weight"], self.parameters["head.bias"])
        loss = functional.cross_entropy(logits, self.targets)
        loss.backward()
        return loss

    def gradients(self) -> tuple[float, Arrays]:
        return self.backward().item(), {name: self.gradient(name) for name in self.parameters}

    def gradient(self, name: str) -> np.ndarray:
        return self.parameters[name].grad.numpy().copy()

    def step(self) -> float:
        loss = self.backward()
        nn.utils.clip_grad_norm_(self.leaves, MAX_NORM)
        self.optimizer.step()
        return loss.item()


class TorchLayer(TorchStep):
    """``nn.RNN``, ``nn.LSTM`` or ``nn.GRU`` on one-hot floats made in advance."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.one_hot = functional.one_hot(self.tokens, task.vocab_size).float()
        self.layer = LAYERS[task.cell](task.vocab_size, task.hidden_size)
        for name, parameter in self.parameters.items():
            if name.startswith("rnn."):
                setattr(self.layer, name.removeprefix("rnn."), parameter)
        state = self.state[None]
        self.start = (state, state) if task.cell == "lstm" else state
        self.bind()

    def hidden(self) -> Tensor:
        return self.layer(self.one_hot, self.start)[0]


class TorchGather(TorchStep):
    """A loop over time that gathers its inputs from the transposed input weights."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        weight_ih = self.parameters["rnn.weight_ih_l0"].detach()
        self.parameters["rnn.weight_ih_l0"] = nn.Parameter(weight_ih.t().contiguous())
        self.bind()

    def gradient(self, name: str) -> np.ndarray:
        gradient = super().gradient(name)
        return gradient.T if name == "rnn.weight_ih_l0" else gradient

    def hidden(self) -> Tensor:
        parameters = self.parameters
        entering = functional.embedding(self.tokens, parameters["rnn.weight_ih_l0"])
        matrix, bias = parameters["rnn.weight_hh_l0"].t(), parameters["rnn.bias_ih_l0"]
        if self.task.cell == "gru":
            return torch.stack(self.gru(entering + bias, matrix, parameters["rnn.bias_hh_l0"]))
        cell = {"vanilla": self.vanilla, "lstm": self.lstm}[self.task.cell]
        return torch.stack(cell(entering + (bias + parameters["rnn.bias_hh_l0"]), matrix))

    def vanilla(self, entering: Tensor, matrix: Tensor) -> list[Tensor]:
        hidden, states = self.state, []
        for step in entering.unbind():
            hidden = torch.addmm(step, hidden, matrix).tanh()
            states.append(hidden)
        return states

    def lstm(self, entering: Tensor, matrix: Tensor) -> list[Tensor]:
        hidden, cell, states = self.state, self.state, []
        for step in entering.unbind():
            i, f, g, o = torch.addmm(step, hidden, matrix).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            states.append(hidden)
        return states

    def gru(self, entering: Tensor, matrix: Tensor, bias: Tensor) -> list[Tensor]:
        size = self.task.hidden_size
        hidden, states = self.state, []
        for step in entering.unbind():
            recurrent = torch.addmm(bias, hidden, matrix)
            r, z = (step[:, : 2 * size] + recurrent[:, : 2 * size]).sigmoid().chunk(2, 1)
            n = (step[:, 2 * size :] + r * recurrent[:, 2 * size :]).tanh()
            hidden = n + z * (hidden - n)
            states.append(hidden)
        return states


WAYS = {"layer": TorchLayer, "gather": TorchGather}
