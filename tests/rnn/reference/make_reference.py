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
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

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
    "lstm": {"cell": "lstm", "vocab_size": 7},
    "lstm_embedding_masked": {"cell": "lstm", "vocab_size": 40, "embedding_size": 4, "masked": True},
    "lstm_dense_mse": {"cell": "lstm", "input_size": 4, "output_size": 2, "loss": "mse"},
    "lstm_layers": {"cell": "lstm", "vocab_size": 7, "num_layers": 3},
    "lstm_both_ways_masked": {
        "cell": "lstm",
        "vocab_size": 7,
        "embedding_size": 4,
        "num_layers": 2,
        "bidirectional": True,
        "masked": True,
    },
    "lstm_both_ways_last": {"cell": "lstm", "input_size": 4, "output_size": 3, "bidirectional": True, "output": "last"},
    "lstm_tied": {"cell": "lstm", "vocab_size": 7, "embedding_size": 5, "tie_weights": True},
    "gru": {"cell": "gru", "vocab_size": 7},
    "gru_embedding_masked": {"cell": "gru", "vocab_size": 40, "embedding_size": 4, "masked": True},
    "gru_dense_mse_last_masked": {
        "cell": "gru",
        "input_size": 4,
        "output_size": 2,
        "loss": "mse",
        "output": "last",
        "masked": True,
    },
    "gru_layers": {"cell": "gru", "vocab_size": 7, "num_layers": 3},
    "gru_both_ways": {"cell": "gru", "vocab_size": 40, "num_layers": 2, "bidirectional": True},
    "layers": {"vocab_size": 7, "num_layers": 2},
    "relu_both_ways_last_masked": {
        "input_size": 4,
        "output_size": 3,
        "nonlinearity": "relu",
        "num_layers": 2,
        "bidirectional": True,
        "output": "last",
        "masked": True,
    },
    "residual": {"vocab_size": 7, "num_layers": 3, "residual": True},
    "lstm_norm_masked": {"cell": "lstm", "vocab_size": 7, "layer_norm": True, "masked": True},
    "gru_residual_norm": {
        "cell": "gru",
        "vocab_size": 7,
        "num_layers": 3,
        "bidirectional": True,
        "residual": True,
        "layer_norm": True,
    },
    "tied_both_ways": {"vocab_size": 7, "embedding_size": 10, "bidirectional": True, "tie_weights": True},
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


MODULES = {"vanilla": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Network(nn.Module):
    """The network of the library as one would write it in PyTorch; its parameters have the same names."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.options = options
        size = options.get("input_size") or options.get("embedding_size") or options["vocab_size"]
        if "embedding_size" in options:
            self.embedding = nn.Embedding(options["vocab_size"], size)
        self.layers = options.get("num_layers", 1)
        self.directions = 2 if options.get("bidirectional") else 1
        width = self.directions * HIDDEN
        shape = {"num_layers": self.layers, "bidirectional": self.directions == 2}
        if "nonlinearity" in options:
            shape["nonlinearity"] = options["nonlinearity"]
        module = MODULES[options.get("cell", "vanilla")]
        self.rnn = module(size, HIDDEN, **shape)
        if options.get("layer_norm"):
            self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(self.layers)])
        self.head = nn.Linear(width, options.get("output_size") or options["vocab_size"])
        if options.get("tie_weights"):
            self.head.weight = self.embedding.weight
        # One layer at a time, with the parameters of self.rnn. In a list, so that they are no parts of the network.
        shape["num_layers"] = 1
        self.single = [module(size if layer == 0 else width, HIDDEN, **shape).double() for layer in range(self.layers)]
        self.double()

    def recur(self, packed: PackedSequence, state: Any) -> tuple[PackedSequence, Any]:
        if not (self.options.get("layer_norm") or self.options.get("residual")):
            return self.rnn(packed, state)
        finals = []
        for layer, module in enumerate(self.single):
            names = [name for name, _ in module.named_parameters()]
            own = {name: getattr(self.rnn, name.replace("_l0", f"_l{layer}")) for name in names}
            rows = slice(layer * self.directions, (layer + 1) * self.directions)
            entering = tuple(part[rows] for part in state) if isinstance(state, tuple) else state[rows]
            above, final = torch.func.functional_call(module, own, (packed, entering))
            data = above.data
            if self.options.get("residual") and layer > 0:
                data = data + packed.data
            if self.options.get("layer_norm"):
                data = self.norms[layer](data)
            packed = above._replace(data=data)
            finals.append(final)
        if isinstance(state, tuple):
            return packed, tuple(torch.cat(parts) for parts in zip(*finals, strict=True))
        return packed, torch.cat(finals)

    def forward(self, inputs: torch.Tensor, state: Any, lengths: torch.Tensor) -> tuple[torch.Tensor, Any]:
        if "embedding_size" in self.options:
            inputs = self.embedding(inputs)
        elif "vocab_size" in self.options:
            inputs = nn.functional.one_hot(inputs, self.options["vocab_size"]).double()
        packed, final = self.recur(pack_padded_sequence(inputs, lengths, enforce_sorted=False), state)
        hidden = pad_packed_sequence(packed, total_length=inputs.shape[0])[0]
        if self.options.get("output") == "last":
            hidden = torch.cat([hidden[lengths - 1, torch.arange(BATCH), :HIDDEN], hidden[0, :, HIDDEN:]], dim=1)
        return self.head(hidden), final


def model_case(options: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Parameters, data, and what PyTorch makes of them, by name. States are (layers * directions, batch, hidden)."""
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
    parts = ("hidden", "cell") if options.get("cell") == "lstm" else ("hidden",)
    states = {part: generator.standard_normal((network.layers * network.directions, BATCH, HIDDEN)) for part in parts}
    entering = tuple(torch.from_numpy(array) for array in states.values())

    predicted, final = network(
        torch.from_numpy(inputs), entering if len(parts) > 1 else entering[0], torch.from_numpy(lengths)
    )
    wanted = torch.from_numpy(targets)
    if len(leading) == 2:
        predicted, wanted = predicted[torch.from_numpy(mask)], wanted[torch.from_numpy(mask)]
    loss = nn.functional.cross_entropy(predicted, wanted) if nll else nn.functional.mse_loss(predicted, wanted)
    loss.backward()
    case = {"inputs": inputs, "targets": targets, "loss": loss.detach()}
    for part, left in zip(parts, final if len(parts) > 1 else [final], strict=True):
        case |= {f"state/{part}": states[part], f"final/{part}": left.detach()}
    if options.get("masked"):
        case["mask"] = mask
    for name, parameter in network.named_parameters():
        case[f"parameter/{name}"] = parameter.detach()
        case[f"gradient/{name}"] = parameter.grad
    return {name: array.numpy() if isinstance(array, torch.Tensor) else array for name, array in case.items()}


def outputs_of(network: Network, options: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Data without padding, and the network's outputs."""
    case = model_case(options | {"masked": False}, seed)
    parts = [torch.from_numpy(case[f"state/{part}"]) for part in ("hidden", "cell") if f"state/{part}" in case]
    with torch.no_grad():
        state = tuple(parts) if len(parts) > 1 else parts[0]
        outputs, _ = network(torch.from_numpy(case["inputs"]), state, torch.full((BATCH,), SEQ_LEN))
    return case | {"outputs": outputs.numpy()}


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
    # A file of PyTorch's own, for one of the networks above.
    parameters = {key: array for key, array in models.items() if key.startswith("lstm_both_ways_masked/parameter/")}
    network = Network(MODELS["lstm_both_ways_masked"])
    network.load_state_dict({key.split("/", 2)[2]: torch.from_numpy(array) for key, array in parameters.items()})
    save_file(network.state_dict(), HERE / "state_dict.safetensors")
    optimizers: dict[str, np.ndarray] = {}
    for seed, (name, options) in enumerate(OPTIMIZERS):
        optimizers[f"{seed}/options"] = np.array(json.dumps([name, options]))
        optimizers |= {f"{seed}/{key}": array for key, array in optimizer_case(name, options, seed).items()}
    np.savez_compressed(HERE / "optimizers.npz", **optimizers)


if __name__ == "__main__":
    main()
