"""The learning-rate schedule one_cycle: up and down once, by batch and by epoch."""

import math

import pytest

from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import OneCycle, StepDecay

OPTIONS = {"steps": 6, "pct_start": 0.5, "div_factor": 10.0, "final_div_factor": 100.0}


def cycle(t):
    """Six steps: the highest rate at the third, the lowest at the last."""
    low, end = 0.1, 0.001
    if t <= 2:
        return 1.0 + (low - 1.0) * (1 + math.cos(math.pi * t / 2)) / 2
    return end + (1.0 - end) * (1 + math.cos(math.pi * min(t - 2, 3) / 3)) / 2


def test_the_scale_is_the_formula():
    plugin = OneCycle(**OPTIONS)
    assert [plugin.scale(t) for t in range(8)] == pytest.approx([cycle(t) for t in range(8)], rel=1e-12)


def test_by_batch_it_goes_on_over_epochs_and_leaves_validation_alone(play, rates):
    plugins = [OneCycle(**OPTIONS, interval="batch"), rates]
    play(plugins, [[1.0] * 4, [1.0] * 2], val=[[1.0] * 3] * 2)
    assert rates.train == pytest.approx([cycle(t) for t in range(6)], rel=1e-12)


def test_by_epoch_it_stays_within_an_epoch(play, rates):
    run = play([OneCycle(**OPTIONS, interval="epoch"), rates], [[1.0, 1.0]] * 4)
    assert rates.train == pytest.approx([cycle(t) for t in range(4) for _ in range(2)], rel=1e-12)
    assert run.history["learning_rate"] == pytest.approx([cycle(t) for t in range(4)], rel=1e-12)


def test_the_default_interval():
    assert OneCycle(**OPTIONS).interval == "batch"


def test_it_multiplies_with_another_schedule_under_its_own_name(play, rates):
    other = StepDecay(every=1, factor=0.5, interval="epoch")
    plugins = {"first": OneCycle(**OPTIONS, interval="batch"), "second": other, "rates": rates}
    run = play(plugins, [[1.0, 1.0]] * 2)
    assert rates.train == pytest.approx([cycle(t) * other.scale(t // 2) for t in range(4)], rel=1e-12)
    assert run.scales == pytest.approx({"first": cycle(3), "second": other.scale(1)})


def test_two_instances_under_two_names_multiply(play):
    plugins = {"by_batch": OneCycle(**OPTIONS, interval="batch"), "by_epoch": OneCycle(**OPTIONS, interval="epoch")}
    run = play(plugins, [[1.0] * 2] * 2)
    assert run.learning_rate == pytest.approx(cycle(3) * cycle(1), rel=1e-12)


def test_in_a_trainer(make_trainer, rates):
    trainer, train, val = make_trainer([OneCycle(**OPTIONS, interval="batch"), rates], learning_rate=0.01)
    trainer.fit(train, val, max_epochs=1)
    assert rates.train == pytest.approx([0.01 * cycle(t) for t in range(len(train))], rel=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"pct_start": 1.0},
        {"pct_start": -0.1},
        {"div_factor": 0.5},
        {"final_div_factor": 0.0},
        {"interval": 1},
    ],
)
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"OneCycle: {name}: expected .*, got"):
        OneCycle(**(OPTIONS | wrong))
