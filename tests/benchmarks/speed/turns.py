"""Runs contenders in their own processes, which take turns so that all run under the same conditions."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import numpy as np

from speed.task import Arrays, Contender, Task

WAYS = {
    "ours": ("ours", ("model",)),
    "compiled": ("ours", ("compiled",)),
    "scratch": ("scratch", ("loops",)),
    "torch": ("torch_step", ("layer", "gather")),
    "jax": ("jax_step", ("scan", "hoisted", "unrolled")),
    "limit": ("limit", ("copied", "view")),
}
"""Contenders: a module and its variants, of which the fastest is compared."""

Key = tuple[str, str]
"""A contender and one of its variants."""

OURS = ("ours", "model")
LOSS_STEPS = 10

# After a product, threads of the linear algebra spin before they fall asleep (OpenBLAS: 2**26 cycles, OpenMP: 0.2 s).
# With more than one thread, the next contender waits for that.
SLEEP_SECONDS = 0.3

# Untimed steps before a sample, as a fraction of its steps, wake up threads and caches.
WARMUP_FRACTION = 0.3


K = TypeVar("K")


class DisagreementError(Exception):
    """Contenders compute different losses or gradients."""


def missing(names: Iterable[str]) -> list[str]:
    """The contenders whose packages are not installed."""
    packages = {name: name for name in ("torch", "jax", "keras", "lightning")}
    packages |= dict.fromkeys(("compiled", "ours, compiled"), "numba")
    return [name for name in names if name in packages and not find_spec(packages[name])]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Limits processes that are started inside to ``count`` threads for linear algebra and as many processors."""
    changes = {f"{library}_NUM_THREADS": str(count) for library in ("OMP", "OPENBLAS", "MKL")}
    if count == 1:
        changes["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    before = {name: os.environ.get(name) for name in changes}
    # macOS has no processor affinity.
    processors = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if processors and len(processors) < count:
        raise OSError(f"{count} threads need as many processors, and this process may use {len(processors)}")
    os.environ.update(changes)
    if processors:
        os.sched_setaffinity(0, sorted(processors)[-count:])
    try:
        yield
    finally:
        if processors:
            os.sched_setaffinity(0, processors)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def serve(name: str, way: str, task: Task, pipe: Connection) -> None:
    """Serves a contender in its own process.

    It sends the initial gradients. Then it answers each number of steps with seconds per step and the loss.
    """
    contender: Contender = import_module(f"speed.{WAYS[name][0]}").WAYS[way](task)
    pipe.send(None if name == "limit" else contender.gradients())
    while True:
        steps = pipe.recv()
        for _ in range(max(1, round(WARMUP_FRACTION * steps))):
            contender.step()
        begin = time.perf_counter()
        for _ in range(steps):
            loss = contender.step()
        pipe.send(((time.perf_counter() - begin) / steps, loss))


class Process:
    """A process that answers one message at a time and uses no processor time between messages."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, message: object) -> Any:
        self.pipe.send(message)
        return self.pipe.recv()

    def close(self) -> None:
        self.process.kill()  # Lightning ignores terminate()
        self.process.join()


def take_turns(
    processes: Mapping[K, Process], messages: Mapping[K, object], rounds: int, pause: float = 0.0
) -> dict[K, list[Any]]:
    """The answers of each process, in the order of the rounds."""
    answers: dict[K, list[Any]] = {key: [] for key in processes}
    for _ in range(rounds):
        for key, process in processes.items():
            time.sleep(pause)
            answers[key].append(process.ask(messages[key]))
    return answers


def measure_step(task: Task, names: Iterable[str], count: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Seconds per step in each round, by contender and variant, with ``count`` threads and samples of ``seconds``."""
    keys = [(name, way) for name in names for way in WAYS[name][1]]
    with threads(count):
        processes = {key: Process(serve, *key, task) for key in keys}
    try:
        found = {key: process.pipe.recv() for key, process in processes.items()}
        learning = [key for key in keys if key[0] != "limit"]
        check_gradients({key: found[key] for key in learning})
        losses = {key: processes[key].ask(LOSS_STEPS)[1] for key in learning}
        check_losses(losses)
        steps = {key: max(1, round(seconds / process.ask(3)[0])) for key, process in processes.items()}
        answers = take_turns(processes, steps, rounds, SLEEP_SECONDS if count > 1 else 0.0)
    finally:
        for process in processes.values():
            process.close()
    return {name: {way: [answer[0] for answer in answers[name, way]] for way in WAYS[name][1]} for name in names}


def check_gradients(found: Mapping[Key, tuple[float, Arrays]]) -> None:
    """Raises an error if an initial loss or gradient differs from ours by more than rounding."""
    loss, gradients = found[OURS]
    for name, (other_loss, others) in found.items():
        if abs(other_loss - loss) > 1e-5 * loss:
            raise DisagreementError(f"the first loss of {name} is {other_loss}, ours is {loss}")
        for parameter, gradient in gradients.items():
            difference = np.abs(others[parameter] - gradient).max()
            if not difference <= 1e-3 * np.abs(gradient).max() + 1e-8:
                raise DisagreementError(f"{name}: the gradient of {parameter} differs from ours by up to {difference}")


def check_losses(losses: Mapping[Key, float]) -> None:
    """Raises an error if a loss after some steps differs from ours.

    From-scratch networks have one bias where others have two, so that an update moves their sum half as far.
    """
    for name, loss in losses.items():
        if not abs(loss - losses[OURS]) <= (0.02 if name[0] == "scratch" else 0.001) * losses[OURS]:
            raise DisagreementError(f"losses after {LOSS_STEPS} steps: {losses}")
