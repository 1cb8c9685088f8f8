"""What holds for every schedule that the library ships: its values, its interval, and its place in a run."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

from rnncallbacks.bases import LearningRateSchedule
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import (
    CosineDecay,
    CosineRestarts,
    ExponentialDecay,
    InverseSqrt,
    OneCycle,
    PiecewiseConstant,
    PolynomialDecay,
    StepDecay,
    Warmup,
)

Schedule = type[LearningRateSchedule]


def cycle(t: int) -> float:
    """Six steps: the highest scale at the third, the lowest at the last."""
    if t <= 2:
        return 1.0 + (0.1 - 1.0) * (1 + math.cos(math.pi * t / 2)) / 2
    return 0.001 + (1.0 - 0.001) * (1 + math.cos(math.pi * min(t - 2, 3) / 3)) / 2


@attrs.frozen
class Case:
    """A schedule with options, its scale written another way, and the interval that it has by default."""

    schedule: Schedule
    options: dict[str, Any]
    expected: Callable[[int], float]
    interval: str

    def make(self, **options: Any) -> LearningRateSchedule:
        return self.schedule(**self.options, **options)


CASES = [
    Case(
        CosineDecay,
        {"steps": 4, "min_scale": 0.1},
        lambda t: 0.1 + 0.9 * math.cos(math.pi * min(t, 4) / 8) ** 2,
        "batch",
    ),
    Case(CosineRestarts, {"steps": 3}, lambda t: math.cos(math.pi * (t % 3) / 6) ** 2, "batch"),
    Case(
        PiecewiseConstant,
        {"boundaries": [2, 5], "scales": [0.5, 1.0, 0.2]},
        lambda t: [0.5, 1.0, 0.2][(t > 1) + (t > 4)],
        "epoch",
    ),
    Case(
        PolynomialDecay,
        {"steps": 4, "power": 2.0, "min_scale": 0.1},
        lambda t: 0.1 + 0.9 * (1 - min(t, 4) / 4) ** 2,
        "batch",
    ),
    Case(ExponentialDecay, {"factor": 0.9}, lambda t: 0.9**t, "epoch"),
    Case(InverseSqrt, {"warmup_steps": 2}, lambda t: min((t + 1) / 2, math.sqrt(2 / (t + 1))), "batch"),
    Case(OneCycle, {"steps": 6, "pct_start": 0.5, "div_factor": 10.0, "final_div_factor": 100.0}, cycle, "batch"),
    Case(StepDecay, {"every": 2, "factor": 0.1}, lambda t: 0.1 ** (t // 2), "epoch"),
    Case(Warmup, {"steps": 4, "start": 0.2}, lambda t: 0.2 + 0.8 * min(1.0, (t + 1) / 4), "batch"),
]


def name_of(value: Case | dict[str, Any]) -> str:
    """The same name in each process, so that tests can be shared out among several."""
    return value.schedule.__name__ if isinstance(value, Case) else str(value)


every_schedule = pytest.mark.parametrize("case", CASES, ids=name_of)


def test_these_are_all_schedules_of_the_library() -> None:
    shipped = [found.load() for found in find_plugins() if found.distribution == "rnncallbacks"]
    assert {one for one in shipped if issubclass(one, LearningRateSchedule)} == {case.schedule for case in CASES}


@every_schedule
def test_the_scale_is_the_formula(case: Case) -> None:
    schedule = case.make()
    assert [schedule.scale(t) for t in range(8)] == pytest.approx([case.expected(t) for t in range(8)], rel=1e-12)


@every_schedule
def test_by_batch_it_goes_on_over_epochs_and_leaves_validation_alone(case: Case, play, rates) -> None:
    play([case.make(interval="batch"), rates], [[1.0] * 4, [1.0] * 2], val=[[1.0] * 3] * 2)
    assert rates.train == pytest.approx([case.expected(t) for t in range(6)], rel=1e-12)


@every_schedule
def test_by_epoch_it_stays_within_an_epoch(case: Case, play, rates) -> None:
    run = play([case.make(interval="epoch"), rates], [[1.0, 1.0]] * 4)
    assert rates.train == pytest.approx([case.expected(t) for t in range(4) for _ in range(2)], rel=1e-12)
    assert run.history["learning_rate"] == pytest.approx([case.expected(t) for t in range(4)], rel=1e-12)


@every_schedule
def test_the_default_interval(case: Case) -> None:
    assert case.make().interval == case.interval


@every_schedule
def test_it_multiplies_with_another_schedule_under_its_own_name(case: Case, play, rates) -> None:
    other = ExponentialDecay(factor=0.5, interval="epoch")
    run = play({"first": case.make(interval="batch"), "second": other, "rates": rates}, [[1.0, 1.0]] * 2)
    assert rates.train == pytest.approx([case.expected(t) * 0.5 ** (t // 2) for t in range(4)], rel=1e-12)
    assert run.scales == pytest.approx({"first": case.expected(3), "second": 0.5})


@every_schedule
def test_two_instances_under_two_names_multiply(case: Case, play) -> None:
    run = play({"by_batch": case.make(interval="batch"), "by_epoch": case.make(interval="epoch")}, [[1.0] * 2] * 2)
    assert run.learning_rate == pytest.approx(case.expected(3) * case.expected(1), rel=1e-12)


@every_schedule
def test_in_a_trainer(case: Case, make_trainer, rates) -> None:
    trainer, train, val = make_trainer([case.make(interval="batch"), rates], learning_rate=0.01)
    trainer.fit(train, val, max_epochs=1)
    assert rates.train == pytest.approx([0.01 * case.expected(t) for t in range(len(train))], rel=1e-12)


@every_schedule
def test_t_is_a_count_from_zero(case: Case) -> None:
    schedule = case.make()
    assert schedule.scale(np.int64(2)) == schedule.scale(2)
    for t in (-1, 0.5, True):
        with pytest.raises(
            OptionError, match=rf"{case.schedule.__name__}\.scale: t: expected an integer >= 0, got {t}"
        ):
            schedule.scale(t)


OUT_OF_RANGE: dict[Schedule, list[dict[str, Any]]] = {
    CosineDecay: [{"steps": 0}, {"steps": -1}, {"min_scale": -0.1}, {"min_scale": 1.01}, {"interval": None}],
    CosineRestarts: [{"steps": 0}, {"multiplier": 0}, {"multiplier": 1.5}, {"min_scale": 2.0}, {"interval": None}],
    PiecewiseConstant: [{"boundaries": 3}, {"scales": 0.5}, {"interval": "epochs"}],
    PolynomialDecay: [{"steps": 0}, {"power": 0.0}, {"power": "2"}, {"min_scale": -0.1}, {"interval": None}],
    ExponentialDecay: [
        {"factor": -0.5},
        {"factor": 0.0},
        {"factor": 1.01},
        {"factor": math.nan},
        {"interval": "second"},
    ],
    InverseSqrt: [{"warmup_steps": 0}, {"warmup_steps": 1.0}, {"interval": "batches"}],
    OneCycle: [
        {"steps": 0},
        {"pct_start": 1.0},
        {"pct_start": 30},
        {"pct_start": -0.1},
        {"div_factor": 0.5},
        {"final_div_factor": 0.0},
        {"final_div_factor": math.inf},
        {"interval": 1},
    ],
    StepDecay: [{"every": 0}, {"every": "2"}, {"factor": 0.0}, {"factor": 1.5}, {"interval": "epochs"}],
    Warmup: [
        {"steps": 0},
        {"steps": 2.5},
        {"steps": True},
        {"start": -0.1},
        {"start": 1.1},
        {"start": math.nan},
        {"interval": "step"},
    ],
}


@pytest.mark.parametrize(
    ("case", "wrong"), [(case, wrong) for case in CASES for wrong in OUT_OF_RANGE[case.schedule]], ids=name_of
)
def test_an_option_out_of_range_is_named_with_its_value(case: Case, wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(OptionError) as caught:
        case.schedule(**(case.options | wrong))
    assert caught.value.message.startswith(f"{case.schedule.__name__}: {name}: expected ")
    assert caught.value.message.endswith(f", got {value!r}")
