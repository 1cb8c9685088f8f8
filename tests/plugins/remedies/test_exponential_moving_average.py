"""The moving average of the parameters: its values, when the parameters are the averages, and resumed runs."""

import numpy as np
import pytest

from rnncallbacks import Run, Trainer, on
from rnncallbacks.errors import RunStateError
from rnncallbacks.plugins import Checkpoint, EarlyStopping, ExponentialMovingAverage, HiddenStateReset, LossAveraging
from rnncallbacks.rnn import RecurrentModel


def train(plugin, *others, epochs=3, values=(1.0, 4.0, 9.0), seen=None, stop=None, dtype=float):
    """Each update sets w to a value; validation notes w."""
    params, seen = {"w": np.zeros(2, dtype), "count": np.zeros(1, int)}, [] if seen is None else seen
    with Run(params, plugins=[plugin, *others, LossAveraging()], state={}) as run:
        for epoch in run.epochs(epochs):
            for value in run.batches(values):
                run.backward(value, {"w": np.ones(2, dtype)})
                if not run.skipped:
                    params["w"][...] = epoch * value
                if (epoch, value) == stop:
                    raise KeyboardInterrupt
            for _ in run.batches([0, 1], phase="val"):
                seen.append(float(params["w"][0]))
                run.record(float(params["w"][0]) ** 2)
            assert params["w"][0] == epoch * values[-1]
    return params["w"], seen


def expected(values, decay):
    average, averages = 0.0, []
    for n, value in enumerate(values, start=1):
        beta = min(decay, (1 + n) / (10 + n))
        average = beta * average + (1 - beta) * value
        averages.append(average)
    return averages


@pytest.mark.parametrize("decay", [0.15, 0.999])
def test_validation_and_the_end_have_the_averages_and_training_has_the_parameters(decay):
    final, seen = train(ExponentialMovingAverage(decay))
    averages = expected([1, 4, 9, 2, 8, 18, 3, 12, 27], decay)
    assert seen == pytest.approx(np.repeat(averages[2::3], 2))
    assert final == pytest.approx(np.full(2, averages[-1]))


def test_the_parameters_remain_with_at_end_false():
    assert train(ExponentialMovingAverage(at_end=False))[0].tolist() == [27.0, 27.0]


def test_parameters_are_put_back_bit_for_bit_and_averages_keep_the_dtype():
    values = (np.float32(1 / 3), np.float32(0.1))
    final, seen = train(ExponentialMovingAverage(), values=values, epochs=2, dtype=np.float32)
    assert final.dtype == np.float32
    assert len(seen) == 4  # train compares the parameters after each validation


def test_skipped_batches_are_no_updates():
    skip = on("backward", lambda run, batch: run.skip_batch() if batch.index == 2 else None)
    final, _ = train(ExponentialMovingAverage(), skip, epochs=1)
    assert final == pytest.approx(np.full(2, expected([1, 9], 0.999)[-1]))


def test_early_stopping_keeps_the_averages_of_the_best_epoch():
    final, seen = train(ExponentialMovingAverage(), EarlyStopping("val_loss", patience=5))
    assert final == pytest.approx(np.full(2, seen[0]))


def test_a_validation_inside_a_training_batch_is_put_back():
    params, seen = np.zeros(1), []
    with Run(params, plugins=[ExponentialMovingAverage(decay=0.1)]) as run:
        for _ in run.epochs(1):
            for value in run.batches([1.0, 2.0]):
                run.backward(value, np.ones(1))
                params[...] = value
                for _ in run.batches([0], phase="val"):
                    seen.extend(params.item() for _ in run.batches([0], phase="test"))
                    seen.append(params.item())
                assert params == value
    assert seen == pytest.approx([0.0, 0.0, 0.9, 0.9])


def test_an_error_in_a_validation_leaves_the_parameters_of_training():
    params, seen = np.zeros(1), []

    def interrupted():
        with Run(params, plugins=[ExponentialMovingAverage()]) as run:
            for _ in run.epochs(1):
                for _ in run.batches([0]):
                    run.backward(1.0, np.ones(1))
                    params[...] = 3.0
                for _ in run.batches([0], phase="val"):
                    seen.append(params.item())
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seen != [3.0]
    assert params == 3.0


def test_a_resumed_run_has_the_averages_of_one_that_was_not_interrupted(tmp_path):
    whole, seen = train(ExponentialMovingAverage())
    parts = []
    checkpoint = {"path": tmp_path / "run", "every_steps": 1}
    with pytest.raises(KeyboardInterrupt):
        train(ExponentialMovingAverage(), Checkpoint(**checkpoint), seen=parts, stop=(2, 4.0))
    assert train(ExponentialMovingAverage(), Checkpoint(**checkpoint), seen=parts)[0].tolist() == whole.tolist()
    assert parts == seen


def test_averages_start_again_after_a_repair():
    plugin = ExponentialMovingAverage(decay=0.5)

    def spoil(run, batch):
        if run.step == 2:
            run.params[...] = np.nan
        elif run.step == 3:
            run.params[...] = 1.0
            run.raise_alarm("RNN403", "a parameter is NaN")

    params = np.zeros(1)
    repair = on("alarm", lambda run, alarm: run.report_repair(alarm, "the parameters before were restored"))
    with Run(params, plugins=[on("batch_start", spoil), repair, plugin]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(4)):
                run.backward(1.0, np.ones(1))
    assert params == 1.0


@pytest.mark.parametrize(
    ("params", "text"), [(None, "expected a run with parameters"), ("fixed", "'w' cannot be written to")]
)
def test_parameters_that_cannot_change_are_told(params, text):
    if params is not None:
        params = {"w": np.zeros(1)}
        params["w"].flags.writeable = False
    with pytest.raises(RunStateError, match=text), Run(params, plugins=[ExponentialMovingAverage()]) as run:
        list(run.epochs(1))


def test_the_trainer_validates_with_averages():
    model = RecurrentModel(4, vocab_size=3, seed=1)
    tokens = np.random.default_rng(0).integers(3, size=(8, 6))
    plugins = [HiddenStateReset(), ExponentialMovingAverage(0.9), LossAveraging()]
    trainer = Trainer(model, "adam", learning_rate=0.05, plugins=plugins)
    history = trainer.fit((tokens, tokens), (tokens, tokens), max_epochs=3, progress=False)
    assert trainer.evaluate((tokens, tokens))["loss"] == pytest.approx(history[-1]["val_loss"], rel=1e-6)
