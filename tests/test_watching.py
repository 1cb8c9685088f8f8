"""The value of a watched column at the end of an epoch."""

import math

import pytest

from rnncallbacks.errors import DataError
from rnncallbacks.records import EpochSummary
from rnncallbacks.run import Run
from rnncallbacks.watching import watched_value


def summary(**columns):
    return EpochSummary(epoch=1, learning_rate=None, logged=columns)


def test_the_value_is_the_columns():
    run = Run()
    assert watched_value(run, summary(val_loss=2.0), "val_loss") == 2.0
    assert run.alarms == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_an_alarm_once_for_each_column(value):
    run = Run()
    for column in ("val_loss", "val_loss", "accuracy"):
        watched_value(run, summary(val_loss=value, accuracy=value), column)
    # One alarm a code: the second column is counted, the second value of the first is not.
    assert [(alarm.code, list(alarm.evidence), alarm.count) for alarm in run.alarms] == [("RNN403", ["val_loss"], 2)]


def test_a_missing_column_is_an_error_unless_the_run_was_stopped():
    run = Run()
    with pytest.raises(DataError, match="epoch 1 has no column 'val_loss'"):
        watched_value(run, summary(), "val_loss")
    run.stop("enough")
    assert watched_value(run, summary(), "val_loss") is None
    assert watched_value(run, summary(val_loss=2.0), "val_loss") == 2.0


def test_an_epoch_without_a_column_that_earlier_ones_had_is_no_observation():
    run = Run()
    run.history.append({"epoch": 1, "val_loss": 2.0})
    assert watched_value(run, summary(), "val_loss") is None
    with pytest.raises(DataError, match="has no column 'val_los'"):
        watched_value(run, summary(), "val_los")
