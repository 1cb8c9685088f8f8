"""Contenders in processes of their own that take turns, one sample at a time, so that all see the same machine."""

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
"""Contenders: the module, and the ways in which they do the work, of which the fastest counts."""

Key = tuple[str, str]
"""A contender and one of its ways."""

OURS = ("ours", "model")
LOSS_STEPS = 10

# After a product, threads of the linear algebra spin for a while (OpenBLAS: 2**26 cycles; OpenMP: 0.2 s) before they
# fall asleep. With more than one of them, the next contender waits for that.
ASLEEP_SECONDS = 0.3

# Of a sample's steps, so many again go before it: threads and caches have to wake up first.
WARM_SHARE = 0.3


K = TypeVar("K")


class DisagreementError(Exception):
    """Contenders do not train the same network."""


def missing(names: Iterable[str]) -> list[str]:
    """Those of the names whose packages are to be installed, and are not."""
    packages = {name: name for name in ("torch", "jax", "keras", "lightning")}
    packages |= dict.fromkeys(("compiled", "ours, compiled"), "numba")
    return [name for name in names if name in packages and not find_spec(packages[name])]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Processes that are started inside have as many threads for linear algebra, and as many processors."""
    changes = {f"{library}_NUM_THREADS": str(count) for library in ("OMP", "OPENBLAS", "MKL")}
    if count == 1:
        changes["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    before = {name: os.environ.get(name) for name in changes}
    # macOS does not let a process choose.
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
    """In a process of its own: the gradients at the start, then as many steps as asked for, again and again.

    Some more go before them, and are not timed.
    """
    contender: Contender = import_module(f"speed.{WAYS[name][0]}").WAYS[way](task)
    pipe.send(None if name == "limit" else contender.gradients())
    while True:
        steps = pipe.recv()
        for _ in range(max(1, round(WARM_SHARE * steps))):
            contender.step()
        begin = time.perf_counter()
        for _ in range(steps):
            loss = contender.step()
        pipe.send(((time.perf_counter() - begin) / steps, loss))


class Process:
    """A process that answers one message at a time. Between two of them it waits in the pipe, and takes no time."""

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
        self.process.kill()  # Lightning survives to be terminated
        self.process.join()


def take_turns(
    processes: Mapping[K, Process], messages: Mapping[K, object], rounds: int, pause: float = 0.0
) -> dict[K, list[Any]]:
    """The answers of each process, round by round."""
    answers: dict[K, list[Any]] = {key: [] for key in processes}
    for _ in range(rounds):
        for key, process in processes.items():
            time.sleep(pause)
            answers[key].append(process.ask(messages[key]))
    return answers


def measure_step(task: Task, names: Iterable[str], count: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Seconds per step, in rounds, by contender and way; ``count`` threads, samples of about ``seconds``."""
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
        answers = take_turns(processes, steps, rounds, ASLEEP_SECONDS if count > 1 else 0.0)
    finally:
        for process in processes.values():
            process.close()
    return {name: {way: [answer[0] for answer in answers[name, way]] for way in WAYS[name][1]} for name in names}


def check_gradients(found: Mapping[Key, tuple[float, Arrays]]) -> None:
    """Losses and gradients at the start must be ours, but for rounding."""
    loss, gradients = found[OURS]
    for name, (other_loss, others) in found.items():
        if abs(other_loss - loss) > 1e-5 * loss:
            raise DisagreementError(f"{name} begins with the loss {other_loss}, we with {loss}")
        for parameter, gradient in gradients.items():
            difference = np.abs(others[parameter] - gradient).max()
            if not difference <= 1e-3 * np.abs(gradient).max() + 1e-8:
                raise DisagreementError(f"{name}: the gradient of {parameter} differs from ours by up to {difference}")


def check_losses(losses: Mapping[Key, float]) -> None:
    """After some steps, too. From-scratch networks have one bias where others have two, so theirs move half as far."""
    for name, loss in losses.items():
        if not abs(loss - losses[OURS]) <= (0.02 if name[0] == "scratch" else 0.001) * losses[OURS]:
            raise DisagreementError(f"losses after {LOSS_STEPS} steps: {losses}")
