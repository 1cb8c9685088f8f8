"""Makes the stored reference numbers with PyTorch: losses, states, gradients, and the paths of optimizers.

    python tests/rnn/reference/make_reference.py

Everything is float64. The tests read the files without PyTorch; where PyTorch is installed, they also call the
functions here on other data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).parent
HIDDEN, SEQ_LEN, BATCH = 5, 6, 3
LENGTHS = (4, 6, 1)

MODELS: dict[str, dict[str, Any]] = {
    "tokens": {"vocab_size": 7},
    "tokens_relu": {"vocab_size": 7, "nonlinearity": "relu"},
    "tokens_masked": {"vocab_size": 7, "masked": True},
    "tokens_many": {"vocab_size": 40},
    "embedding": {"vocab_size": 7, "embedding_size": 4},
    "embedding_many": {"vocab_size": 40, "embedding_size": 4, "nonlinearity": "relu"},
    "tokens_last": {"vocab_size": 7, "output_size": 2, "output": "last"},
    "tokens_last_masked": {"vocab_size": 7, "output_size": 2, "output": "last", "masked": True},
    "dense": {"input_size": 4, "output_size": 3},
    "dense_mse": {"input_size": 4, "output_size": 2, "loss": "mse", "nonlinearity": "relu"},
    "dense_mse_masked": {"input_size": 4, "output_size": 2, "loss": "mse", "masked": True},
    "dense_mse_last_masked": {"input_size": 4, "output_size": 2, "loss": "mse", "output": "last", "masked": True},
}

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSProp", {}),
    ("RMSProp", {"alpha": 0.9, "eps": 1e-3, "momentum": 0.7, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"betas": (0.7, 0.8), "eps": 1e-2, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.7, 0.8), "eps": 1e-2, "weight_decay": 0.3}),
]


class Network(nn.Module):
    """The network of the library as one would write it in PyTorch; its parameters have the same names."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.options = options
        size = options.get("input_size") or options.get("embedding_size") or options["vocab_size"]
        if "embedding_size" in options:
            self.embedding = nn.Embedding(options["vocab_size"], size)
        self.rnn = nn.RNN(size, HIDDEN, nonlinearity=options.get("nonlinearity", "tanh"))
        self.head = nn.Linear(HIDDEN, options.get("output_size") or options["vocab_size"])
        self.double()

    def forward(self, inputs: torch.Tensor, state: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if "embedding_size" in self.options:
            inputs = self.embedding(inputs)
        elif "vocab_size" in self.options:
            inputs = nn.functional.one_hot(inputs, self.options["vocab_size"]).double()
        packed = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
        hidden, final = self.rnn(packed, state[None])
        if self.options.get("output") == "last":
            return self.head(final[0]), final[0]
        return self.head(pad_packed_sequence(hidden, total_length=inputs.shape[0])[0]), final[0]


def model_case(options: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Parameters, data, and what PyTorch makes of them, by name."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = Network(options)
    lengths = np.array(LENGTHS if options.get("masked") else [SEQ_LEN] * BATCH)
    mask = np.arange(SEQ_LEN)[:, None] < lengths
    steps = (SEQ_LEN, BATCH)
    if "vocab_size" in options:
        inputs = generator.integers(0, options["vocab_size"], steps)
    else:
        inputs = generator.standard_normal((*steps, options["input_size"]))
    leading = steps if options.get("output", "step") == "step" else (BATCH,)
    outputs = network.head.out_features
    nll = options.get("loss", "nll") == "nll"
    targets = generator.integers(0, outputs, leading) if nll else generator.standard_normal((*leading, outputs))
    state = generator.standard_normal((BATCH, HIDDEN))

    predicted, final = network(torch.from_numpy(inputs), torch.from_numpy(state), torch.from_numpy(lengths))
    wanted = torch.from_numpy(targets)
    if len(leading) == 2:
        predicted, wanted = predicted[torch.from_numpy(mask)], wanted[torch.from_numpy(mask)]
    loss = nn.functional.cross_entropy(predicted, wanted) if nll else nn.functional.mse_loss(predicted, wanted)
    loss.backward()
    case = {"inputs": inputs, "targets": targets, "state": state, "loss": loss.detach(), "final": final.detach()}
    if options.get("masked"):
        case["mask"] = mask
    for name, parameter in network.named_parameters():
        case[f"parameter/{name}"] = parameter.detach()
        case[f"gradient/{name}"] = parameter.grad
    return {name: array.numpy() if isinstance(array, torch.Tensor) else array for name, array in case.items()}


def optimizer_case(name: str, options: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """The parameters before the first step and after each, for given gradients and learning rates."""
    generator = np.random.default_rng(seed)
    gradients = generator.standard_normal((6, 4)) * np.array([1.0, 1e-4, 1e3, 0.1])
    gradients[2] = 0.0
    learning_rates = np.array([0.1, 0.1, 0.05, 0.2, 0.0, 0.1])
    parameter = torch.from_numpy(generator.standard_normal(4)).requires_grad_()
    path = [parameter.detach().clone().numpy()]
    optimizer = getattr(torch.optim, "RMSprop" if name == "RMSProp" else name)([parameter], **options)
    for gradient, learning_rate in zip(gradients, learning_rates, strict=True):
        optimizer.param_groups[0]["lr"] = learning_rate
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        path.append(parameter.detach().clone().numpy())
    return {"gradients": gradients, "learning_rates": learning_rates, "path": np.array(path)}


def main() -> None:
    models: dict[str, np.ndarray] = {}
    for seed, (name, options) in enumerate(MODELS.items()):
        models[f"{name}/options"] = np.array(json.dumps(options))
        models |= {f"{name}/{key}": array for key, array in model_case(options, seed).items()}
    np.savez_compressed(HERE / "models.npz", **models)
    optimizers: dict[str, np.ndarray] = {}
    for seed, (name, options) in enumerate(OPTIMIZERS):
        optimizers[f"{seed}/options"] = np.array(json.dumps([name, options]))
        optimizers |= {f"{seed}/{key}": array for key, array in optimizer_case(name, options, seed).items()}
    np.savez_compressed(HERE / "optimizers.npz", **optimizers)


if __name__ == "__main__":
    main()
