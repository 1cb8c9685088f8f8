"""Optimizers by name, with default options."""

from __future__ import annotations

from rnncallbacks.errors import OptionError, closest
from rnncallbacks.rnn.optimizer import Optimizer
from rnncallbacks.rnn.optimizers import SGD, Adagrad, Adam, AdamW, RMSProp

OPTIMIZERS: dict[str, type[Optimizer]] = {kind.__name__.lower(): kind for kind in (SGD, Adagrad, RMSProp, Adam, AdamW)}
"""The optimizers by name."""


def chosen_optimizer(optimizer: Optimizer | str) -> Optimizer:
    """The given optimizer, or the one of this name with default options. Upper and lower case are the same.

    Raises
    ------
    OptionError
        No optimizer has this name, or the argument is neither a name nor an optimizer.

    Example
    -------
    >>> chosen_optimizer("sgd")
    SGD(momentum=0.0, nesterov=False, weight_decay=0.0)
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        raise OptionError(
            f"Trainer: expected optimizer to be an object of the class Optimizer or its name, got {optimizer!r}"
        )
    if (kind := OPTIMIZERS.get(optimizer.lower())) is None:
        raise OptionError(
            f"Trainer: there is no optimizer {optimizer!r}; there are {', '.join(OPTIMIZERS)}",
            hint=closest(optimizer.lower(), OPTIMIZERS),
        )
    return kind()
