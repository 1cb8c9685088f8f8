"""Plugins with one mistake each, as authors make them; the name of the check that has to find it, and a word of it."""

import json
import logging
import math
import signal
import threading
import time
from pathlib import Path

import attrs
import numpy as np

from rnncallbacks.bases import state_field
from rnncallbacks.core.hookspecs import hookimpl

OPENED = []
"""The files that the plugin with this mistake opened, to be closed by the test."""


class StateInAttributes:
    def __init__(self):
        self.best = math.inf

    @hookimpl
    def on_fit_start(self, run):
        if not run.epoch:
            self.best = math.inf

    @hookimpl
    def on_epoch_end(self, run, summary):
        self.best = min(self.best, summary.row["train_loss"])
        run.log(best=self.best)


class StateInTheClass:
    seen: list[float] = []  # noqa: RUF012  (the mistake)

    @hookimpl
    def on_epoch_end(self, run):
        self.seen.append(run.step)
        run.log(seen=len(self.seen))


class NoReset:
    def __init__(self):
        self.epochs = 0

    @hookimpl
    def on_epoch_end(self, run):
        self.epochs += 1
        run.log(epochs=self.epochs)


class CrashesOnNaN:
    @hookimpl
    def on_backward(self, batch):
        round(batch.loss)


class NeedsValidation:
    @hookimpl
    def on_epoch_end(self, run, summary):
        run.log(gap=summary.row["val_loss"] - summary.row["train_loss"])


@attrs.define(eq=False)
class StateThatIsNoValue:
    lock: object = state_field(factory=threading.Lock)

    @hookimpl
    def on_batch_end(self):
        with self.lock:
            pass


class WritesIntoTheWorkingDirectory:
    @hookimpl
    def on_fit_end(self, run):
        Path("losses.json").write_text(json.dumps(list(run.history)))


@attrs.define(eq=False)
class LeavesAFileOpen:
    path: str
    file: object = state_field(None, saved=False)

    @hookimpl
    def on_fit_start(self):
        self.file = open(self.path, "w")  # noqa: SIM115  (the mistake)
        OPENED.append(self.file)


class Slow:
    @hookimpl
    def on_batch_end(self):
        time.sleep(0.0005)


@attrs.define(eq=False)
class ResetsWhenItResumes:
    total: float = state_field(0.0)

    @hookimpl
    def on_fit_start(self):
        self.total = 0.0

    @hookimpl
    def on_epoch_end(self, run, summary):
        self.total += summary.row["train_loss"]
        run.log(total=self.total)


class KeepsEachBatch:
    def __init__(self):
        self.norms = []

    @hookimpl
    def on_fit_start(self):
        self.norms = []

    @hookimpl
    def on_backward(self, grads):
        self.norms.append({name: np.array(array) for name, array in grads.items()})


class ReturnsGradients:
    @hookimpl
    def on_backward(self, grads):
        return {name: np.minimum(array, 1.0) for name, array in grads.items()}


class HidesErrors:
    @hookimpl(wrapper=True)
    def on_backward(self):
        try:
            yield
        except Exception:
            return None


class FailsAfterAnError:
    def __init__(self):
        self.epochs = None

    @hookimpl
    def on_epoch_end(self, run):
        self.epochs = run.epoch

    @hookimpl
    def on_fit_end(self):
        math.log(self.epochs)


class NeedsTheMainThread:
    @hookimpl
    def on_fit_start(self):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


class CannotBePickled:
    def __init__(self):
        self.weight = lambda loss: loss

    @hookimpl
    def on_backward(self, batch):
        self.weight(batch.loss)


@attrs.define(eq=False)
class AcceptsZero:
    every: int = 10

    @hookimpl
    def on_batch_end(self, run):
        if run.step % self.every == 0:
            run.log(step=run.step)


class NeedsBatches:
    @hookimpl
    def on_epoch_end(self, run, summary):
        run.log(share=summary.batches["train"] / run.step)


class TakesOneName:
    @hookimpl
    def on_fit_start(self, run):
        (self.name,) = [name for name, plugin in run.plugins.items() if type(plugin) is type(self)]


@attrs.define
class ComparedByValue:
    """Two of them are equal, so none can be told from the other."""

    @hookimpl
    def on_epoch_end(self):
        pass


class DrawsFromNumPy:
    @hookimpl
    def on_backward(self, grads):
        for array in grads.arrays:
            array += np.random.normal(size=array.shape)  # noqa: NPY002  (the mistake)


class LeavesAThread:
    @hookimpl
    def on_fit_start(self):
        self.ended = threading.Event()
        thread = threading.Thread(target=self.ended.wait, daemon=True)
        OPENED.append(self)
        thread.start()

    def close(self):
        self.ended.set()


class ChangesWhatGuardsSee:
    @hookimpl(tryfirst=True)
    def on_backward(self, grads):
        for array in grads.arrays:
            np.clip(array, -1.0, 1.0, out=array)


class EndsWithoutAStart:
    @hookimpl
    def on_fit_start(self):
        self.lines = []

    @hookimpl
    def on_fit_end(self):
        self.lines.clear()


@attrs.define(eq=False)
class RemembersAFailure:
    failed: bool = False

    @hookimpl
    def on_exception(self):
        self.failed = True

    @hookimpl
    def on_epoch_end(self, run):
        run.log(failed=self.failed)


class ReplacesGradients:
    @hookimpl
    def on_backward(self, grads):
        grads["w"] = grads["w"] / 2


class DecaysInOnBackward:
    @hookimpl
    def on_backward(self, run):
        run.params["w"] *= 0.99


class ChangesInValidation:
    @hookimpl
    def on_batch_end(self, run, batch):
        if batch.phase == "val":
            run.params["w"] *= 0.99


class ScalesTheData:
    @hookimpl
    def on_batch_start(self, batch):
        if isinstance(batch.data, np.ndarray):
            batch.data *= 0.5


@attrs.define(eq=False)
class SharesAnOption:
    columns: list = attrs.field(default=["train_loss"])

    @hookimpl
    def on_fit_start(self):
        self.columns.append("val_loss")


@attrs.define(eq=False)
class KeepsNoCopy:
    _best: dict = state_field(factory=dict)

    @hookimpl
    def on_epoch_end(self, run):
        self._best = dict(run.params)


class ConfiguresLogging:
    @hookimpl
    def on_fit_start(self):
        logging.disable(logging.NOTSET + 1)

    @staticmethod
    def close():
        logging.disable(logging.NOTSET)


def bad_plugins(folder):
    """Name, function that makes the plugin, and the check that has to find the mistake."""
    return [
        (StateInAttributes, "resuming", "saved nowhere|differs"),
        (StateInTheClass, "runs", "a second object differs"),
        (NoReset, "runs", "the same object differs"),
        (CrashesOnNaN, "streams", "a first loss that is NaN"),
        (NeedsValidation, "streams", "no validation, it raised KeyError"),
        (StateThatIsNoValue, "resuming", "cannot be saved"),
        (WritesIntoTheWorkingDirectory, "files", "'losses.json'"),
        (lambda: LeavesAFileOpen(str(folder / "log")), "files", "log is open after the run"),
        (Slow, "cost", "100 are allowed"),
        (ResetsWhenItResumes, "resuming", "after epoch 1 differs"),
        (KeepsEachBatch, "memory", "bytes a batch"),
        (ReturnsGradients, "streams", "PluginError|change arrays in place"),
        (HidesErrors, "ends", "was lost"),
        (FailsAfterAnError, "ends|streams", "raised"),
        (NeedsTheMainThread, "threads", "in a thread, it raised signal only works in main thread"),
        (CannotBePickled, "pickling", "cannot be pickled"),
        (AcceptsZero, "options", "every = 0 and then raised ZeroDivisionError"),
        (NeedsBatches, "ends", "after break, it raised KeyError"),
        (ComparedByValue, "streams", "not hashable"),
        (TakesOneName, "runs", "two objects in one run raised"),
        (DrawsFromNumPy, "process", "generator of numpy.random; make a generator of its own"),
        (LeavesAThread, "process", "running threads; join threads"),
        (ChangesWhatGuardsSee, "order", "should only see them; leave out tryfirst"),
        (EndsWithoutAStart, "ends", "an error before its on_fit_start was lost|no attribute 'lines'"),
        (RemembersAFailure, "runs", "a run after one that failed differs: column failed"),
        (ReplacesGradients, "streams", "in an ordinary run, it raised gradients: 'w' cannot be replaced"),
        (DecaysInOnBackward, "order", "changes the parameters in on_backward; change them in on_fit_start"),
        (ChangesInValidation, "order", "changes the parameters in on_batch_end"),
        (ScalesTheData, "order", "changes the data of the script; work on a copy"),
        (SharesAnOption, "runs", "a run changed its option columns; copy"),
        (KeepsNoCopy, "resuming", "its state _best is the run's parameters, not a copy; keep a copy"),
        (ConfiguresLogging, "process", "the root logger; use a logger of its own"),
    ]
