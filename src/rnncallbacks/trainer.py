"""Trainer: the training loop of the library's own recurrent networks. It is one more custom loop over Run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from rnncallbacks.config.configuration import recommended
from rnncallbacks.core.history import History
from rnncallbacks.core.plugin_manager import PluginsGiven
from rnncallbacks.core.run import Run
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.micro_batches import MicroBatches
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Optimizer
from rnncallbacks.rnn.validation import check_count


class Trainer:
    """Trains a model with an optimizer.

    Parameters
    ----------
    model:
        The network; its parameters are changed in place.
    optimizer:
        What turns gradients into updates.
    plugins:
        Plugins in the order in which they are called: an iterable, or a mapping from name to plugin. None stands for
        :func:`~rnncallbacks.config.configuration.recommended`.
    learning_rate:
        The base learning rate, above 0.
    micro_batch_size:
        Gradient accumulation: work on each batch in slices of so many rows, 1 or more, which takes the memory of one
        slice. Loss, gradients and update are those of the whole batch up to rounding, see
        :class:`~rnncallbacks.rnn.micro_batches.MicroBatches`. Guards do not see the hidden states of a batch that was
        cut. None: batches are not cut.

    Raises
    ------
    OptionError
        ``model`` or ``optimizer`` is of another class, or ``micro_batch_size`` is out of range.
    """

    def __init__(
        self,
        model: RecurrentModel,
        optimizer: Optimizer,
        *,
        plugins: PluginsGiven | None = None,
        learning_rate: float,
        micro_batch_size: int | None = None,
    ) -> None:
        for name, given, kind in (("model", model, RecurrentModel), ("optimizer", optimizer, Optimizer)):
            if not isinstance(given, kind):
                raise OptionError(
                    f"Trainer: expected {name} to be an object of the class {kind.__name__}, got {given!r}"
                )
        self.model = model
        self.optimizer = optimizer
        self.plugins = recommended() if plugins is None else plugins
        self.learning_rate = learning_rate
        self.micro_batch_size = None if micro_batch_size is None else check_count("micro_batch_size", micro_batch_size)
        self.run: Run | None = None

    def fit(
        self,
        train: Iterable[SequenceBatch],
        validation: Iterable[SequenceBatch] | None = None,
        *,
        max_epochs: int | None,
    ) -> History:
        """Train for ``max_epochs`` epochs, or until a plugin stops the run, and return the history.

        A second call trains on from the parameters and the optimizer's state as they are, as a new run.

        Raises
        ------
        DataError
            A loader gives no batches, or batches of another class, or such as go on from the batch before to a
            bidirectional model.
        """
        model, optimizer = self.model, self.optimizer
        optimizer.bind(model.parameters)
        micro = MicroBatches(model, self.micro_batch_size)
        with Run(
            model.parameters,
            plugins=self.plugins,
            learning_rate=self.learning_rate,
            zeros=model.zero_state,
            optimizer_state=optimizer.state | {"passes": model.passes},
        ) as self.run:
            run = self.run
            for _ in run.epochs(max_epochs):
                for batch in run.batches(train):
                    entering = run.hidden(self._checked(batch).size)
                    loss, hidden, gradients = micro.learn(batch, entering)
                    if micro.whole(batch):
                        going_back = partial(model.hidden_gradients, batch, entering)
                        run.observe(hidden_states=model.hidden_states, hidden_gradients=going_back)
                    closure = partial(micro.reevaluate, batch, entering)
                    run.backward(loss, gradients, closure=closure, sequences=batch.size, tokens=batch.tokens)
                    if not run.skipped:
                        run.carry(hidden)
                        optimizer.step(gradients, run.learning_rate)
                for batch in run.batches(validation, phase="val") if validation is not None else ():
                    loss, hidden = micro.evaluate(batch, run.hidden(self._checked(batch).size))
                    run.record(loss, sequences=batch.size, tokens=batch.tokens)
                    run.carry(hidden)
        return run.history

    def _checked(self, batch: SequenceBatch) -> SequenceBatch:
        if not isinstance(batch, SequenceBatch):
            raise DataError(
                f"Trainer: expected batches of the class SequenceBatch, got {type(batch).__name__}",
                hint="use a loader of rnncallbacks.rnn.data.loaders, such as ArrayLoader(inputs, targets, batch_size)",
            )
        if self.model.bidirectional and batch.starts is not None and not batch.starts.all():
            raise DataError(
                f"Trainer: row {int(batch.starts.argmin())} of a batch goes on from the batch before, which a "
                "bidirectional model cannot: its backward direction would have to know the batches to come",
                hint="use a loader of whole sequences, or bidirectional=False",
            )
        return batch
