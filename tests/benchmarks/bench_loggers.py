"""The processor time that loggers take: for each, training steps with and without it in turn, in one process.

A round trains a run without the logger and a run with it for the same batches; the order changes from round to round.
The median over the rounds of the difference is divided by the number of batches. The loggers write into a temporary
folder. ``tensorboard (histograms)`` writes those of every batch.

    python tests/benchmarks/bench_loggers.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BATCHES = 500
"""Training batches of a run, over which the start of the run is not averaged: the clock runs between batches."""


def seconds(make: Callable[[Path], list[object]]) -> float:
    """The processor time of the training batches of one run, without the start and the end of the run."""
    import numpy as np

    from rnncallbacks import Run, recommended
    from rnncallbacks.rnn.data.streams import StreamLoader
    from rnncallbacks.rnn.data.text import Vocabulary, embedded_text
    from rnncallbacks.rnn.model import RecurrentModel
    from rnncallbacks.rnn.optimizers import Adam

    text = embedded_text()
    tokens = np.resize(Vocabulary.from_tokens(text).encode(text), 32 * 16 * BATCHES + 1)
    model, optimizer = RecurrentModel(64, vocab_size=int(tokens.max()) + 1, seed=0), Adam()
    optimizer.bind(model.parameters)
    with tempfile.TemporaryDirectory() as folder:
        plugins = dict(recommended()) | {f"logger{n}": one for n, one in enumerate(make(Path(folder)))}
        with Run(
            model.parameters, plugins=plugins, learning_rate=1e-3, zeros=model.zero_state, directory=folder
        ) as run:
            for _ in run.epochs(1):
                start = 0.0
                for batch in run.batches(StreamLoader(tokens, 16, 32)):
                    start = start or time.process_time()
                    loss, final = model.forward(batch, run.hidden(batch.size))
                    gradients = run.backward(loss, model.backward())
                    run.carry(final)
                    optimizer.step(gradients, run.learning_rate)
                taken = time.process_time() - start
    return taken


def loggers() -> dict[str, Callable[[Path], list[object]]]:
    from rnncallbacks.plugins import HistoryLog, Mlflow, Tensorboard

    return {
        "history_log": lambda folder: [HistoryLog()],
        "tensorboard": lambda folder: [Tensorboard()],
        "tensorboard (no histograms)": lambda folder: [Tensorboard(histogram_every=None)],
        "tensorboard (histograms)": lambda folder: [Tensorboard(histogram_every=1)],
        "mlflow": lambda folder: [Mlflow(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", artifacts=False)],
    }


def main() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    for name, make in loggers().items():
        with_it, without = [], []
        for number in range(rounds):
            for one in ((True, False), (False, True))[number % 2]:
                (with_it if one else without).append(seconds(make if one else lambda folder: []) / BATCHES)
        extra = statistics.median(a - b for a, b in zip(with_it, without, strict=True))
        step = statistics.median(without)
        print(f"{name:28} {1e6 * extra:8.0f} us a batch, {extra / step:6.1%} of a step of {1e6 * step:.0f} us")


if __name__ == "__main__":
    main()
