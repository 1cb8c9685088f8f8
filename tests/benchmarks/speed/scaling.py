"""Measures how time grows with sequence length and batch size, and the peak memory of our step."""

from __future__ import annotations

import tracemalloc
from multiprocessing.connection import Connection

import attrs
import numpy as np

from speed.task import Task
from speed.turns import OURS, Process, serve, take_turns, threads

FACTORS = (1, 2, 4, 8)

KEPT = {"vanilla": 1, "lstm": 6, "gru": 5}
"""Arrays of shape (positions, hidden) that the backward pass needs. LSTM: h, c and four gates. GRU: h, three gates and
the recurrent part of the candidate. Every cell also needs the logits or their softmax."""


def measure_scaling(base: Task, axis: str, rounds: int, seconds: float) -> dict[int, list[float]]:
    """Seconds per step in each round, by the factor of ``axis`` ("seq_len" or "batch_size")."""
    tasks = {factor: attrs.evolve(base, **{axis: factor * getattr(base, axis)}) for factor in FACTORS}
    with threads(1):
        processes = {factor: Process(serve, *OURS, task) for factor, task in tasks.items()}
    try:
        for process in processes.values():
            process.pipe.recv()
        steps = {factor: max(1, round(seconds / process.ask(3)[0])) for factor, process in processes.items()}
        answers = take_turns(processes, steps, rounds)
    finally:
        for process in processes.values():
            process.close()
    return {factor: [answer[0] for answer in answers[factor]] for factor in FACTORS}


def exponent(times: dict[int, float]) -> float:
    """The exponent p of the best fit of time ~ factor^p."""
    return float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])


def kept_bytes(task: Task) -> int:
    """Bytes that the backward pass needs from the forward pass, in float32."""
    return 4 * task.positions * (KEPT[task.cell] * task.hidden_size + task.vocab_size)


def measure_memory(task: Task) -> int:
    """Peak bytes of one step, including work arrays, beyond parameters, gradients and optimizer state."""
    with threads(1):
        process = Process(_weigh, task)
    try:
        peak: int = process.pipe.recv()
        return peak
    finally:
        process.close()


def _weigh(task: Task, pipe: Connection) -> None:
    from speed.ours import Ours

    # Imports and caches of the first step in the process do not count.
    Ours(attrs.evolve(task, seq_len=2, batch_size=2, vocab_size=4, hidden_size=3)).step()
    contender = Ours(task)
    tracemalloc.start()
    contender.step()
    pipe.send(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
