"""The base of loggers, and the logger for Weights & Biases of the documentation, against a module of its own."""

import logging
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from rnncallbacks import Run, hookimpl
from rnncallbacks.bases import RunLogger
from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import Checkpoint, GradientClipping, LossAveraging
from rnncallbacks.testing import check_plugin

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "log-and-sweep.md"


class Listing(RunLogger):
    """Keeps what it is told, and fails in one of its methods."""

    def __init__(self, fails=None, error=None, **options):
        super().__init__(**options)
        self.fails, self.error, self.told = fails, error or OSError("no space"), []

    def _tell(self, method, *told):
        if self.fails == method:
            raise self.error
        self.told.append((method, *told))

    def open(self, run):
        self._tell("open", len(run.facts))

    def write(self, run, values):
        self._tell("write", run.step, sorted(values))

    def write_alarm(self, run, alarm):
        self._tell("write_alarm", alarm.code)

    def close(self, run):
        self._tell("close", run.outcome.ending)

    def release(self):
        self._tell("release")


class Alarms:
    @hookimpl(tryfirst=True)
    def on_fit_start(self, run):
        if not run.resumed:
            run.raise_alarm("RNN601", "at the start")

    @hookimpl
    def on_batch_end(self, run):
        run.raise_alarm("RNN602", "in each batch")

    @hookimpl
    def on_fit_end(self, run):
        run.raise_alarm("RNN603", "at the end")


def train(*plugins, epochs=1, fail_in=None, **options):
    params = {"w": np.zeros(2)}
    with Run(params, plugins=plugins, learning_rate=0.5, state={}, **options) as run:
        for _ in run.epochs(epochs):
            for number in run.batches([1, 2]):
                run.log_batch(number=number)
                run.backward(float(number), {"w": np.array([30.0, 40.0])})
                if run.step == fail_in:
                    raise ValueError("the script fails")
            for _ in run.batches([3], phase="val"):
                run.record(3.0)
            run.log(note="text", accuracy=np.float32(0.5))
    return run


def test_what_a_logger_is_told_and_in_which_order():
    listing = Listing()
    train(Alarms(), LossAveraging(), listing)
    batch = ["batch/gradient_norm", "batch/learning_rate", "batch/loss", "batch/number"]
    epoch = ["accuracy", "epoch", "learning_rate", "seconds", "train_batches", "train_loss", "val_batches", "val_loss"]
    assert listing.told == [
        ("open", 5),
        ("write_alarm", "RNN601"),
        ("write_alarm", "RNN602"),
        ("write", 1, batch),
        ("write", 2, batch),
        ("write", 2, [f"epoch/{name}" for name in epoch]),
        ("write_alarm", "RNN603"),
        ("close", "finished"),
        ("release",),
    ]


def test_the_norm_is_that_before_clipping():
    norms = []

    class Norms(Listing):
        def write(self, run, values):
            norms.append(values.get("batch/gradient_norm"))

    train(GradientClipping(max_norm=1.0), Norms(every_steps=2))
    assert norms == [50.0, None]


@pytest.mark.parametrize("fails", ["open", "write", "write_alarm", "close", "release"])
def test_an_error_ends_the_logging_once_and_not_the_run(fails, caplog):
    listing = Listing(fails)
    with caplog.at_level(logging.WARNING, "rnncallbacks"):
        run = train(Alarms(), listing, epochs=2)
    assert (run.epoch, run.outcome.ending) == (2, "finished")
    said = [one.getMessage() for one in caplog.records if "nothing more is logged" in one.getMessage()]
    expected = ["listing: nothing more is logged, the run continues: OSError: no space"]
    assert said == expected * (fails != "release")
    assert [told[0] for told in listing.told].count("release") == (fails != "release")
    assert [told[0] for told in listing.told].count("close") == (fails == "release")


def test_errors_for_the_user_and_interrupts_are_raised():
    with pytest.raises(OptionError):
        train(Listing("open", OptionError("no such project")))
    with pytest.raises(KeyboardInterrupt):
        train(Listing("write", KeyboardInterrupt()))


def test_a_run_that_fails_is_closed():
    listing = Listing()
    with pytest.raises(ValueError, match="the script fails"):
        train(listing, fail_in=2)
    assert listing.told[-2:] == [("close", "failed"), ("release",)]


@pytest.fixture
def weights_and_biases(monkeypatch):
    """The class of the documentation, in a module, so that it can be pickled."""
    (code,) = re.findall(r"```python\n(import importlib.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert 15 < len([line for line in code.splitlines() if line.strip()]) <= 30
    page = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)
    exec(code, vars(page))
    return page.WeightsAndBiases


@pytest.fixture
def wandb(monkeypatch):
    module = ModuleType("wandb")
    module.calls = []

    def init(**options):
        module.calls.append(("init", options))
        return SimpleNamespace(
            id=options["id"] or "new",
            log=lambda values, step: module.calls.append(("log", step)),
            alert=lambda title, text: module.calls.append(("alert", title)),
            summary={},
            finish=lambda exit_code: module.calls.append(("finish", exit_code)),
        )

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_the_logger_of_the_documentation_goes_on_in_the_same_run(wandb, weights_and_biases, tmp_path):
    plugin = weights_and_biases
    with pytest.raises(ValueError, match="the script fails"):
        train(Alarms(), plugin(), Checkpoint(every_steps=1), fail_in=2, directory=tmp_path)
    (name, options), *_, end = wandb.calls
    assert (name, options["id"], options["config"]["learning_rate"], end) == ("init", None, 0.5, ("finish", 1))
    assert ("alert", "RNN602 divergence (epoch 1, step 1)") in wandb.calls
    wandb.calls.clear()
    train(plugin(project="mine"), Checkpoint(every_steps=1), epochs=2, directory=tmp_path)
    (_, options), *calls, end = wandb.calls
    assert (options["id"], options["project"], end) == ("new", "mine", ("finish", 0))
    assert [step for name, step in calls if name == "log"] == [2, 2, 3, 4, 4]


def test_the_logger_of_the_documentation_passes_the_checks_of_plugins(wandb, weights_and_biases):
    check_plugin(weights_and_biases, budget_us=None, batches=100)


def test_a_logger_without_a_method_is_refused_when_it_is_made():
    class Halfway(RunLogger):
        def open(self, run): ...

        def write(self, run, values): ...

        def close(self, run): ...

    with pytest.raises(TypeError, match="write_alarm"):
        Halfway()
