"""The cost of a run with recommended() in a loop written from scratch, relative to the loop without the library.

A vanilla network in float64 predicts the next token of random Markov chains for 600 batches, as in the examples: a
Python loop over time steps in both directions, parameters in a dict, updates in place. These variants take turns in one
process, and the time of each is divided by that of the loop without a run:

- ``no plugin``: ``Run(params)``, ``run.batches``, ``run.hidden`` and ``run.backward``;
- ``recommended``: the same with ``plugins=recommended()``;
- ``observed``: also ``run.observe(hidden_states=..., logits=...)``;
- ``closure``: also ``run.backward(..., closure=...)``, which guards call some dozens of times.

The CPU time of each batch is its minimum over the rounds, which leaves out what other processes disturb; the sums of
these minima are compared. With ``--by-plugin``, the time within the hooks of each plugin is printed instead, in
microseconds per batch.

    python tests/benchmarks/bench_guard_overhead.py --rounds 7
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from rnncallbacks import Run, recommended

Array = npt.NDArray[Any]
Size = tuple[int, int, int, int]

SIZES: tuple[Size, ...] = ((25, 1, 65, 100), (10, 8, 4, 50), (32, 16, 65, 64), (64, 32, 103, 128))
"""T, B, V, H."""
EPOCHS, BATCHES = 3, 200
LEARNING_RATE = 0.1
STAGES = (5, 16, 40, 120, 285)
"""Batches at which the extra time is split, as guards look closely at the first ones."""
VARIANTS = ("plain", "no plugin", "recommended", "observed", "closure")


def markov_batches(size: Size) -> list[tuple[Array, Array]]:
    """Inputs and targets of shape (T, B): each token has four successors, with unequal probabilities."""
    seq_len, batch_size, vocab_size, _ = size
    rng = np.random.default_rng(0)
    successors = rng.integers(vocab_size, size=(vocab_size, 4))
    tokens = np.empty((seq_len + 1, BATCHES * batch_size), dtype=np.intp)
    tokens[0] = rng.integers(vocab_size, size=tokens.shape[1])
    for t in range(seq_len):
        tokens[t + 1] = successors[tokens[t], rng.choice(4, size=tokens.shape[1], p=[0.6, 0.2, 0.1, 0.1])]
    chunks = np.split(tokens, BATCHES, axis=1)
    return [(chunk[:-1], chunk[1:]) for chunk in chunks]


def initial_params(size: Size) -> dict[str, Array]:
    _, _, vocab_size, hidden_size = size
    rng = np.random.default_rng(1)
    return {
        "Wxh": rng.standard_normal((hidden_size, vocab_size)) / np.sqrt(hidden_size),
        "Whh": np.linalg.qr(rng.standard_normal((hidden_size, hidden_size)))[0],
        "Why": rng.standard_normal((vocab_size, hidden_size)) / hidden_size,
        "bh": np.zeros((hidden_size, 1)),
        "by": np.zeros((vocab_size, 1)),
    }


def one_hot(tokens: Array, vocab_size: int) -> Array:
    """Columns of shape (T, V, B)."""
    return np.ascontiguousarray(np.eye(vocab_size)[tokens].transpose(0, 2, 1))


def forward_pass(params: dict[str, Array], x: Array, y: Array, hidden: Array) -> tuple[float, list[Array], Any]:
    hiddens, logits, probabilities, loss = [hidden], [], [], 0.0
    for step, target in zip(x, y, strict=True):
        hiddens.append(np.tanh(params["Wxh"] @ step + params["Whh"] @ hiddens[-1] + params["bh"]))
        scores = params["Why"] @ hiddens[-1] + params["by"]
        exponentials = np.exp(scores - scores.max(axis=0))
        probabilities.append(exponentials / exponentials.sum(axis=0))
        logits.append(scores)
        loss -= float(np.sum(target * np.log(probabilities[-1] + 1e-12)))
    return loss / (len(x) * x.shape[2]), hiddens, (logits, probabilities)


def backward_pass(
    params: dict[str, Array], x: Array, y: Array, hiddens: list[Array], probabilities: list[Array]
) -> dict[str, Array]:
    grads = {name: np.zeros_like(param) for name, param in params.items()}
    d_next, positions = np.zeros_like(hiddens[0]), len(x) * x.shape[2]
    for t in reversed(range(len(x))):
        d_scores = (probabilities[t] - y[t]) / positions
        d_hidden = (params["Why"].T @ d_scores + d_next) * (1 - hiddens[t + 1] ** 2)
        d_next = params["Whh"].T @ d_hidden
        grads["Wxh"] += d_hidden @ x[t].T
        grads["Whh"] += d_hidden @ hiddens[t].T
        grads["Why"] += d_scores @ hiddens[t + 1].T
        grads["bh"] += d_hidden.sum(axis=1, keepdims=True)
        grads["by"] += d_scores.sum(axis=1, keepdims=True)
    return grads


def update(params: dict[str, Array], grads: dict[str, Array], rate: float) -> None:
    for name, param in params.items():
        param -= rate * grads[name]


def plain_loop(size: Size, data: list[tuple[Array, Array]]) -> list[float]:
    """Train without a run; returns the time at the end of each batch, and before the first one."""
    _, batch_size, vocab_size, hidden_size = size
    params, times = initial_params(size), [time.thread_time()]
    for _ in range(EPOCHS):
        for inputs, targets in data:
            x, y = one_hot(inputs, vocab_size), one_hot(targets, vocab_size)
            _, hiddens, (_, probabilities) = forward_pass(params, x, y, np.zeros((hidden_size, batch_size)))
            grads = backward_pass(params, x, y, hiddens, probabilities)
            update(params, grads, LEARNING_RATE)
            times.append(time.thread_time())
    return times


def make_run(size: Size, variant: str, *, profile_plugins: bool = False) -> Run:
    return Run(
        initial_params(size),
        plugins={} if variant == "no plugin" else recommended(),
        hidden_size=size[3],
        learning_rate=LEARNING_RATE,
        profile_plugins=profile_plugins,
    )


def train(size: Size, data: list[tuple[Array, Array]], run: Run, variant: str) -> list[float]:
    """Train in a run; returns the times of :func:`plain_loop`."""
    _, batch_size, vocab_size, _ = size
    params, times = run.params, [time.thread_time()]
    with run:
        for _ in run.epochs(EPOCHS):
            for inputs, targets in run.batches(data):
                x, y = one_hot(inputs, vocab_size), one_hot(targets, vocab_size)
                hidden = run.hidden(batch_size)
                loss, hiddens, (logits, probabilities) = forward_pass(params, x, y, hidden)
                grads = backward_pass(params, x, y, hiddens, probabilities)
                closure = None
                if variant in ("observed", "closure"):
                    run.observe(hidden_states=hiddens, logits=logits)
                if variant == "closure":
                    closure = partial(_loss, params, x, y, hidden)
                grads = run.backward(loss, grads, closure=closure)
                update(params, grads, run.learning_rate)
                times.append(time.thread_time())
    times[-1] = time.thread_time()  # with the end of the last batch, of the epoch and of the run
    return times


def _loss(params: dict[str, Array], x: Array, y: Array, hidden: Array) -> float:
    return forward_pass(params, x, y, hidden)[0]


def measure(size: Size, rounds: int, variants: tuple[str, ...]) -> dict[str, Array]:
    """Seconds by batch of each variant; alarms are printed, since a sick run is inspected more closely."""
    data = markov_batches(size)
    shortest = {variant: np.full(EPOCHS * BATCHES, np.inf) for variant in variants}
    for number in range(rounds):
        for variant in variants if number % 2 else variants[::-1]:
            if variant == "plain":
                times = plain_loop(size, data)
            else:
                run = make_run(size, variant)
                times = train(size, data, run, variant)
                if run.alarms and number == 0:
                    print("  alarms:", variant, [(alarm.code, alarm.epoch, alarm.step) for alarm in run.alarms])
            shortest[variant] = np.minimum(shortest[variant], np.diff(times))
    return shortest


def measure_plugins(size: Size, variant: str) -> dict[str, float]:
    """Microseconds per batch within the hooks of each plugin, wall time."""
    run = make_run(size, variant, profile_plugins=True)
    train(size, markov_batches(size), run, variant)
    return {
        f"{plugin}.{hook}": seconds / (EPOCHS * BATCHES) * 1e6
        for plugin, hooks in run.plugin_seconds.items()
        for hook, seconds in hooks.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, action="append", choices=range(len(SIZES)), help="number of a size, from 0")
    parser.add_argument("--variant", action="append", choices=VARIANTS[1:])
    parser.add_argument("--by-plugin", action="store_true")
    arguments = parser.parse_args()
    threadpool_limits(1)
    variants = tuple(arguments.variant or VARIANTS[1:])
    for number in arguments.size or range(len(SIZES)):
        size = SIZES[number]
        if arguments.by_plugin:
            for variant in variants:
                spent = measure_plugins(size, variant)
                print(f"(T, B, V, H) = {size}, {variant}: {sum(spent.values()):.1f} us per batch within hooks")
                for name, microseconds in sorted(spent.items(), key=lambda item: -item[1]):
                    print(f"  {name:<40} {microseconds:8.1f}")
            continue
        times = measure(size, arguments.rounds, ("plain", *variants))
        plain = times.pop("plain")
        print(f"(T, B, V, H) = {size}: {plain.mean() * 1e6:.0f} us per batch without a run")
        for variant, seconds in times.items():
            extra = (seconds - plain) * 1e6
            parts = [f"{part.mean():.0f}" for part in np.split(extra, STAGES)]
            print(
                f"  {variant:<12} {seconds.sum() / plain.sum():.3f}  {extra.mean():+.0f} us per batch; until batch "
                f"{', '.join(map(str, STAGES))} and the end: {', '.join(parts)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
