"""The epoch through this library's ``Trainer``: with remedies only, with all of ``recommended``, and compiled."""

from __future__ import annotations

from typing import Literal

import attrs

from rnncallbacks import Trainer, recommended
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.plugins.alarms.early_stopping import EarlyStopping
from rnncallbacks.plugins.remedies.gradient_clipping import GradientClipping
from rnncallbacks.plugins.remedies.loss_averaging import LossAveraging
from rnncallbacks.plugins.schedules.reduce_on_plateau import ReduceOnPlateau
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from speed.epochs import PATIENCE, Gate
from speed.task import LEARNING_RATE, MAX_NORM, Task


@attrs.define(eq=False, kw_only=True)
class Turns:
    """Waits for its turn before each epoch."""

    gate: Gate

    @hookimpl(trylast=True)
    def on_epoch_start(self, run: Run) -> None:
        self.gate(run.history["val_loss"][-1] if len(run.history) else 0.0)


def remedies(task: Task, train: StreamLoader, held_out: StreamLoader, gate: Gate) -> None:
    _fit(task, train, held_out, gate, {})


def guarded(task: Task, train: StreamLoader, held_out: StreamLoader, gate: Gate) -> None:
    _fit(task, train, held_out, gate, recommended())


def compiled(task: Task, train: StreamLoader, held_out: StreamLoader, gate: Gate) -> None:
    _fit(task, train, held_out, gate, {}, "numba")


def _fit(
    task: Task,
    train: StreamLoader,
    held_out: StreamLoader,
    gate: Gate,
    plugins: dict[str, object],
    kernels: Literal["numpy", "numba"] = "numpy",
) -> None:
    model = RecurrentModel(task.hidden_size, vocab_size=task.vocab_size, cell=task.cell, kernels=kernels)
    for name, array in task.parameters().items():
        model.parameters[name][...] = array
    plugins = plugins | {
        "gradient_clipping": GradientClipping(max_norm=MAX_NORM),
        "loss_averaging": LossAveraging(),
        "reduce_on_plateau": ReduceOnPlateau(patience=PATIENCE),
        "early_stopping": EarlyStopping(patience=PATIENCE, restore_best=False),
        "turns": Turns(gate=gate),
    }
    optimizer = Adam(kernels=kernels)
    trainer = Trainer(model, optimizer, plugins=plugins, learning_rate=LEARNING_RATE)
    trainer.fit(train, held_out, max_epochs=None, progress=False)
