"""What hooks and guards cost: time per batch of a run's machinery, as a share of a training step.

The loop is the trainer's without the network: it takes a batch, asks for the state, gives loss and gradients (those of
the real network at that size, so that norms and clipping have their real work), carries the state, and takes a step
along the gradients, so that guards see parameters that change. The same loop without a run is taken off. What is left
is divided by the time of a real training step in the same process. Rounds of all of these take turns; the median over
rounds is printed. Each loop is a run of one epoch, over which what guards do in their first batches is spread.

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
from functools import partial
from pathlib import Path
from typing import Any

SIZES = ((25, 1, 65, 100), (64, 32, 103, 128))
BATCHES = 200
"""Training batches of one epoch: what a plugin does once an epoch is spread over these."""
REMEDIES = ("hidden_state_reset", "divergence_alarm", "gradient_clipping", "loss_averaging")


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

    from rnncallbacks import Run, load_plugins, recommended
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

    first = model.parameters.flat.copy()
    update = 1e-3 * gradients.flat

    def bare() -> None:
        for _ in batches:
            model.zero_state(batch_size)
            model.parameters.flat -= update

    def in_a_run(plugins: Mapping[str, object], evidence: bool) -> Callable[[], None]:
        np.copyto(model.parameters.flat, first)
        run = Run(model.parameters, plugins=plugins, learning_rate=1e-3, zeros=model.zero_state)

        def loop() -> None:
            with run:
                for _ in run.epochs(1):
                    for each in run.batches(batches):
                        entering = run.hidden(each.size)
                        closure = None
                        if evidence:
                            run.observe(hidden_states=model.hidden_states, hidden_gradients=model.hidden_gradients)
                            closure = partial(model.evaluate, each, entering)
                        run.backward(loss, gradients, closure=closure, sequences=each.size, tokens=each.tokens)
                        run.carry(state)
                        if not run.skipped:
                            _ = run.learning_rate
                            model.parameters.flat -= update

        return loop

    with tempfile.TemporaryDirectory() as directory:
        plugins: dict[str, tuple[Callable[[], Mapping[str, object]], bool]] = {
            "no plugin": (dict, False),
            "remedies": (lambda: load_plugins({"plugins": {name: {} for name in REMEDIES}}), False),
            "remedies, guards": (recommended, False),
            "the same, closure": (recommended, True),
            "every plugin": (lambda: every_plugin(Path(directory)), True),
        }
        times: dict[str, list[float]] = {"step": [], "bare": []} | {name: [] for name in plugins}
        for _ in range(rounds + 1):
            times["step"].append(_timed(step) / 20)
            times["bare"].append(_timed(bare) / BATCHES)
            for name, (make, evidence) in plugins.items():
                times[name].append(_timed(in_a_run(make(), evidence)) / BATCHES)
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
        for name in (key.removesuffix("_us") for key in result if key.endswith("_us") and key != "step_us"):
            print(f"  {name:<18} {result[f'{name}_us']:7.1f} us a batch, {result[f'{name}_share']:6.2%} of the step")


if __name__ == "__main__":
    main()
