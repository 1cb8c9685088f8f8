"""Processor time per training batch of what shows a run: logged values, files, progress, and metrics of a trainer.

A run without a network takes turns with the same run and one thing more; the median of the differences is printed. The
metrics are measured as differences between training steps with and without them, which also take turns. All times are
processor time, so that other work of the machine matters little.

    python tests/benchmarks/bench_output.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BATCHES = 2000
ROUNDS = 15
SIZES = ((32, 16, 65, 64), (64, 32, 103, 128), (35, 20, 10_000, 200))
"""Steps, rows, classes and units of an LSTM."""
METRICS = (("perplexity",), ("accuracy",), ("accuracy", "perplexity"), ("top_5_accuracy",))


def time_in_hooks(make: Callable[[Path], list[object]], values: int = 0, batches: int = BATCHES) -> float:
    """Microseconds per batch of a run with these plugins, in which the script logs ``values`` numbers a batch."""
    import numpy as np

    from rnncallbacks import Run

    gradients = {"w": np.ones(1000, dtype=np.float32)}
    logged = {f"value{number}": 0.5 for number in range(values)}
    with tempfile.TemporaryDirectory() as folder, Run(plugins=make(Path(folder))) as run:
        for _ in run.epochs(1):
            began = time.thread_time()
            for loss in run.batches([0.5] * batches):
                run.backward(loss, gradients)
                if logged:
                    run.log_batch(**logged)
            taken = time.thread_time() - began
    return 1e6 * taken / batches


def measure_output() -> None:
    from rnncallbacks.plugins import HistoryLog, LossAveraging, Progress

    def files(folder: Path) -> list[object]:
        return [LossAveraging(), HistoryLog(directory=folder)]

    def without_batches(folder: Path) -> list[object]:
        return [LossAveraging(), HistoryLog(directory=folder, batch_rows=0)]

    def lines(folder: Path) -> list[object]:
        return [LossAveraging(), Progress()]

    def nothing(folder: Path) -> list[object]:
        return [LossAveraging()]

    cases: dict[str, Callable[[], float]] = {
        "run.log_batch, two numbers": lambda: time_in_hooks(nothing, values=2),
        "history_log, the row of a batch": lambda: time_in_hooks(files),
        "history_log, with two logged numbers": lambda: time_in_hooks(files, values=2),
        "history_log, 40,000 batches of which 1,250 have a row": lambda: time_in_hooks(files, batches=40_000),
        "history_log(batch_rows=0)": lambda: time_in_hooks(without_batches),
        "progress in lines": lambda: time_in_hooks(lines),
    }
    for name, case in cases.items():
        rounds = 3 if "40,000" in name else ROUNDS
        differences = [case() - time_in_hooks(nothing) for _ in range(rounds)]
        print(f"{name:<55} {statistics.median(differences):7.1f} us")


def measure_metrics() -> None:
    import numpy as np

    from rnncallbacks.rnn.data.batches import SequenceBatch
    from rnncallbacks.rnn.model import OutputObserver, RecurrentModel
    from rnncallbacks.rnn.model_metrics import chosen_metrics
    from rnncallbacks.training.metric_columns import MetricColumns

    for steps, rows, classes, units in SIZES:
        model = RecurrentModel(units, vocab_size=classes, cell="lstm")
        tokens = np.random.default_rng(0).integers(classes, size=(steps, rows))
        batch, state = SequenceBatch(tokens, tokens), model.zero_state(rows)

        def step(observer: OutputObserver | None) -> float:
            with model.observed_by(observer):  # noqa: B023  (called in this turn)
                began = time.thread_time()
                model.forward(batch, state)  # noqa: B023
                model.backward()  # noqa: B023
                return 1e3 * (time.thread_time() - began)

        for names in METRICS:
            columns = MetricColumns(chosen_metrics(names, "nll"))
            pairs = [(step(None), step(columns.observe)) for _ in range(12 if classes > 1000 else 100)]
            without = statistics.median(one for one, _ in pairs)
            more = statistics.median(other - one for one, other in pairs)
            print(
                f"{steps} x {rows}, {classes:,} classes, {units} units: step {without:.2f} ms, "
                f"{' and '.join(names)} {more:+.3f} ms ({more / without:+.1%})"
            )


if __name__ == "__main__":
    measure_output()
    measure_metrics()
