"""Checks of a script's arguments. Each returns the value, or raises an error that names the call."""

from __future__ import annotations

import logging
import math
import numbers
import os
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnncallbacks.arrays.containers import Array, is_named_after, named_arrays, parameters_of
from rnncallbacks.arrays.dlpack import is_foreign
from rnncallbacks.core.history import Value
from rnncallbacks.errors import ContainerError, LossError, OptionError, RunStateError, closest

logger = logging.getLogger("rnncallbacks")


def as_loss(loss: Any, call: str) -> float:
    """The loss as a float.

    Raises
    ------
    LossError
        It is not one real number. NaN and infinity are numbers here.
    """
    if type(loss) is float:
        return loss
    if isinstance(loss, np.ma.MaskedArray):
        raise LossError(
            f"{call}: expected the batch's loss as one number, got a masked array",
            hint="average the entries that count",
        )
    number = number_in(loss)
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        single = math.prod(getattr(number, "shape", (0,))) == 1
        raise LossError(
            f"{call}: expected the batch's loss as one number, got {describe(loss)}",
            hint=("write loss.item(); " if single else "")
            + "average over time steps and sequences first, for example losses.mean()",
        )
    try:
        return float(number)
    except OverflowError:
        raise LossError(f"{call}: expected a loss below 1.8e308, got {describe(number)}") from None


def number_in(value: Any) -> Any:
    """The number in a 0-d array or tensor, on any device. Other values are returned as they are."""
    is_array = isinstance(value, np.ndarray | np.generic) or is_foreign(value)
    return value.item() if is_array and getattr(value, "ndim", None) == 0 else value


def check_numbers(params: object) -> None:
    """Refuse parameters that are not numbers.

    Raises
    ------
    ContainerError
        The message names the parameter.
    """
    for name, array in ({} if params is None else named_arrays(params, "params")).items():
        if array.dtype.kind not in "fciub":
            raise ContainerError(
                f"params{f': {name!r}' if name else ''} has dtype {array.dtype}, expected numbers",
                hint="leave it out, or convert it, for example with .astype(np.float32)",
            )


def check_floating(params: object, gradients: Mapping[str, Array]) -> None:
    """Refuse a parameter of integers that has a gradient: its updates would be truncated.

    Raises
    ------
    ContainerError
        The message names the parameter.
    """
    for name, array in ({} if params is None else named_arrays(params)).items():
        if name in gradients and array.dtype.kind != "f":
            raise ContainerError(
                f"params: {name!r} has dtype {array.dtype}, expected a floating dtype: updates would be truncated",
                hint="convert the array with .astype(float) before the run",
            )


def check_not_parameters(params: object, gradients: Mapping[str, Array]) -> None:
    """Refuse a parameter under another name among the gradients, as in pairs of gradient and parameter.

    Clipping would change it.

    Raises
    ------
    ContainerError
        The message names both.
    """
    names = {id(array): name for name, array in ({} if params is None else named_arrays(params)).items()}
    for name, array in gradients.items():
        if names.get(id(array), name) != name:
            raise ContainerError(
                f"run.backward: the gradient {name!r} is the parameter {names[id(array)]!r} itself",
                hint="pass the gradients alone, in a dict with the names of the parameters",
            )


def log_unmatched_names(params: object, gradients: Mapping[str, Array]) -> None:
    """Log the gradients whose names are not those of parameters, and the parameters that their shapes pair them with.

    Positions in lists and tuples are not names. Gradients in a list that shapes do not pair are logged in one message.
    """
    named = {} if params is None else named_arrays(params)
    if named and all(map(_is_name, named)) and not any(map(_is_name, gradients)):
        pairs = parameters_of(gradients, named)
        if unpaired := [name for name in gradients if name not in pairs]:
            logger.warning(
                "run.backward: the gradients have no names, and no shape gives the parameter of %s: no check uses it; "
                "pass a dict with the names of the parameters",
                ", ".join(map(repr, unpaired)),
            )
        return
    unmatched = [name for name in gradients if _is_name(name) and not any(is_named_after(name, one) for one in named)]
    if not unmatched or not all(map(_is_name, named)):
        return
    pairs = parameters_of(gradients, named)
    names = {id(array): name for name, array in named.items()}
    for name in unmatched:
        shape = gradients[name].shape
        known = names.get(id(pairs[name])) if name in pairs else None
        by_shape = f"it is compared with {known!r}, the only one of its shape {shape}" if known else "no check uses it"
        if hint := closest(name, named):
            by_shape += f"; {hint}"
        logger.warning("run.backward: no parameter has the name of the gradient %r: %s", name, by_shape)


def _is_name(path: str) -> bool:
    """Whether the path of an array ends with a name, and not with a position."""
    return bool(path) and not path.rpartition(".")[2].isdecimal()


def as_count(value: Any, call: str, name: str) -> int:
    """The value as an int.

    Raises
    ------
    OptionError
        It is not an integer of at least 1.
    """
    if type(value) is int and value > 0:
        return value
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise OptionError(f"{call}: expected {name} to be an integer >= 1, got {describe(value)}")
    return int(value)


def as_epochs(count: Any, trained: int) -> int | None:
    """The total number of epochs as an int; None stands for no limit. ``trained`` epochs have been trained.

    Raises
    ------
    OptionError
        It is neither None nor an integer of at least 0.
    RunStateError
        It is above 0, and no more than ``trained``: no epoch is left.
    """
    if count is None:
        return None
    if not isinstance(count, numbers.Integral) or isinstance(count, bool) or count < 0:
        raise OptionError(f"run.epochs: expected a number of epochs >= 0 or None, got {count!r}")
    if 0 < int(count) <= trained:
        raise RunStateError(
            f"run.epochs({count}): expected a total above the {trained} epochs that this run has trained",
            hint=f"run.epochs({trained + count}) trains {count} more",
        )
    return int(count)


def as_phase(phase: Any) -> str:
    """The name of a phase.

    Raises
    ------
    OptionError
        It is not a Python identifier; the history has a column ``<phase>_loss``.
    """
    if not isinstance(phase, str) or not phase.isidentifier():
        raise OptionError(f"run.batches: expected a phase name such as 'train' or 'val', got {describe(phase)}")
    return phase


def as_closure(closure: Any) -> Callable[[], Any] | None:
    """The function that evaluates a batch's loss again, or None.

    Raises
    ------
    OptionError
        It cannot be called.
    """
    if closure is not None and not callable(closure):
        raise OptionError(
            f"run.backward: expected closure to be a function, got {describe(closure)}",
            hint="write closure=lambda: loss_of(batch), which evaluates the loss at each call",
        )
    return closure  # type: ignore[no-any-return]


def as_column(name: str, value: Any) -> Value:
    """The value of a history column, a 0-d array as the number in it.

    Raises
    ------
    OptionError
        It is neither a number nor a string.
    """
    value = number_in(value)
    if not isinstance(value, float | int | str):
        raise OptionError(f"run.log: expected a number or a string for {name!r}, got {describe(value)}")
    return value


def as_directory(directory: Any) -> Path | None:
    """The directory of a run as a path, or None.

    Raises
    ------
    OptionError
        It is no path, or is a file.
    """
    if directory is None:
        return None
    if not isinstance(directory, str | os.PathLike) or not str(directory):
        raise OptionError(f"directory: expected the path of a folder, got {describe(directory)}")
    path = Path(directory)
    if path.is_file():
        raise OptionError(f"directory: expected a folder, got the file {path}")
    return path


def as_batch_value(name: str, value: Any) -> float | int:
    """A value of ``run.log_batch``, a 0-d array as the number in it.

    Raises
    ------
    OptionError
        It is no number.
    """
    value = number_in(value)
    if not isinstance(value, float | int):
        raise OptionError(f"run.log_batch: expected a number for {name!r}, got {describe(value)}")
    return value


def as_reason(reason: Any) -> str:
    """The reason for which a run stops.

    Raises
    ------
    OptionError
        It is not a string, or empty.
    """
    if not isinstance(reason, str) or not reason:
        raise OptionError(f"run.stop: expected a reason, such as 'early stopping', got {describe(reason)}")
    return reason


def describe(value: object) -> str:
    """The type and value for an error message, shortened; the shape in place of an array's values."""
    if isinstance(value, np.ndarray) or is_foreign(value):
        return f"an array of shape {tuple(value.shape)}"
    return f"{type(value).__name__} {reprlib.repr(value)}" if value is not None else "None"
