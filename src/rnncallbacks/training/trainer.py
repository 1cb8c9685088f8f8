"""Trainer: the training loop for the library's own networks, a custom loop over ``Run`` as any script has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from html import escape
from typing import Any

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.config.configuration import PROGRESS, default_progress, plugin_for_evaluation, recommended
from rnncallbacks.core.facts import facts_of
from rnncallbacks.core.history import History
from rnncallbacks.core.object_state import has_state_dict
from rnncallbacks.core.plugin_manager import PluginsGiven
from rnncallbacks.core.run import Run
from rnncallbacks.core.script_function import PureFunction
from rnncallbacks.errors import DataError, OptionError, RunStateError
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.given_data import as_batch, as_loaders
from rnncallbacks.rnn.micro_batches import MicroBatches
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.model_metrics import MetricFunction, chosen_metrics
from rnncallbacks.rnn.optimizer import Optimizer
from rnncallbacks.rnn.optimizer_names import chosen_optimizer
from rnncallbacks.rnn.validation import check_count
from rnncallbacks.training.metric_columns import MetricColumns


class Trainer:
    """Trains a model with an optimizer.

    Parameters
    ----------
    model:
        The network; its parameters are changed in place.
    optimizer:
        The optimizer, such as :class:`~rnncallbacks.rnn.optimizers.Adam`, or the name of one with default options:
        ``"adam"``, ``"adamw"``, ``"sgd"``, ``"rmsprop"`` or ``"adagrad"``.
    plugins:
        Plugins in the order in which they are called: an iterable, or a mapping from name to plugin. None stands for
        :func:`~rnncallbacks.config.configuration.recommended`.
    learning_rate:
        The base learning rate, above 0.
    micro_batch_size:
        Gradient accumulation: split each batch into slices of this many rows, 1 or more, which takes the memory of one
        slice. Loss, gradients and update are those of the whole batch up to rounding, see
        :class:`~rnncallbacks.rnn.micro_batches.MicroBatches`. Guards do not see the hidden states of a batch that was
        split. None: batches are not split.
    metrics:
        Names or functions. Their columns are ``train_<name>`` and ``val_<name>``. Classification models have the
        metrics ``"accuracy"``, ``"top_5_accuracy"``, ``"perplexity"`` and ``"bits_per_token"``, regression models
        ``"mean_absolute_error"`` and ``"root_mean_squared_error"``. A function ``name(outputs, targets)`` gets the
        outputs of the unmasked positions, (positions, output_size), and their targets, and returns the mean over them.
        The columns are means over all positions of the epoch, see
        :class:`~rnncallbacks.training.metric_columns.MetricColumns`.
    rng, state:
        Generators that loaders or plugins of yours draw from, and what else checkpoints are to save, as for
        :class:`~rnncallbacks.core.run.Run`. The model and the loaders of the library need none.
    directory:
        The folder of the run's files, as for :class:`~rnncallbacks.core.run.Run`.
    facts:
        Further settings by name, for loggers. Those of the model, the optimizer and the plugins are added.
    profile_plugins:
        Whether to measure the time of each plugin in each hook, ``trainer.run.plugin_seconds``.

    Attributes
    ----------
    run:
        The :class:`~rnncallbacks.core.run.Run` of the last call of :meth:`fit`, or None before it.

    Raises
    ------
    OptionError
        ``model`` or ``optimizer`` is of another class, ``micro_batch_size`` is out of range, or a metric does not exist
        or belongs to the other kind of model; the hint names the nearest.
    """

    def __init__(
        self,
        model: RecurrentModel,
        optimizer: Optimizer | str,
        *,
        plugins: PluginsGiven | None = None,
        learning_rate: float,
        metrics: Iterable[str | MetricFunction] = (),
        micro_batch_size: int | None = None,
        rng: Any = None,
        state: Any = None,
        directory: str | os.PathLike[str] | None = None,
        facts: Mapping[str, object] | None = None,
        profile_plugins: bool = False,
    ) -> None:
        if not isinstance(model, RecurrentModel):
            raise OptionError(f"Trainer: expected model to be an object of the class RecurrentModel, got {model!r}")
        self.model = model
        self.optimizer = chosen_optimizer(optimizer)
        self.plugins = recommended() if plugins is None else plugins
        self.learning_rate = learning_rate
        self.metrics = chosen_metrics(metrics, model.loss)
        self.micro_batch_size = None if micro_batch_size is None else check_count("micro_batch_size", micro_batch_size)
        self.rng = rng
        self.state = state
        self.directory = directory
        self.facts = {} if facts is None else dict(facts)
        self.profile_plugins = profile_plugins
        self.run: Run | None = None

    def fit(
        self,
        train: Any,
        validation: Any = None,
        *,
        batch_size: int | None = None,
        max_epochs: int | None = None,
        max_steps: int | None = None,
        progress: bool = True,
    ) -> History:
        """Train for ``max_epochs`` epochs or ``max_steps`` batches, or until a plugin stops it; return the history.

        A second call continues from the current parameters and optimizer state, as a new run.

        Parameters
        ----------
        train, validation:
            Arrays, such as a pair (inputs, targets) whose first axis is the sequence; or loaders of
            :class:`~rnncallbacks.rnn.data.batches.SequenceBatch` or of such pairs, as PyTorch's ``DataLoader``. See
            :func:`~rnncallbacks.rnn.data.given_data.as_loaders`. Each epoch trains, then validates.
        batch_size:
            Sequences per batch of arrays; None for 32. Training sequences are shuffled in each epoch.
        max_epochs:
            The number of epochs, 0 or more; None for no limit.
        max_steps:
            The number of training batches, 1 or more; None for no limit. If a batch is not the last of its epoch, the
            run ends after it, without a validation.
        progress:
            Whether to show progress: adds the plugin ``progress`` with default options, unless ``plugins`` has one or
            ``RNNCALLBACKS_DISABLE`` names it.

        Raises
        ------
        DataError
            A loader yields no batch, or batches of another class, or batches that continue the one before although the
            model is bidirectional.
        """
        model, optimizer = self.model, self.optimizer
        train, validation = as_loaders(train, validation, batch_size)
        optimizer.bind(model.parameters)
        micro = MicroBatches(model, self.micro_batch_size)
        self.run = run = Run(
            model.parameters,
            plugins=self.plugins,
            learning_rate=self.learning_rate,
            zeros=model.zero_state,
            optimizer_state=optimizer.state | {"passes": model.passes},
            rng=self.rng,
            state={} if self.state is None and all(map(_keeps_its_order, (train, validation))) else self.state,
            directory=self.directory,
            facts=self._facts(train),
            profile_plugins=self.profile_plugins,
        )
        columns = MetricColumns(self.metrics)
        if self.metrics:
            run.register(columns, "metrics")
        if progress:
            _show_progress(run)
        with run, model.observed_by(columns.observe if self.metrics else None):
            for _ in run.epochs(max_epochs, max_steps=max_steps):
                for data in run.batches(train):
                    batch = self._checked(as_batch(data))
                    entering = run.hidden(batch.size)
                    loss, hidden, gradients = micro.learn(batch, entering)
                    if micro.whole(batch):
                        hidden_gradients = PureFunction(partial(model.hidden_gradients, batch, entering))
                        run.observe(hidden_states=model.hidden_states, hidden_gradients=hidden_gradients)
                    closure = PureFunction(partial(micro.reevaluate, batch, entering))
                    run.backward(loss, gradients, closure=closure, sequences=batch.size, tokens=batch.tokens)
                    if not run.skipped:
                        run.carry(hidden)
                        optimizer.step(gradients, run.learning_rate)
                if validation is not None:
                    self._validate(run, micro, validation)
        return run.history

    def evaluate(self, data: Any, *, batch_size: int | None = None) -> dict[str, float]:
        """The mean loss of the data, as ``"loss"``, and the metrics by their names, without dropout or updates.

        The mean is that of ``val_loss``: over batches, unless ``plugins`` has a ``loss_averaging`` with another weight.

        Parameters
        ----------
        data, batch_size:
            As ``validation`` and ``batch_size`` for :meth:`fit`.

        Raises
        ------
        DataError
            As for :meth:`fit`.

        Example
        -------
        >>> import numpy as np
        >>> from rnncallbacks.rnn.model import RecurrentModel
        >>> trainer = Trainer(RecurrentModel(4, vocab_size=3), "adam", learning_rate=0.01, metrics=["accuracy"])
        >>> tokens = np.zeros((6, 5), dtype=int)
        >>> sorted(trainer.evaluate((tokens, tokens)))
        ['accuracy', 'loss']
        """
        plugins = [plugin_for_evaluation(name, self.plugins) for name in ("hidden_state_reset", "loss_averaging")]
        columns = MetricColumns(self.metrics)
        run = Run(
            self.model.parameters,
            plugins=[*plugins, columns],
            zeros=self.model.zero_state,
        )
        micro = MicroBatches(self.model, self.micro_batch_size)
        _, loader = as_loaders(None, data, batch_size)
        with run, self.model.observed_by(columns.observe if self.metrics else None):
            for _ in run.epochs(1):
                self._validate(run, micro, loader)
        return {name: float(run.history[-1][f"val_{name}"]) for name in ("loss", *(one.name for one in self.metrics))}

    def _validate(self, run: Run, micro: MicroBatches, loader: Any) -> None:
        for data in run.batches(loader, phase="val"):
            batch = self._checked(as_batch(data))
            loss, hidden = micro.evaluate(batch, run.hidden(batch.size))
            run.record(loss, sequences=batch.size, tokens=batch.tokens)
            run.carry(hidden)

    @property
    def diagnosis(self) -> Diagnosis:
        """The diagnosis of the last run.

        Raises
        ------
        RunStateError
            ``fit`` was not called yet.
        """
        if self.run is None:
            raise RunStateError("Trainer.diagnosis: there was no run yet", hint="call fit first")
        return self.run.diagnosis

    def _repr_html_(self) -> str:
        last_run = "" if self.run is None else self.run.history._repr_html_() + self.run.diagnosis._repr_html_()
        return f"<p><code>{escape(repr(self))}</code></p>{last_run}"

    def __repr__(self) -> str:
        parts = [
            f"{type(self.model).__name__} of {self.model.parameters.flat.size:,} parameters",
            type(self.optimizer).__name__,
            f"learning_rate={self.learning_rate:g}",
        ]
        parts += [f"last run: {self.run!r}"] if self.run is not None else []
        return f"Trainer({', '.join(parts)})"

    def _facts(self, train: object) -> dict[str, object]:
        found: dict[str, object] = {"model": type(self.model).__name__, **facts_of("model", self.model)}
        found |= {"optimizer": type(self.optimizer).__name__, **facts_of("optimizer", self.optimizer)}
        sizes = {"batch_size": getattr(train, "batch_size", None), "micro_batch_size": self.micro_batch_size}
        return found | {name: size for name, size in sizes.items() if isinstance(size, int)} | self.facts

    def _checked(self, batch: SequenceBatch) -> SequenceBatch:
        if self.model.bidirectional and batch.starts is not None and not batch.starts.all():
            raise DataError(
                f"Trainer: row {int(batch.starts.argmin())} of a batch continues the batch before, which a "
                "bidirectional model cannot do: its backward direction needs the batches that follow",
                hint="use a loader of whole sequences, or bidirectional=False",
            )
        return batch


def _keeps_its_order(loader: object) -> bool:
    """Whether a resumed run surely gets the batches of the loader in the order of a run without interruption."""
    return loader is None or isinstance(loader, list | tuple) or hasattr(loader, "set_epoch") or has_state_dict(loader)


def _show_progress(run: Run) -> None:
    """Add the plugin ``progress`` after the others, unless the run has one."""
    shown = default_progress()
    if shown is not None and PROGRESS not in run.plugins and type(shown) not in map(type, run.plugins.values()):
        run.register(shown, PROGRESS)
