"""Metrics of a network: means over the unmasked positions of all batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray, FloatArray
from rnncallbacks.errors import DataError, OptionError, closest, short_repr

MetricFunction: TypeAlias = Callable[[FloatArray, Array], Any]
"""A function of outputs (positions, output_size) and targets (positions,) or (positions, output_size) to a mean."""
TAKEN = ("loss", "batches", "sequences", "tokens")
"""Reserved names: their columns are those of the plugin ``loss_averaging``."""
SHORT_NAMES = {
    "acc": "accuracy",
    "bpc": "bits_per_token",
    "mae": "mean_absolute_error",
    "ppl": "perplexity",
    "rmse": "root_mean_squared_error",
    "top5": "top_5_accuracy",
}
"""Common abbreviations, for the hint of the error."""
MOST_LIKELY = 5
"""Number of classes that ``top_5_accuracy`` accepts."""


def accuracy(outputs: FloatArray, targets: Array) -> float:
    """The fraction of positions where the target is the class with the largest output.

    Example
    -------
    >>> accuracy(np.array([[1.0, 3.0], [2.0, 0.0]]), np.array([1, 1]))
    0.5
    """
    return float(np.count_nonzero(outputs.argmax(axis=1) == targets)) / len(targets)


def top_5_accuracy(outputs: FloatArray, targets: Array) -> float:
    """The fraction of positions where fewer than five classes have an output above that of the target.

    A position whose target has the output NaN counts as a miss.

    Example
    -------
    >>> top_5_accuracy(np.arange(12.0).reshape(2, 6), np.array([0, 1]))
    0.5
    """
    of_target = np.take_along_axis(outputs, targets[:, None], axis=1)
    is_among_them = np.count_nonzero(outputs > of_target, axis=1) < MOST_LIKELY
    return float(np.count_nonzero(is_among_them & ~np.isnan(of_target[:, 0]))) / len(targets)


def mean_absolute_error(outputs: FloatArray, targets: Array) -> float:
    """The mean of ``|output - target|`` over positions and outputs.

    Example
    -------
    >>> mean_absolute_error(np.array([[1.0], [3.0]]), np.array([[2.0], [3.0]]))
    0.5
    """
    return float(np.abs(outputs - targets).mean(dtype=np.float64))


def _exponential(loss: float) -> float:
    return math.exp(loss) if not loss > 700 else math.inf


def _bits(loss: float) -> float:
    return loss / math.log(2)


def _root(loss: float) -> float:
    return math.sqrt(loss) if loss >= 0 else math.nan


@attrs.frozen(repr=False)
class Metric:
    """A metric of a network.

    Attributes
    ----------
    name:
        The name; the columns are ``train_<name>`` and ``val_<name>``.
    measure:
        A function that returns the mean over the positions of one forward pass. None: the loss is used.
    finish:
        Maps the mean over all positions of the epoch to the value of the column.
    """

    name: str
    measure: MetricFunction | None = None
    finish: Callable[[float], float] = float

    def __repr__(self) -> str:
        return self.name

    def mean(self, outputs: FloatArray, targets: Array) -> float:
        """The mean over these positions, for a metric with ``measure``.

        Raises
        ------
        DataError
            The function did not return one number.
        """
        assert self.measure is not None
        try:
            value = self.measure(outputs, targets)
        except Exception as error:
            error.add_note(f"in the metric {self.name!r}, of outputs {outputs.shape} and targets {targets.shape}")
            raise
        if np.ndim(value) or not isinstance(value, float | int | np.number | np.bool_ | np.ndarray):
            raise DataError(
                f"metric {self.name!r}: expected one number, the mean over {len(targets)} positions, got "
                f"{short_repr(value, 60)}",
                hint="return values.mean()" if np.ndim(value) else "",
            )
        return float(value)


METRICS: dict[str, dict[str, Metric]] = {
    "nll": {
        one.name: one
        for one in (
            Metric("accuracy", accuracy),
            Metric("top_5_accuracy", top_5_accuracy),
            Metric("perplexity", finish=_exponential),
            Metric("bits_per_token", finish=_bits),
        )
    },
    "mse": {
        one.name: one
        for one in (
            Metric("mean_absolute_error", mean_absolute_error),
            Metric("root_mean_squared_error", finish=_root),
        )
    },
}
"""The metrics by name, for each loss of a model: classification has ``"nll"``, regression ``"mse"``."""


def chosen_metrics(metrics: Iterable[str | MetricFunction], loss: Literal["nll", "mse"]) -> list[Metric]:
    """The metrics with the given names and functions, for a model with this loss.

    Raises
    ------
    OptionError
        A metric does not exist or belongs to the other loss, two have the same name, or a function has no name.
    """
    if isinstance(metrics, str | Mapping) or callable(metrics) or not isinstance(metrics, Iterable):
        given = repr(metrics) if isinstance(metrics, str) else "..."
        raise OptionError(
            f"Trainer: metrics: expected a list of names and functions, got {short_repr(metrics, 60)}",
            hint=f"metrics=[{given}]",
        )
    found: dict[str, Metric] = {}
    for one in metrics:
        metric = _named(one, loss) if isinstance(one, str) else _of_function(one)
        if metric.name in found:
            raise OptionError(f"Trainer: metrics: two have the name {metric.name!r}")
        found[metric.name] = metric
    return list(found.values())


def _named(name: str, loss: str) -> Metric:
    known = METRICS[loss]
    if name in known:
        return known[name]
    names = ", ".join(known)
    if any(name in others for others in METRICS.values()):
        kinds = {"nll": "classification", "mse": "regression"}
        raise OptionError(
            f"Trainer: metrics: {name!r} does not fit a model with loss={loss!r}, which is for {kinds[loss]}",
            hint=f"its metrics are {names}; or pass a function of outputs and targets",
        )
    hint = f"did you mean {SHORT_NAMES[name]!r}?" if SHORT_NAMES.get(name) in known else closest(name, known)
    raise OptionError(f"Trainer: metrics: there is no metric {name!r} for loss={loss!r}; there are {names}", hint=hint)


def _of_function(function: object) -> Metric:
    if not callable(function):
        raise OptionError(f"Trainer: metrics: expected a name or a function, got {short_repr(function, 60)}")
    name = getattr(function, "__name__", "")
    if not name.isidentifier() or name in TAKEN:
        raise OptionError(
            f"Trainer: metrics: expected a function whose name can be that of a column, got {short_repr(function, 60)} "
            f"with {f'the name {name!r}' if name else 'no name'}",
            hint="define it with def name(outputs, targets): ...",
        )
    return Metric(name, function)


def unmasked(outputs: FloatArray, targets: Array, mask: BoolArray | None) -> tuple[FloatArray, Array]:
    """The positions that contribute to the loss, as read-only views or copies."""
    if mask is not None:
        return outputs[mask], targets[mask]
    outputs, targets = outputs.view(), targets.view()
    outputs.flags.writeable = targets.flags.writeable = False
    return outputs, targets
