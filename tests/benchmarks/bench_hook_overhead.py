"""What the hooks cost: time per batch of a run's machinery, as a share of a training step.

The loop is the trainer's without the network: it takes a batch, asks for the state, gives loss and gradients (those of
the real network at that size, so that norms and clipping have their real work), and carries the state. The same loop
without a run is taken off. What is left is divided by the time of a real training step in the same process. Rounds of
all of these take turns; the median over rounds is printed.

    python tests/benchmarks/bench_hook_overhead.py --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

SIZES = ((25, 1, 65, 100), (64, 32, 103, 128))
BATCHES = 200
"""Training batches of one epoch: what a plugin does once an epoch is spread over these."""


def every_plugin(directory: Path) -> dict[str, object]:
    from rnncallbacks.discovery import find_plugins

    options: Mapping[str, dict[str, Any]] = {
        "checkpoint": {"path": directory / "checkpoint.safetensors", "resume": False},
        "history_log": {"directory": directory, "overwrite": True},
        "warmup": {"steps": 100},
        "step_decay": {"every": 10},
        "exponential_decay": {"factor": 0.99},
        "cosine_decay": {"steps": 1000},
        "one_cycle": {"steps": 1000},
        "inverse_sqrt": {"warmup_steps": 100},
        "early_stopping": {"monitor": "train_loss"},
        "reduce_on_plateau": {"monitor": "train_loss"},
    }
    return {
        found.name: found.load()(**options.get(found.name, {}))
        for found in find_plugins()
        if found.distribution == "rnncallbacks"
    }


def measure(size: tuple[int, int, int, int], rounds: int) -> dict[str, float]:
    import numpy as np

    from rnncallbacks import Run, recommended
    from rnncallbacks.rnn.batches import SequenceBatch
    from rnncallbacks.rnn.model import RecurrentModel
    from rnncallbacks.rnn.optimizers import Adam

    seq_len, batch_size, vocab_size, hidden_size = size
    model = RecurrentModel(hidden_size, vocab_size=vocab_size)
    optimizer = Adam()
    optimizer.bind(model.parameters)
    tokens = np.random.default_rng(0).integers(vocab_size, size=(seq_len + 1, batch_size))
    batch = SequenceBatch(tokens[:-1], tokens[1:])
    batches = [batch] * BATCHES
    state = model.zero_state(batch_size)
    loss, _ = model.forward(batch, state)
    gradients = model.backward()

    def step() -> None:
        for each in batches[:20]:
            model.forward(each, model.zero_state(batch_size))
            optimizer.step(model.backward(), 1e-9)

    def bare() -> None:
        for _ in batches:
            model.zero_state(batch_size)

    def in_a_run(plugins: Mapping[str, object]) -> Callable[[], None]:
        run = Run(model.parameters, plugins=plugins, learning_rate=1e-3, zeros=model.zero_state)

        def loop() -> None:
            with run:
                for _ in run.epochs(1):
                    for each in run.batches(batches):
                        run.hidden(each.size)
                        run.backward(loss, gradients, sequences=each.size, tokens=each.tokens)
                        run.carry(state)
                        if not run.skipped:
                            _ = run.learning_rate

        return loop

    with tempfile.TemporaryDirectory() as directory:
        plugins: dict[str, Callable[[], Mapping[str, object]]] = {
            "no plugin": dict,
            "recommended": recommended,
            "every plugin": lambda: every_plugin(Path(directory)),
        }
        times: dict[str, list[float]] = {"step": [], "bare": []} | {name: [] for name in plugins}
        for _ in range(rounds + 1):
            times["step"].append(_timed(step) / 20)
            times["bare"].append(_timed(bare) / BATCHES)
            for name, make in plugins.items():
                times[name].append(_timed(in_a_run(make())) / BATCHES)
    medians = {name: statistics.median(samples[1:]) for name, samples in times.items()}
    result = {"step_us": medians["step"] * 1e6}
    for name in plugins:
        extra = medians[name] - medians["bare"]
        result[f"{name}_us"] = extra * 1e6
        result[f"{name}_share"] = extra / medians["step"]
    return result


def _timed(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    with open(os.devnull, "w") as sink, redirect_stdout(sink):
        function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    results = {str(size): measure(size, arguments.rounds) for size in SIZES}
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for size, result in results.items():
        print(f"(T, B, V, H) = {size}: step {result['step_us']:.0f} us")
        for name in ("no plugin", "recommended", "every plugin"):
            print(f"  {name:<13} {result[f'{name}_us']:7.1f} us a batch, {result[f'{name}_share']:6.2%} of the step")


if __name__ == "__main__":
    main()
