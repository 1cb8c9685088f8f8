"""Improvement of a monitored column, on the streams on which well-known libraries stop too early or never."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnncallbacks.bases.monitor import ColumnMonitor, Mode
from rnncallbacks.core.batch import EpochSummary
from rnncallbacks.core.run import Run
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.plugins import EarlyStopping, PlateauAlarm, ReduceOnPlateau

NAN, INF = math.nan, math.inf
MODES: tuple[Mode, ...] = ("min", "max")
EPOCHS = 50

numbers = st.floats(-1e6, 1e6)
streams = st.lists(st.one_of(st.integers(-3, 3).map(float), st.sampled_from([NAN, INF, -INF])), max_size=30)


def improves(value: float, best: float, **options: Any) -> bool:
    """Whether a value improves on a best value that was seen before it."""
    monitor = ColumnMonitor(**options)
    monitor.update(best, 1)
    return monitor.improves(value)


def exhausted_at(monitor: ColumnMonitor, metric: Iterable[float]) -> int | None:
    """The epoch, counted from 1, at which the patience is first used up."""
    for epoch, value in enumerate(metric, start=1):
        monitor.update(value, epoch)
        if monitor.exhausted:
            return epoch
    return None


# --- the streams that divide libraries ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [1.0, -1.0, 0.0])
@pytest.mark.parametrize("margins", [{}, {"min_delta": 1e-3}, {"rtol": 1e-4}, {"min_delta": 1e-3, "rtol": 0.1}])
def test_flat_is_exhausted_after_exactly_patience_epochs_without_improvement(
    mode: Mode, level: float, margins: dict[str, float]
) -> None:
    assert exhausted_at(ColumnMonitor(patience=3, mode=mode, **margins), [level] * EPOCHS) == 4


@pytest.mark.parametrize("patience", [1, 2, 3, 10])
def test_patience_means_exactly_that_many_epochs(patience: int) -> None:
    assert exhausted_at(ColumnMonitor(patience=patience), [1.0] * EPOCHS) == patience + 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", [NAN, INF, -INF])
@pytest.mark.parametrize("level", [5.0, -5.0])
def test_a_first_value_that_is_not_finite_does_not_spoil_an_improving_run(
    mode: Mode, first: float, level: float
) -> None:
    direction = -1.0 if mode == "min" else 1.0
    monitor = ColumnMonitor(patience=3, mode=mode)
    assert exhausted_at(monitor, [first, *(level + direction * epoch for epoch in range(EPOCHS))]) is None
    assert monitor.best == level + direction * (EPOCHS - 1)
    assert monitor.best_epoch == EPOCHS + 1


def test_all_nan_is_never_best_and_uses_up_the_patience() -> None:
    monitor = ColumnMonitor(patience=3)
    assert exhausted_at(monitor, [NAN] * EPOCHS) == 3
    assert (monitor.best, monitor.best_epoch, monitor.stale_epochs) == (None, None, 3)


def test_nan_counts_as_an_epoch_without_improvement() -> None:
    assert exhausted_at(ColumnMonitor(patience=3), [1.0, NAN, 1.0, NAN, 0.5]) == 4
    assert exhausted_at(ColumnMonitor(patience=3), [1.0, NAN, NAN, 0.5, NAN, NAN, 0.25]) is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_relative_margin_is_as_wide_below_zero_as_above(sign: float) -> None:
    best = 10.0 * sign
    assert improves(best - 1.5, best, rtol=0.1)
    assert not improves(best - 0.5, best, rtol=0.1)
    assert improves(best + 1.5, best, mode="max", rtol=0.1)
    assert not improves(best + 0.5, best, mode="max", rtol=0.1)


def test_the_margin_itself_is_not_an_improvement() -> None:
    assert not improves(0.75, 1.0, min_delta=0.25)
    assert improves(0.7499, 1.0, min_delta=0.25)
    assert not improves(0.5, 1.0, min_delta=0.25, rtol=0.25)
    assert improves(0.4999, 1.0, min_delta=0.25, rtol=0.25)


def test_creeping_by_less_than_the_margin_is_measured_from_the_best_and_adds_up() -> None:
    monitor = ColumnMonitor(patience=5, min_delta=0.25)
    judged = [monitor.update(value, epoch) for epoch, value in enumerate([1.0, 0.9, 0.8, 0.7, 0.6])]
    assert judged == [True, False, False, True, False]
    assert monitor.best == 0.7


# --- what holds for every stream ---------------------------------------------------------------------------------


@given(value=numbers, best=numbers, min_delta=st.floats(0.0, 10.0), rtol=st.floats(0.0, 0.5))
def test_max_is_min_of_the_mirrored_metric(value: float, best: float, min_delta: float, rtol: float) -> None:
    assert improves(value, best, min_delta=min_delta, rtol=rtol) == improves(
        -value, -best, mode="max", min_delta=min_delta, rtol=rtol
    )


@given(value=numbers, best=numbers, margin=st.floats(0.0, 10.0), wider=st.floats(0.0, 10.0))
def test_a_wider_margin_never_turns_a_no_into_a_yes(value: float, best: float, margin: float, wider: float) -> None:
    assert not improves(best, best, min_delta=margin)
    if improves(value, best, min_delta=margin + wider):
        assert improves(value, best, min_delta=margin)
        assert value < best


@given(value=numbers, best=st.floats(1e-3, 1e6), rtol=st.floats(0.0, 0.5), mode=st.sampled_from(MODES))
def test_where_the_metric_is_positive_the_rule_is_that_of_reduce_lr_on_plateau(
    value: float, best: float, rtol: float, mode: Mode
) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch's rule where it is installed")
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        torch.optim.SGD([torch.zeros(1)]), mode=mode, threshold=rtol, threshold_mode="rel"
    )
    boundary = best * (1 - rtol) if mode == "min" else best * (1 + rtol)
    assume(abs(value - boundary) > 1e-9 * best)  # the two round differently on the boundary itself
    assert improves(value, best, mode=mode, rtol=rtol) == scheduler._is_better(value, best)


@given(stream=streams, mode=st.sampled_from(MODES), patience=st.integers(1, 5))
def test_the_state_is_what_the_whole_stream_says(stream: list[float], mode: Mode, patience: int) -> None:
    monitor = ColumnMonitor(patience=patience, mode=mode)
    judged = [monitor.update(value, epoch) for epoch, value in enumerate(stream)]

    finite = [value for value in stream if math.isfinite(value)]
    best = (min if mode == "min" else max)(finite, default=None)
    assert monitor.best == best
    assert monitor.best_epoch == (None if best is None else stream.index(best))
    assert monitor.stale_epochs == len(list(itertools.takewhile(lambda yes: not yes, reversed(judged))))
    assert monitor.exhausted == (monitor.stale_epochs >= patience)
    assert not any(yes for yes, value in zip(judged, stream, strict=True) if not math.isfinite(value))


@pytest.mark.parametrize("mode", MODES)
def test_any_finite_value_is_the_first_best(mode: Mode) -> None:
    assert ColumnMonitor(mode=mode).improves(1e30)
    assert not ColumnMonitor(mode=mode).improves(NAN)


@pytest.mark.parametrize("first", [NAN, INF, -INF])
@pytest.mark.parametrize("mode", MODES)
def test_any_finite_value_improves_on_values_that_are_not_finite(first: float, mode: Mode) -> None:
    assert improves(1e30, first, mode=mode)
    assert not improves(NAN, first, mode=mode)


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"patience": 0},
        {"patience": 1.5},
        {"patience": 2.0},
        {"patience": True},
        {"mode": "auto"},
        {"min_delta": -0.1},
        {"min_delta": NAN},
        {"rtol": -1.0},
        {"rtol": NAN},
        {"rtol": INF},
        {"monitor": "val loss"},
        {"monitor": "val-loss"},
        {"monitor": ""},
        {"monitor": 1},
    ],
)
@pytest.mark.parametrize("kind", [ColumnMonitor, PlateauAlarm, EarlyStopping, ReduceOnPlateau])
def test_a_bad_option_is_named_with_its_value(kind: type[ColumnMonitor], wrong: dict[str, object]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(OptionError) as caught:
        kind(**wrong)
    assert caught.value.message.startswith(f"{kind.__name__}: {name}: expected")
    assert caught.value.message.endswith(f"got {value!r}")


def test_a_misspelt_mode_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(OptionError, match="did you mean 'max'"):
        ColumnMonitor(mode="maxi")


def test_two_monitors_with_the_same_numbers_are_two_monitors() -> None:
    assert ColumnMonitor(patience=3) != ColumnMonitor(patience=3)
    assert len({ColumnMonitor(patience=3), ColumnMonitor(patience=3)}) == 2


def summary(**columns):
    return EpochSummary(epoch=1, learning_rate=None, logged=columns)


def test_the_value_is_the_columns():
    run = Run()
    assert ColumnMonitor(monitor="val_loss").value_of(run, summary(val_loss=2.0)) == 2.0
    assert run.alarms == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_an_alarm_once_for_each_column(value):
    run = Run()
    for column in ("val_loss", "val_loss", "accuracy"):
        ColumnMonitor(monitor=column).value_of(run, summary(val_loss=value, accuracy=value))
    # One alarm a code: the second column is counted, the second value of the first is not.
    assert [(alarm.code, list(alarm.evidence), alarm.count) for alarm in run.alarms] == [("RNN403", ["val_loss"], 2)]


def test_a_missing_column_is_an_error_unless_the_run_was_stopped():
    run = Run()
    with pytest.raises(DataError, match="epoch 1 has no column 'val_loss'"):
        ColumnMonitor(monitor="val_loss").value_of(run, summary())
    run.stop("enough")
    assert ColumnMonitor(monitor="val_loss").value_of(run, summary()) is None
    assert ColumnMonitor(monitor="val_loss").value_of(run, summary(val_loss=2.0)) == 2.0


def test_an_epoch_without_a_column_that_earlier_ones_had_is_no_observation():
    run = Run()
    run.history.append({"epoch": 1, "val_loss": 2.0})
    assert ColumnMonitor(monitor="val_loss").value_of(run, summary()) is None
    with pytest.raises(DataError, match="has no column 'val_los'"):
        ColumnMonitor(monitor="val_los").value_of(run, summary())
