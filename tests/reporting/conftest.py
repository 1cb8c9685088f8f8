"""Folders of runs, as the plugins write them."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import GradientClipping, HistoryLog, LossAveraging

MakeFolder = Callable[..., Path]


class Raising:
    """Raises alarms in the epochs that it is told: a code, an epoch, a message, and what else an alarm has."""

    def __init__(self, alarms: Iterable[tuple[str, int, str, dict]]) -> None:
        self.alarms = list(alarms)

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        run.diagnosis.check("RNN201", "3 of 3 batches")
        run.diagnosis.cannot_check("RNN404", "pass closure= to run.backward")
        for code, epoch, message, more in self.alarms:
            if epoch == run.epoch:
                run.raise_alarm(code, message, **more)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A run of one batch an epoch, with the given losses; its folder."""

    def make(losses, val=(), alarms=(), *, guarded: bool = True, clipped: bool = True, folder: str = "run") -> Path:
        path = tmp_path / folder
        plugins: list[object] = [LossAveraging(), HistoryLog(directory=path)]
        plugins += [Raising(alarms)] * (guarded or bool(alarms)) + [GradientClipping(max_norm=1.0)] * clipped
        with Run(plugins=plugins, learning_rate=0.5) as run:
            for epoch in run.epochs(len(losses)):
                for loss in run.batches([losses[epoch - 1]]):
                    run.backward(loss, {"w": np.full(4, 2.0)})
                for loss in run.batches([val[epoch - 1]], phase="val") if val else ():
                    run.record(loss)
        return path

    return make
