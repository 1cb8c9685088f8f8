"""The time that hooks and guards take per batch, as a fraction of a training step.

The measured loop is that of the trainer without the network. It takes a batch, requests the hidden state, passes loss
and gradients of a real network to ``run.backward``, and carries the state. The time of the same loop without a run is
subtracted, and the rest is divided by the time of a real training step in the same process. These take turns, and the
median over the rounds is printed. Guards are measured in a run that trains a network.

    python tests/benchmarks/bench_hook_overhead.py --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial

SIZES = ((25, 1, 65, 100), (64, 32, 103, 128))
BATCHES = 200
"""Training batches of an epoch, over which the work of a plugin at the end of the epoch is averaged."""

REMEDIES = ("hidden_state_reset", "divergence_alarm", "gradient_clipping", "loss_averaging")


def measure_guards(size: tuple[int, int, int, int], rounds: int) -> dict[str, float]:
    """Time within hooks divided by all other time, while a network is trained on text for one epoch.

    Guards inspect the first batches closely and later ones rarely, so the result is an average over 200 batches. With a
    closure, they evaluate the loss some dozens of times. Without one, they see only gradients and parameters.
    """
    import numpy as np

    from rnncallbacks import Run, load_plugins, recommended
    from rnncallbacks.rnn.data.streams import StreamLoader
    from rnncallbacks.rnn.data.text import Vocabulary, embedded_text
    from rnncallbacks.rnn.model import RecurrentModel
    from rnncallbacks.rnn.optimizers import Adam

    seq_len, batch_size, _, hidden_size = size
    text = embedded_text()
    tokens = Vocabulary.from_tokens(text).encode(text)
    tokens = np.resize(tokens, seq_len * batch_size * BATCHES + 1)
    loader = StreamLoader(tokens, batch_size, seq_len)

    def epoch(plugins: Mapping[str, object], with_closure: bool) -> float:
        model, optimizer = RecurrentModel(hidden_size, vocab_size=int(tokens.max()) + 1), Adam()
        optimizer.bind(model.parameters)
        run = Run(model.parameters, plugins=plugins, learning_rate=1e-3, zeros=model.zero_state)
        inside = 0.0
        call = run.plugins.call

        def timed(hook: str, **arguments: object) -> None:
            nonlocal inside
            start = time.perf_counter()
            call(hook, **arguments)
            inside += time.perf_counter() - start

        run.plugins.call = timed  # type: ignore[method-assign]
        start = time.perf_counter()
        with run:
            for _ in run.epochs(1):
                for batch in run.batches(loader):
                    state = run.hidden(batch.size)
                    loss, final = model.forward(batch, state)
                    gradients = model.backward()
                    closure = None
                    if with_closure:
                        going_back = partial(model.hidden_gradients, batch, state)
                        run.observe(hidden_states=model.hidden_states, hidden_gradients=going_back)
                        closure = partial(model.reevaluate, batch, state)
                    run.backward(loss, gradients, closure=closure, sequences=batch.size, tokens=batch.tokens)
                    run.carry(final)
                    optimizer.step(gradients, run.learning_rate)
        assert not run.alarms, run.alarms
        return inside / (time.perf_counter() - start - inside)

    sets: dict[str, tuple[Callable[[], Mapping[str, object]], bool]] = {
        "remedies": (lambda: load_plugins({"plugins": {name: {} for name in REMEDIES}}), False),
        "remedies and guards": (recommended, False),
        "and a closure": (recommended, True),
    }
    shares: dict[str, list[float]] = {name: [] for name in sets}
    for _ in range(rounds + 1):
        for name, (make, with_closure) in sets.items():
            shares[name].append(epoch(make(), with_closure))
    return {name: statistics.median(some[1:]) for name, some in shares.items()}


def measure(size: tuple[int, int, int, int], rounds: int) -> dict[str, float]:
    import numpy as np

    from rnncallbacks import Run, load_plugins
    from rnncallbacks.rnn.data.batches import SequenceBatch
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

    plugins: dict[str, Callable[[], Mapping[str, object]]] = {
        "no plugin": dict,
        "remedies": lambda: load_plugins({"plugins": {name: {} for name in REMEDIES}}),
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
    guards = {str(size): measure_guards(size, max(arguments.rounds // 3, 1)) for size in SIZES}
    if arguments.json:
        print(json.dumps({"machinery": results, "within hooks": guards}, indent=2))
        return
    for size, result in results.items():
        print(f"(T, B, V, H) = {size}: step {result['step_us']:.0f} us")
        for name in ("no plugin", "remedies"):
            print(f"  {name:<13} {result[f'{name}_us']:7.1f} us per batch, {result[f'{name}_share']:6.2%} of a step")
        print("  within hooks, in a run that trains")
        for name, share in guards[size].items():
            print(f"    {name:<22} {share:6.2%} of all other time")


if __name__ == "__main__":
    main()
