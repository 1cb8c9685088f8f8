"""Time of one training step: forward, backward, global-norm clipping, Adam.

Three contenders train the same character network from the same parameters on the same tokens:

- ours: ``RecurrentModel`` and ``Adam``;
- scratch: the usual from-scratch style, ``from_scratch.py``;
- torch: ``nn.RNN`` and ``nn.Linear`` on one-hot floats that were made beforehand (the fastest form: the encoding itself
  is not timed), ``clip_grad_norm_`` and ``Adam(fused=True)``.

Each has a process of its own. They take turns within one run, one sample at a time, so that all see the same machine. A
ratio is the median over rounds of theirs / ours within a round. Before anything is timed, the losses of all contenders
are compared, before the first update and after some. (They differ a little then: the from-scratch style has one bias
where the others have two, so that its bias moves half as far.)

    python tests/benchmarks/bench_step_time.py --threads 1 --json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

SIZES = ((25, 1, 65, 100), (32, 16, 65, 64), (64, 32, 103, 128), (64, 32, 103, 256), (64, 64, 65, 512))
LEARNING_RATE = 1e-3
MAX_NORM = 5.0
TRIAL_STEPS = 10

Size = tuple[int, int, int, int]
Step = Callable[[], float]


def ours(size: Size) -> Step:
    import numpy as np

    from rnncallbacks.rnn.batches import SequenceBatch
    from rnncallbacks.rnn.optimizers import Adam

    seq_len, batch_size, vocab_size, _ = size
    model = _model(size)
    optimizer = Adam()
    optimizer.bind(model.parameters)
    tokens = _tokens(seq_len, batch_size, vocab_size)
    batch = SequenceBatch(tokens[:-1], tokens[1:])

    def step() -> float:
        loss, _ = model.forward(batch, model.zero_state(batch_size))
        gradients = model.backward()
        flat = gradients.flat
        norm = float(np.sqrt(np.dot(flat, flat)))
        if norm > MAX_NORM:
            flat *= MAX_NORM / norm
        optimizer.step(gradients, LEARNING_RATE)
        return loss

    return step


def scratch(size: Size) -> Step:
    from from_scratch import FromScratchRNN

    seq_len, batch_size, vocab_size, _ = size
    parameters = _model(size).parameters
    bias = parameters["rnn.bias_ih_l0"] + parameters["rnn.bias_hh_l0"]
    network = FromScratchRNN(
        {
            "Wxh": parameters["rnn.weight_ih_l0"],
            "Whh": parameters["rnn.weight_hh_l0"],
            "Why": parameters["head.weight"],
            "bh": bias[:, None],
            "by": parameters["head.bias"][:, None],
        },
        LEARNING_RATE,
        MAX_NORM,
    )
    tokens = _tokens(seq_len, batch_size, vocab_size)
    return lambda: network.train_step(tokens[:-1], tokens[1:])


def torch(size: Size) -> Step:
    import torch
    from torch import nn

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    seq_len, batch_size, vocab_size, hidden_size = size
    rnn, head = nn.RNN(vocab_size, hidden_size), nn.Linear(hidden_size, vocab_size)
    parameters = [*rnn.parameters(), *head.parameters()]
    names = [f"rnn.{name}" for name, _ in rnn.named_parameters()] + [
        f"head.{name}" for name, _ in head.named_parameters()
    ]
    start = _model(size).parameters
    with torch.no_grad():
        for name, parameter in zip(names, parameters, strict=True):
            parameter.copy_(torch.from_numpy(start[name]))
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
    tokens = torch.from_numpy(_tokens(seq_len, batch_size, vocab_size))
    inputs = nn.functional.one_hot(tokens[:-1], vocab_size).float()
    targets = tokens[1:].reshape(-1)

    def step() -> float:
        optimizer.zero_grad()
        hidden, _ = rnn(inputs, torch.zeros(1, batch_size, hidden_size))
        loss = nn.functional.cross_entropy(head(hidden).view(-1, vocab_size), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()
        return loss.item()

    return step


CONTENDERS = {"ours": ours, "scratch": scratch, "torch": torch}


def _model(size: Size) -> Any:
    from rnncallbacks.rnn.model import RecurrentModel

    _, _, vocab_size, hidden_size = size
    return RecurrentModel(hidden_size, vocab_size=vocab_size)


def _tokens(seq_len: int, batch_size: int, vocab_size: int) -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(0, vocab_size, (seq_len + 1, batch_size))


def _serve(name: str, size: Size, pipe: Connection) -> None:
    """In a process of its own: answer a number of steps with the seconds per step and the last loss; end at 0."""
    step = CONTENDERS[name](size)
    while steps := pipe.recv():
        begin = time.perf_counter()
        for _ in range(steps):
            loss = step()
        pipe.send(((time.perf_counter() - begin) / steps, loss))


class _Contender:
    def __init__(self, name: str, size: Size) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(name, size, theirs), daemon=True)
        self.process.start()

    def run(self, steps: int) -> tuple[float, float]:
        self.pipe.send(steps)
        seconds, loss = self.pipe.recv()
        return seconds, loss

    def close(self) -> None:
        self.pipe.send(0)
        self.process.join()


def compare(size: Size, names: list[str], rounds: int, seconds: float) -> dict[str, object]:
    """Samples of all contenders in turns; medians in microseconds, and ratios to ours."""
    contenders = {name: _Contender(name, size) for name in names}
    for trial, tolerance in ((1, 1e-5), (TRIAL_STEPS, 0.02)):
        losses = {name: contender.run(trial)[1] for name, contender in contenders.items()}
        if max(losses.values()) - min(losses.values()) > tolerance * losses["ours"]:
            sys.exit(f"{size}: the contenders do not train the same network: losses after {trial} steps: {losses}")
    steps = {name: max(1, round(seconds / contender.run(TRIAL_STEPS)[0])) for name, contender in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, contender in contenders.items():
            samples[name].append(contender.run(steps[name])[0])
    for contender in contenders.values():
        contender.close()
    medians = {name: statistics.median(times) for name, times in samples.items()}
    result: dict[str, object] = dict(zip(("seq_len", "batch_size", "vocab_size", "hidden_size"), size, strict=True))
    result |= {f"{name}_us": round(median * 1e6, 1) for name, median in medians.items()}
    for name in names[1:]:
        pairs = [other / own for other, own in zip(samples[name], samples["ours"], strict=True)]
        result[f"{name}_ratio"] = round(statistics.median(pairs), 2)
        result[f"{name}_ratio_of_medians"] = round(medians[name] / medians["ours"], 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of the linear algebra (default: 1)")
    parser.add_argument("--sizes", nargs="*", metavar="T,B,V,H", help="only these; default: all five")
    parser.add_argument("--rounds", type=int, default=15, help="samples per contender (default: 15)")
    parser.add_argument("--seconds", type=float, default=0.05, help="length of a sample (default: 0.05)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(options.threads)
    names = ["ours", "scratch"]
    skipped = ""
    if find_spec("torch"):
        names.append("torch")
    else:
        skipped = "torch is not installed, so nothing is compared with it"
    sizes = [tuple(int(part) for part in text.split(",")) for text in options.sizes] if options.sizes else list(SIZES)
    results = []
    if not options.json:
        print(f"threads {options.threads}; microseconds per step, and median ratio to ours", skipped, sep="\n")
    for size in sizes:
        result = compare(size, names, options.rounds, options.seconds)
        results.append(result)
        if not options.json:
            line = [f"{result[f'{name}_us']:>10}" for name in names]
            line += [f"{name} x{result[f'{name}_ratio']}" for name in names[1:]]
            print(size, *line, flush=True)
    if options.json:
        print(json.dumps({"threads": options.threads, "skipped": skipped, "results": results}, indent=2))


if __name__ == "__main__":
    main()
