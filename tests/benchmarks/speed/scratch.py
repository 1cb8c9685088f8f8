"""The step as it is usually written from scratch in NumPy.

It uses one-hot columns, a loop over time that stores intermediate results in Python lists, one matrix for each gate,
gradients summed over time steps, parameters in a dict, and Adam as a loop over that dict. The dtype is that of the
parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from speed.task import BETAS, EPS, LEARNING_RATE, MAX_NORM, Arrays, Task


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(y: np.ndarray) -> np.ndarray:
    e = np.exp(y - np.max(y, axis=0))
    return e / np.sum(e, axis=0)


class FromScratch(ABC):
    """The data, clipping and Adam of the three networks. Biases are columns, and each gate has one.

    PyTorch has two biases for each gate, and Adam moves both, so losses differ slightly after some steps.
    """

    def __init__(self, task: Task, parameters: Arrays | None = None) -> None:
        self.inputs, self.targets = task.tokens()
        self.vocab, self.hidden, self.batch = task.vocab_size, task.hidden_size, task.batch_size
        start = task.parameters() if parameters is None else parameters
        self.params = {name: array.copy() for name, array in self.from_pytorch(start).items()}
        self.m = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.v = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.t = 0

    def step(self) -> float:
        loss, grads = self.loss_and_gradients()
        norm = np.sqrt(sum(np.sum(grad**2) for grad in grads.values()))
        if norm > MAX_NORM:
            grads = {name: grad * (MAX_NORM / norm) for name, grad in grads.items()}
        self.t += 1
        beta1, beta2 = BETAS
        for name, grad in grads.items():
            self.m[name] = beta1 * self.m[name] + (1 - beta1) * grad
            self.v[name] = beta2 * self.v[name] + (1 - beta2) * grad**2
            m_hat = self.m[name] / (1 - beta1**self.t)
            v_hat = self.v[name] / (1 - beta2**self.t)
            self.params[name] -= LEARNING_RATE * m_hat / (np.sqrt(v_hat) + EPS)
        return float(loss)

    def gradients(self) -> tuple[float, Arrays]:
        loss, grads = self.loss_and_gradients()
        return float(loss), self.to_pytorch(grads)

    @abstractmethod
    def from_pytorch(self, parameters: Arrays) -> Arrays:
        """Converts parameters with PyTorch's names to those of this network."""

    @abstractmethod
    def to_pytorch(self, grads: Arrays) -> Arrays:
        """Converts gradients of this network to PyTorch's names."""

    @abstractmethod
    def loss_and_gradients(self) -> tuple[float, Arrays]:
        """The loss and the gradients of this network."""

    def zeros(self) -> np.ndarray:
        return np.zeros((self.hidden, self.batch), dtype=self.params["Why"].dtype)

    def one_hot(self, tokens: np.ndarray) -> np.ndarray:
        x = np.zeros((self.vocab, self.batch), dtype=self.params["Why"].dtype)
        x[tokens, np.arange(self.batch)] = 1
        return x

    def likelihood(self, h: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, float]:
        """The softmax of one time step, and its summand of the loss."""
        p = softmax(self.params["Why"] @ h + self.params["by"])
        return p, -np.sum(np.log(p[targets, np.arange(self.batch)]))

    def head_backward(self, grads: Arrays, p: np.ndarray, h: np.ndarray, targets: np.ndarray) -> np.ndarray:
        dy = p.copy()
        dy[targets, np.arange(self.batch)] -= 1
        dy /= self.targets.size
        grads["Why"] += dy @ h.T
        grads["by"] += np.sum(dy, axis=1, keepdims=True)
        return self.params["Why"].T @ dy


class ScratchRNN(FromScratch):
    """h = tanh(Wxh x + Whh h + bh)."""

    def from_pytorch(self, parameters: Arrays) -> Arrays:
        return {
            "Wxh": parameters["rnn.weight_ih_l0"],
            "Whh": parameters["rnn.weight_hh_l0"],
            "Why": parameters["head.weight"],
            "bh": (parameters["rnn.bias_ih_l0"] + parameters["rnn.bias_hh_l0"])[:, None],
            "by": parameters["head.bias"][:, None],
        }

    def to_pytorch(self, grads: Arrays) -> Arrays:
        return {
            "rnn.weight_ih_l0": grads["Wxh"],
            "rnn.weight_hh_l0": grads["Whh"],
            "rnn.bias_ih_l0": grads["bh"][:, 0],
            "rnn.bias_hh_l0": grads["bh"][:, 0],
            "head.weight": grads["Why"],
            "head.bias": grads["by"][:, 0],
        }

    def loss_and_gradients(self) -> tuple[float, Arrays]:
        params = self.params
        xs, hs, ps = [], [self.zeros()], []
        loss = 0.0
        for t in range(len(self.inputs)):
            x = self.one_hot(self.inputs[t])
            h = np.tanh(params["Wxh"] @ x + params["Whh"] @ hs[-1] + params["bh"])
            p, nll = self.likelihood(h, self.targets[t])
            loss += nll
            xs.append(x)
            hs.append(h)
            ps.append(p)
        grads = {name: np.zeros_like(array) for name, array in params.items()}
        dh_next = self.zeros()
        for t in reversed(range(len(self.inputs))):
            h = hs[t + 1]
            dh = self.head_backward(grads, ps[t], h, self.targets[t]) + dh_next
            draw = (1 - h * h) * dh
            grads["bh"] += np.sum(draw, axis=1, keepdims=True)
            grads["Wxh"] += draw @ xs[t].T
            grads["Whh"] += draw @ hs[t].T
            dh_next = params["Whh"].T @ draw
        return loss / self.targets.size, grads


class ScratchLSTM(FromScratch):
    """Each gate multiplies one matrix with the concatenation of state and input."""

    GATES = "ifgo"

    def from_pytorch(self, parameters: Arrays) -> Arrays:
        joined = np.concatenate([parameters["rnn.weight_hh_l0"], parameters["rnn.weight_ih_l0"]], axis=1)
        bias = parameters["rnn.bias_ih_l0"] + parameters["rnn.bias_hh_l0"]
        weights = {f"W{gate}": part for gate, part in zip(self.GATES, np.split(joined, 4), strict=True)}
        biases = {f"b{gate}": part[:, None] for gate, part in zip(self.GATES, np.split(bias, 4), strict=True)}
        return weights | biases | {"Why": parameters["head.weight"], "by": parameters["head.bias"][:, None]}

    def to_pytorch(self, grads: Arrays) -> Arrays:
        joined = np.concatenate([grads[f"W{gate}"] for gate in self.GATES])
        bias = np.concatenate([grads[f"b{gate}"] for gate in self.GATES])[:, 0]
        return {
            "rnn.weight_ih_l0": joined[:, self.hidden :],
            "rnn.weight_hh_l0": joined[:, : self.hidden],
            "rnn.bias_ih_l0": bias,
            "rnn.bias_hh_l0": bias,
            "head.weight": grads["Why"],
            "head.bias": grads["by"][:, 0],
        }

    def loss_and_gradients(self) -> tuple[float, Arrays]:
        params = self.params
        h, c = self.zeros(), self.zeros()
        cache = []
        loss = 0.0
        for t in range(len(self.inputs)):
            z = np.concatenate([h, self.one_hot(self.inputs[t])])
            i = sigmoid(params["Wi"] @ z + params["bi"])
            f = sigmoid(params["Wf"] @ z + params["bf"])
            g = np.tanh(params["Wg"] @ z + params["bg"])
            o = sigmoid(params["Wo"] @ z + params["bo"])
            c_prev = c
            c = f * c_prev + i * g
            h = o * np.tanh(c)
            p, nll = self.likelihood(h, self.targets[t])
            loss += nll
            cache.append((z, i, f, g, o, c_prev, c, h, p))
        grads = {name: np.zeros_like(array) for name, array in params.items()}
        dh_next, dc_next = self.zeros(), self.zeros()
        for t in reversed(range(len(self.inputs))):
            z, i, f, g, o, c_prev, c, h, p = cache[t]
            dh = self.head_backward(grads, p, h, self.targets[t]) + dh_next
            tanh_c = np.tanh(c)
            dc = dc_next + dh * o * (1 - tanh_c**2)
            draw = {
                "i": dc * g * i * (1 - i),
                "f": dc * c_prev * f * (1 - f),
                "g": dc * i * (1 - g**2),
                "o": dh * tanh_c * o * (1 - o),
            }
            dz = np.zeros_like(z)
            for gate, d in draw.items():
                grads[f"W{gate}"] += d @ z.T
                grads[f"b{gate}"] += np.sum(d, axis=1, keepdims=True)
                dz += params[f"W{gate}"].T @ d
            dh_next = dz[: self.hidden]
            dc_next = dc * f
        return loss / self.targets.size, grads


class ScratchGRU(FromScratch):
    """Each gate has a matrix for the input and one for the state. The reset gate acts after the candidate's product."""

    GATES = "rzn"

    def from_pytorch(self, parameters: Arrays) -> Arrays:
        params = {"Why": parameters["head.weight"], "by": parameters["head.bias"][:, None]}
        for side, name in (("x", "ih"), ("h", "hh")):
            weights = np.split(parameters[f"rnn.weight_{name}_l0"], 3)
            biases = np.split(parameters[f"rnn.bias_{name}_l0"], 3)
            for gate, weight, bias in zip(self.GATES, weights, biases, strict=True):
                params[f"W{side}{gate}"], params[f"b{side}{gate}"] = weight, bias[:, None]
        for gate in "rz":
            params[f"bx{gate}"] = params[f"bx{gate}"] + params.pop(f"bh{gate}")
        return params

    def to_pytorch(self, grads: Arrays) -> Arrays:
        def joined(*names: str) -> np.ndarray:
            return np.concatenate([grads[name] for name in names])

        return {
            "rnn.weight_ih_l0": joined("Wxr", "Wxz", "Wxn"),
            "rnn.weight_hh_l0": joined("Whr", "Whz", "Whn"),
            "rnn.bias_ih_l0": joined("bxr", "bxz", "bxn")[:, 0],
            "rnn.bias_hh_l0": joined("bxr", "bxz", "bhn")[:, 0],
            "head.weight": grads["Why"],
            "head.bias": grads["by"][:, 0],
        }

    def loss_and_gradients(self) -> tuple[float, Arrays]:
        params = self.params
        h = self.zeros()
        cache = []
        loss = 0.0
        for t in range(len(self.inputs)):
            x = self.one_hot(self.inputs[t])
            h_prev = h
            r = sigmoid(params["Wxr"] @ x + params["Whr"] @ h_prev + params["bxr"])
            z = sigmoid(params["Wxz"] @ x + params["Whz"] @ h_prev + params["bxz"])
            s = params["Whn"] @ h_prev + params["bhn"]
            n = np.tanh(params["Wxn"] @ x + params["bxn"] + r * s)
            h = (1 - z) * n + z * h_prev
            p, nll = self.likelihood(h, self.targets[t])
            loss += nll
            cache.append((x, h_prev, r, z, s, n, h, p))
        grads = {name: np.zeros_like(array) for name, array in params.items()}
        dh_next = self.zeros()
        for t in reversed(range(len(self.inputs))):
            x, h_prev, r, z, s, n, h, p = cache[t]
            dh = self.head_backward(grads, p, h, self.targets[t]) + dh_next
            dn = dh * (1 - z) * (1 - n**2)
            dz = dh * (h_prev - n) * z * (1 - z)
            dr = dn * s * r * (1 - r)
            dh_next = dh * z
            for gate, d, dstate in (("r", dr, dr), ("z", dz, dz), ("n", dn, dn * r)):
                grads[f"Wx{gate}"] += d @ x.T
                grads[f"bx{gate}"] += np.sum(d, axis=1, keepdims=True)
                grads[f"Wh{gate}"] += dstate @ h_prev.T
                dh_next += params[f"Wh{gate}"].T @ dstate
            grads["bhn"] += np.sum(dn * r, axis=1, keepdims=True)
        return loss / self.targets.size, grads


def scratch(task: Task) -> FromScratch:
    return {"vanilla": ScratchRNN, "lstm": ScratchLSTM, "gru": ScratchGRU}[task.cell](task)


WAYS = {"loops": scratch}
