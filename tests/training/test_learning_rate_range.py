"""The learning-rate range test: its rates, what it suggests, where it ends, and that it changes nothing."""

import numpy as np
import pytest

from rnncallbacks import Trainer, lr_range_test
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.plugins import GradientClipping
from rnncallbacks.rnn import RecurrentModel
from rnncallbacks.training.learning_rate_range import RANGE_TEST, _suggestion

TOKENS = np.arange(240).reshape(24, 10) % 4
DATA = TOKENS[:, :-1], TOKENS[:, 1:]


def trainer_of(optimizer="adam", **options):
    return Trainer(RecurrentModel(8, vocab_size=4, seed=1), optimizer, learning_rate=0.01, **options)


def state_of(trainer):
    model, optimizer = trainer.model, trainer.optimizer
    arrays = {"parameters": model.parameters.flat, "passes": model.passes, **optimizer.state}
    return {name: array.tobytes() for name, array in arrays.items()}


def test_the_rates_grow_by_a_constant_factor_and_the_suggestion_trains():
    found = lr_range_test(trainer_of(), DATA, batch_size=8, steps=80, start=1e-5, end=1.0)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 80
    assert found.rates[0] == pytest.approx(1e-5)
    assert np.diff(np.log(found.rates)) == pytest.approx(np.log(1e5) / 79)
    assert 1e-3 < found.suggestion < 1.0
    trainer = trainer_of()
    trainer.learning_rate = found.suggestion
    history = trainer.fit(DATA, batch_size=8, max_epochs=5, progress=False)
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]


@pytest.mark.parametrize("fitted", [False, True])
def test_parameters_and_optimizer_are_put_back_bit_for_bit(fitted):
    trained, reference = trainer_of(), trainer_of()
    for trainer in (trained, reference):
        if fitted:
            trainer.fit(DATA, max_epochs=2, progress=False)
    run = trained.run
    lr_range_test(trained, DATA, steps=30)
    assert trained.run is run
    if fitted:
        assert state_of(trained) == state_of(reference)
    rows = [trainer.fit(DATA, max_epochs=2, progress=False).untimed() for trainer in (trained, reference)]
    assert rows[0] == rows[1]
    assert state_of(trained) == state_of(reference)


def test_an_error_puts_everything_back_too():
    trainer = trainer_of()
    before = trainer.model.parameters.flat.copy()

    def batches():
        yield DATA
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lr_range_test(trainer, batches(), start=0.1, end=1.0)
    assert trainer.model.parameters.flat.tobytes() == before.tobytes()


def test_the_test_ends_where_the_loss_diverges_and_clipping_of_the_trainer_applies():
    ends = {}
    for name, plugins in {"plain": [], "clipped": [GradientClipping(0.01)]}.items():
        found = lr_range_test(trainer_of("sgd", plugins=plugins), DATA, batch_size=8, steps=100, start=1e-3, end=1e9)
        ends[name] = found.rates[-1]
        assert all(map(np.isfinite, found.losses))
    assert ends["plain"] < 1e9
    assert ends["clipped"] > ends["plain"]


def test_no_suggestion_without_a_fall_or_with_few_batches():
    rates = list(np.geomspace(1e-3, 1, 20))
    assert _suggestion(rates, list(np.linspace(1, 2, 20))) is None
    few = RANGE_TEST.fewest_batches - 1
    assert _suggestion(rates[:few], list(np.linspace(2, 1, few))) is None
    assert lr_range_test(trainer_of(), DATA, steps=2).suggestion is None


@pytest.mark.parametrize("options", [{"start": 0.0}, {"start": 2.0, "end": 1.0}, {"steps": 1}, {"steps": 2.5}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError):
        lr_range_test(trainer_of(), DATA, **options)


def test_a_first_loss_that_is_not_finite_is_told():
    trainer = trainer_of()
    trainer.model.parameters.flat[:] = np.nan
    with pytest.raises(DataError, match="the loss of the first batch is not finite"):
        lr_range_test(trainer, DATA)


def test_the_plot_has_a_logarithmic_axis_and_marks_the_suggestion():
    figure = pytest.importorskip("matplotlib.figure")
    found = lr_range_test(trainer_of(), DATA, batch_size=8, steps=40)
    axes = found.plot(ax=figure.Figure().subplots())
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "learning rate"
    assert [line.get_label() for line in axes.lines[:2]] == ["loss", "smoothed loss"]
    assert axes.lines[2].get_xdata()[0] == found.suggestion
