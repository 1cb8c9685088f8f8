"""The learning-rate schedule inverse_sqrt: a rise, then a fall with the root of time, by batch and by epoch."""

import math

import pytest

from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import InverseSqrt, StepDecay

OPTIONS = {"warmup_steps": 2}


def scale(t):
    return min((t + 1) / 2, math.sqrt(2 / (t + 1)))


def test_the_scale_is_the_formula():
    plugin = InverseSqrt(**OPTIONS)
    assert [plugin.scale(t) for t in range(6)] == pytest.approx([scale(t) for t in range(6)], rel=1e-12)


def test_by_batch_it_goes_on_over_epochs_and_leaves_validation_alone(play, rates):
    plugins = [InverseSqrt(**OPTIONS, interval="batch"), rates]
    play(plugins, [[1.0] * 4, [1.0] * 2], val=[[1.0] * 3] * 2)
    assert rates.train == pytest.approx([scale(t) for t in range(6)], rel=1e-12)


def test_by_epoch_it_stays_within_an_epoch(play, rates):
    run = play([InverseSqrt(**OPTIONS, interval="epoch"), rates], [[1.0, 1.0]] * 4)
    assert rates.train == pytest.approx([scale(t) for t in range(4) for _ in range(2)], rel=1e-12)
    assert run.history["learning_rate"] == pytest.approx([scale(t) for t in range(4)], rel=1e-12)


def test_the_default_interval():
    assert InverseSqrt(**OPTIONS).interval == "batch"


def test_it_multiplies_with_another_schedule_under_its_own_name(play, rates):
    other = StepDecay(every=1, factor=0.5, interval="epoch")
    plugins = {"first": InverseSqrt(**OPTIONS, interval="batch"), "second": other, "rates": rates}
    run = play(plugins, [[1.0, 1.0]] * 2)
    assert rates.train == pytest.approx([scale(t) * other.scale(t // 2) for t in range(4)], rel=1e-12)
    assert run.scales == pytest.approx({"first": scale(3), "second": other.scale(1)})


def test_two_instances_under_two_names_multiply(play):
    plugins = {
        "by_batch": InverseSqrt(**OPTIONS, interval="batch"),
        "by_epoch": InverseSqrt(**OPTIONS, interval="epoch"),
    }
    run = play(plugins, [[1.0] * 2] * 2)
    assert run.learning_rate == pytest.approx(scale(3) * scale(1), rel=1e-12)


def test_in_a_trainer(make_trainer, rates):
    trainer, train, val = make_trainer([InverseSqrt(**OPTIONS, interval="batch"), rates], learning_rate=0.01)
    trainer.fit(train, val, max_epochs=1)
    assert rates.train == pytest.approx([0.01 * scale(t) for t in range(len(train))], rel=1e-12)


@pytest.mark.parametrize("wrong", [{"warmup_steps": 0}, {"warmup_steps": 1.0}, {"interval": "batches"}])
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"InverseSqrt: {name}: expected .*, got"):
        InverseSqrt(**(OPTIONS | wrong))
