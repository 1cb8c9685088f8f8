"""How time grows with the length of sequences and their number, and what memory a step of ours takes."""

from __future__ import annotations

import tracemalloc
from multiprocessing.connection import Connection

import attrs
import numpy as np

from speed.task import Task
from speed.turns import OURS, Process, serve, take_turns, threads

FACTORS = (1, 2, 4, 8)

KEPT = {"vanilla": 1, "lstm": 6, "gru": 5}
"""Arrays of (positions, hidden) that the backward pass needs. LSTM: h, c and four gates. GRU: h, three gates, and the
recurrent part of the candidate. All need the logits or their softmax too."""


def measure_scaling(base: Task, axis: str, rounds: int, seconds: float) -> dict[int, list[float]]:
    """Seconds per step by factor, in rounds, where ``axis`` ("seq_len" or "batch_size") of ``base`` is multiplied."""
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
    """The p of the power law, time ~ factor^p, that fits best."""
    return float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])


def kept_bytes(task: Task) -> int:
    """What must be kept from the forward pass to the backward pass, in float32."""
    return 4 * task.positions * (KEPT[task.cell] * task.hidden_size + task.vocab_size)


def measure_memory(task: Task) -> int:
    """The most bytes that one step, its work arrays included, held beyond parameters, gradients and optimiser."""
    with threads(1):
        process = Process(_weigh, task)
    try:
        peak: int = process.pipe.recv()
        return peak
    finally:
        process.close()


def _weigh(task: Task, pipe: Connection) -> None:
    from speed.ours import Ours

    # What a first step imports and caches, whatever its size, is not the step's.
    Ours(attrs.evolve(task, seq_len=2, batch_size=2, vocab_size=4, hidden_size=3)).step()
    contender = Ours(task)
    tracemalloc.start()
    contender.step()
    pipe.send(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
