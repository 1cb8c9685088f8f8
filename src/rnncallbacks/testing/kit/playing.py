"""Runs of given losses and gradients: what a plugin sees of a training loop, without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_manager import PluginsGiven
from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError, short_repr

Losses: TypeAlias = Sequence[float] | Sequence[Sequence[float]]
"""The losses of each epoch, or of every one."""


def play(
    plugins: PluginsGiven,
    *,
    losses: Losses = (1.0, 0.75, 0.5),
    epochs: int = 1,
    validation: Losses | None = None,
    batches: Sequence[Any] | None = None,
    grads: Callable[[int], dict[str, Array]] | None = None,
    act: Callable[[Run], object] | None = None,
    **options: Any,
) -> Run:
    """Train no network: give plugins the losses of a run, and return the run.

    The parameter ``w`` is an array of shape (2,). A batch that is not skipped subtracts the learning rate times its
    gradient.

    Parameters
    ----------
    plugins:
        Those of :class:`~rnncallbacks.core.run.Run`.
    losses:
        The losses of the training batches of each epoch, or one sequence for each epoch.
    epochs:
        The number of epochs.
    validation:
        The losses of the validation batches after each epoch's training, in the same form; None for no validation.
    batches:
        The batches that the loader yields in each epoch, one for each loss; None for the losses themselves.
    grads:
        A function from the number of the training batch, from 1, to its gradients; None for ones.
    act:
        A function of the run that is called in each training batch after the update.
    options:
        Further arguments of :class:`~rnncallbacks.core.run.Run`, such as ``hidden_size``.

    Raises
    ------
    OptionError
        Losses or gradients have another form, or losses and batches differ in number.

    Example
    -------
    >>> from rnncallbacks.plugins import LossAveraging
    >>> run = play([LossAveraging()], losses=[[3.0, 1.0], [1.0, 0.5]], epochs=2, validation=[2.0])
    >>> run.history["train_loss"], run.history["val_loss"]
    ([2.0, 0.75], [2.0, 2.0])
    """
    _check_losses("losses", losses, epochs)
    if validation is not None:
        _check_losses("validation", validation, epochs)
    if grads is not None and not callable(grads):
        hint = "write grads=lambda step: {'w': np.ones(2)}"
        raise OptionError(f"play: grads: expected a function of the batch's number, got {short_repr(grads)}", hint=hint)
    params = {"w": np.zeros(2)}
    arguments: dict[str, Any] = {"learning_rate": 0.125, "optimizer_state": {"m": np.zeros(2)}, **options}
    with Run(params, plugins=plugins, **arguments) as run:
        for epoch in run.epochs(epochs):
            now = _of_epoch(losses, epoch)
            if batches is not None and len(batches) != len(now):
                raise OptionError(f"play: batches: expected as many as losses, {len(now)}, got {len(batches)}")
            for _ in run.batches(list(now) if batches is None else batches):
                gradients = {"w": np.ones(2)} if grads is None else grads(run.step)
                assert run.batch is not None
                run.backward(now[run.batch.index - 1], gradients)  # not in turn: a resumed run skips batches
                if not run.skipped:
                    params["w"] -= run.learning_rate * gradients["w"]
                if act is not None:
                    act(run)
            if validation is not None:
                for loss in run.batches(list(_of_epoch(validation, epoch)), phase="val"):
                    run.record(loss)
    return run


def _check_losses(name: str, losses: Any, epochs: int) -> None:
    if isinstance(losses, str) or not hasattr(losses, "__len__"):
        raise OptionError(
            f"play: {name}: expected a list of losses, or one for each epoch, got {short_repr(losses)}",
            hint=f"write {name}=[1.0, 0.5]",
        )
    if _is_nested(losses) and isinstance(epochs, int) and len(losses) < epochs:
        raise OptionError(f"play: {name}: expected the losses of {epochs} epochs, got those of {len(losses)}")


def _is_nested(losses: Any) -> bool:
    return len(losses) > 0 and np.ndim(losses[0]) > 0


def _of_epoch(losses: Any, epoch: int) -> Sequence[float]:
    found: Sequence[float] = losses[epoch - 1] if _is_nested(losses) else losses
    return found
