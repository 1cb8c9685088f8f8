"""The learning-rate range test: the loss of a short training whose learning rate grows from batch to batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.config.configuration import given_plugin, plugin_for_evaluation
from rnncallbacks.core.closure import restore_afterwards
from rnncallbacks.core.function_plugin import on
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.validation import check_count
from rnncallbacks.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.frozen(kw_only=True)
class RangeTestThresholds:
    """The thresholds of :func:`lr_range_test`."""

    smoothing: float = 0.9
    """Decay of the moving average of the losses: a mean over about ten batches. Chosen by eye."""
    divergence: float = 4.0
    """Smoothed loss, divided by the lowest one, at which the test ends; as in fastai's ``lr_find``."""
    below_lowest: float = 10.0
    """Learning rate of the lowest smoothed loss, divided by the suggestion at most; as in fastai's ``lr_find``."""
    fewest_batches: int = 10
    """Smallest number of batches for a suggestion: as many as the smoothing averages."""


RANGE_TEST = RangeTestThresholds()


@attrs.frozen(eq=False)
class LearningRateRange:
    """The result of a learning-rate range test.

    Attributes
    ----------
    rates:
        The learning rate of each batch, ascending.
    losses:
        The loss of each batch, before the update.
    smoothed:
        The moving average of the losses, corrected for its start.
    suggestion:
        The smaller of two learning rates: the one at which the smoothed loss falls most steeply over the logarithm of
        the rate, and a tenth of the one at which it is lowest. None if the loss never falls, or if there were fewer
        than 10 batches.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the losses over the learning rate with matplotlib, and return the axes.

        Raises
        ------
        PluginError
            matplotlib is not installed.
        """
        from rnncallbacks.core.history_plot import plot_columns

        axes = plot_columns(self.rates, {"loss": self.losses, "smoothed loss": self.smoothed}, ax)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, linestyle="--", color="gray")
        return axes


def lr_range_test(
    trainer: Trainer,
    train: Any,
    *,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 100,
    batch_size: int | None = None,
) -> LearningRateRange:
    r"""Train for some batches at a learning rate that grows exponentially, then restore model and optimizer.

    .. math:: \eta_i = \mathrm{start}\, (\mathrm{end} / \mathrm{start})^{i / (\mathrm{steps} - 1)}

    The test ends early if the loss is not finite, or if the smoothed loss exceeds four times its lowest value.
    Afterwards, the parameters of the model and the state of the optimizer are as before, bit for bit. The test uses
    ``hidden_state_reset`` and ``gradient_clipping`` with the trainer's options, since clipping changes the rate at
    which training diverges. It uses no other plugins.

    Parameters
    ----------
    trainer:
        The trainer whose model and optimizer are tested. Its own learning rate is not used.
    train, batch_size:
        As for :meth:`Trainer.fit <rnncallbacks.training.trainer.Trainer.fit>`. A loader that can be iterated only once
        is exhausted afterwards.
    start, end:
        The learning rates of the first and the last batch, above 0.
    steps:
        The number of batches, 2 or more.

    Raises
    ------
    OptionError
        An option is out of range.
    DataError
        The loss of the first batch is not finite.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3.

    Example
    -------
    >>> from rnncallbacks.rnn import RecurrentModel
    >>> tokens = np.arange(240).reshape(24, 10) % 4
    >>> trainer = Trainer(RecurrentModel(8, vocab_size=4), "adam", learning_rate=0.01)
    >>> found = lr_range_test(trainer, (tokens[:, :-1], tokens[:, 1:]), batch_size=8, steps=60)
    >>> 1e-4 < found.suggestion < 1.0
    True
    """
    if not isinstance(trainer, Trainer):
        raise OptionError(f"lr_range_test: expected a Trainer, got {type(trainer).__name__}")
    if not (0 < start < end < math.inf):
        raise OptionError(f"lr_range_test: expected 0 < start < end, got start={start!r} and end={end!r}")
    if check_count("steps", steps) < 2:
        raise OptionError(f"lr_range_test: expected steps to be an integer >= 2, got {steps!r}")
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []

    def set_rate(run: Run, batch: Batch) -> None:
        run.scale_learning_rate("range_test", (end / start) ** (len(rates) / (steps - 1)))

    def note(run: Run, batch: Batch) -> None:
        if batch.loss is None or not math.isfinite(batch.loss):
            run.skip_batch()
            run.stop("the loss is not finite")
            return
        rates.append(run.learning_rate)
        losses.append(batch.loss)
        smoothed.append(_smoothed(losses, smoothed))
        if smoothed[-1] > RANGE_TEST.divergence * min(smoothed):
            run.skip_batch()
            run.stop("the loss diverges")

    remedies = [plugin_for_evaluation("hidden_state_reset", trainer.plugins)]
    if (clipping := given_plugin("gradient_clipping", trainer.plugins)) is not None:
        remedies.append(clipping)
    model, optimizer = trainer.model, trainer.optimizer
    optimizer.bind(model.parameters)
    tried = Trainer(
        model,
        optimizer,
        plugins=[*remedies, on("batch_start", set_rate), on("backward", note)],
        learning_rate=start,
        micro_batch_size=trainer.micro_batch_size,
    )
    changed: list[Array] = [model.parameters.flat, model.gradients.flat, model.passes, *optimizer.state.values()]
    with restore_afterwards(changed), np.errstate(all="ignore"):
        tried.fit(train, batch_size=batch_size, max_steps=steps, progress=False)
    if not losses:
        raise DataError("lr_range_test: the loss of the first batch is not finite", hint="check the data and the model")
    return LearningRateRange(rates, losses, smoothed, _suggestion(rates, smoothed))


def _smoothed(losses: list[float], smoothed: list[float]) -> float:
    """The moving average with the newest loss, divided by the sum of its weights."""
    weight, count = RANGE_TEST.smoothing, len(losses)
    before = smoothed[-1] * (1 - weight ** (count - 1)) if smoothed else 0.0
    return (weight * before + (1 - weight) * losses[-1]) / (1 - weight**count)


def _suggestion(rates: list[float], smoothed: list[float]) -> float | None:
    lowest = int(np.argmin(smoothed))
    if len(rates) < RANGE_TEST.fewest_batches or lowest < 2:
        return None
    slopes = np.gradient(np.asarray(smoothed), np.log(rates))[: lowest + 1]
    steepest = int(np.argmin(slopes))
    below = rates[lowest] / RANGE_TEST.below_lowest
    return min(rates[steepest], below) if slopes[steepest] < 0 else None
