"""The learning-rate schedule step_decay: stairs downwards, by batch and by epoch."""

import pytest

from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import StepDecay, Warmup

OPTIONS = {"every": 2, "factor": 0.1}


def scale(t):
    return 0.1 ** (t // 2)


def test_the_scale_is_the_formula():
    plugin = StepDecay(**OPTIONS)
    assert [plugin.scale(t) for t in range(6)] == pytest.approx([scale(t) for t in range(6)], rel=1e-12)


def test_by_batch_it_goes_on_over_epochs_and_leaves_validation_alone(play, rates):
    plugins = [StepDecay(**OPTIONS, interval="batch"), rates]
    play(plugins, [[1.0] * 4, [1.0] * 2], val=[[1.0] * 3] * 2)
    assert rates.train == pytest.approx([scale(t) for t in range(6)], rel=1e-12)


def test_by_epoch_it_stays_within_an_epoch(play, rates):
    run = play([StepDecay(**OPTIONS, interval="epoch"), rates], [[1.0, 1.0]] * 4)
    assert rates.train == pytest.approx([scale(t) for t in range(4) for _ in range(2)], rel=1e-12)
    assert run.history["learning_rate"] == pytest.approx([scale(t) for t in range(4)], rel=1e-12)


def test_the_default_interval():
    assert StepDecay(**OPTIONS).interval == "epoch"


def test_it_multiplies_with_another_schedule_under_its_own_name(play, rates):
    other = Warmup(steps=1, start=0.5, interval="epoch")
    plugins = {"first": StepDecay(**OPTIONS, interval="batch"), "second": other, "rates": rates}
    run = play(plugins, [[1.0, 1.0]] * 2)
    assert rates.train == pytest.approx([scale(t) * other.scale(t // 2) for t in range(4)], rel=1e-12)
    assert run.scales == pytest.approx({"first": scale(3), "second": other.scale(1)})


def test_two_instances_under_two_names_multiply(play):
    plugins = {"by_batch": StepDecay(**OPTIONS, interval="batch"), "by_epoch": StepDecay(**OPTIONS, interval="epoch")}
    run = play(plugins, [[1.0] * 2] * 2)
    assert run.learning_rate == pytest.approx(scale(3) * scale(1), rel=1e-12)


def test_in_a_trainer(make_trainer, rates):
    trainer, train, val = make_trainer([StepDecay(**OPTIONS, interval="batch"), rates], learning_rate=0.01)
    trainer.fit(train, val, max_epochs=1)
    assert rates.train == pytest.approx([0.01 * scale(t) for t in range(len(train))], rel=1e-12)


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"every": "2"}, {"factor": 0.0}, {"factor": 1.5}, {"interval": "epochs"}]
)
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"StepDecay: {name}: expected .*, got"):
        StepDecay(**(OPTIONS | wrong))
