"""Columns of a history over epochs, drawn by matplotlib into a figure of the user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnncallbacks.errors import DataError, OptionError, PluginError, short_repr

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_columns(epochs: Sequence[Any], columns: Mapping[str, Sequence[Any]], ax: Axes | None) -> Axes:
    """Draw columns into axes, or into those of a new figure, and return the axes.

    Raises
    ------
    DataError
        There is no column, or one that holds strings.
    OptionError
        ``ax`` is something else than axes.
    PluginError
        matplotlib is not installed.
    """
    if not columns:
        raise DataError(
            "history.plot: there is no column to draw" + ("" if epochs else ", as no epoch has ended"),
            hint="name columns, such as history.plot('train_accuracy'); the plugin loss_averaging computes losses",
        )
    for name, values in columns.items():
        word = next((value for value in values if isinstance(value, str)), None)
        if word is not None:
            raise DataError(f"history.plot: column {name!r} holds the string {word!r}, expected numbers")
    if ax is not None and not hasattr(ax, "plot"):
        raise OptionError(
            f"history.plot: ax: expected axes of matplotlib, got {short_repr(ax)}", hint="fig, ax = plt.subplots()"
        )
    axes = _new_axes() if ax is None else ax
    marker = "o" if len(epochs) == 1 else ""
    for name, values in columns.items():
        axes.plot(epochs, [math.nan if value is None else value for value in values], marker=marker, label=name)
    axes.set_xlabel("epoch")
    if len(columns) == 1:
        axes.set_ylabel(next(iter(columns)))
    else:
        axes.legend()
    return axes


def _new_axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise PluginError("history.plot needs matplotlib", hint="pip install 'rnncallbacks[plot]'") from None
    return pyplot.subplots()[1]
