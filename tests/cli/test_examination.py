"""What doctor does to the runs of a script."""

import numpy as np

from rnncallbacks.cli.command_options import PluginSwitches
from rnncallbacks.cli.doctor_plugins import guard_configuration
from rnncallbacks.cli.examination import Examination
from rnncallbacks.config.configuration import GUARDS
from rnncallbacks.core.run import Run
from rnncallbacks.doctor.attended_runs import BatchLimit
from rnncallbacks.plugins import LossAveraging, Progress


def examine(plugins, batches=4):
    examination = Examination(guard_configuration(None, PluginSwitches([], [], {})), max_batches=batches)
    with examination.attend_runs(), Run(plugins=plugins, learning_rate=0.5) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(3)):
                run.backward(2.0, np.zeros(1))
    (examined,) = examination.runs
    assert examined.run is run
    return examined


def test_progress_is_replaced_by_one_without_a_summary():
    given = Progress(refresh=0.25)
    run = examine({"bar": given}).run
    assert repr(run.plugins["bar"]) == "Progress(refresh=0.25, summary=False)"
    assert given.summary


def test_guards_are_added_and_the_run_is_limited():
    examined = examine([LossAveraging()])
    assert set(GUARDS) <= set(examined.added)
    assert examined.limit.reached
    assert (examined.run.epoch, examined.run.step) == (2, 4)
    assert examined.to_dict()["stop_reason"] == "doctor: 4 batches are enough"


def test_a_limit_closes_the_loader_behind_it():
    closed = []

    def items():
        try:
            yield from range(9)
        finally:
            closed.append(True)

    assert list(BatchLimit(2).cut(items())) == [0, 1]
    assert closed == [True]
