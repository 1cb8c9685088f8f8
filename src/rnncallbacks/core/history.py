"""The history of a run: one row of named values for each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, overload

from rnncallbacks.errors import DataError, OptionError, closest, short_repr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = float | int | str


class OpenEpoch(Protocol):
    """An epoch that has not ended, which has a row already: a :class:`~rnncallbacks.core.batch.EpochSummary`."""

    @property
    def row(self) -> dict[str, Value]: ...


class History:
    """Rows of named values, one row for each epoch.

    ``history["train_loss"]`` is a column, and ``history[-1]`` the row of the last epoch. Two histories are equal if
    their rows are, apart from the column ``seconds``, the wall time of an epoch.

    Example
    -------
    >>> history = History()
    >>> history.append({"epoch": 1, "train_loss": 2.5})
    >>> history.append({"epoch": 2, "train_loss": 2.25, "val_loss": 2.75})
    >>> history["train_loss"], history["val_loss"]
    ([2.5, 2.25], [None, 2.75])
    >>> history[-1]
    {'epoch': 2, 'train_loss': 2.25, 'val_loss': 2.75}
    >>> history
    History(2 epochs, train_loss 2.5 -> 2.25, val_loss 2.75)

    The rows are dicts, so ``pandas.DataFrame(history)`` is a table of them. ``history.plot()`` draws the losses.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Value]] = []
        self._open: OpenEpoch | None = None

    def follow(self, summary: OpenEpoch | None) -> None:
        """Take the open epoch, or None when it ends."""
        self._open = summary

    @property
    def current(self) -> dict[str, Value]:
        """The columns of the open epoch so far: means of the batches that have ended, and what was logged.

        It is empty if no epoch is open. ``run.mean_loss()`` is its column ``train_loss``, or an error if it has none.
        """
        return {} if self._open is None else self._open.row

    def append(self, row: Mapping[str, Value]) -> None:
        """Add a copy of the row of one more epoch."""
        self.rows.append(dict(row))

    def restore(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Replace all rows by copies of these."""
        self.rows = [dict(row) for row in rows]

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @overload
    def __getitem__(self, key: str) -> list[Value | None]: ...
    @overload
    def __getitem__(self, key: int) -> dict[str, Value]: ...
    def __getitem__(self, key: str | int) -> list[Value | None] | dict[str, Value]:
        """A column by its name, or a row by its position; position -1 is the last epoch.

        A column has None for each epoch that lacks it.

        Raises
        ------
        DataError
            No epoch has a column of that name.
        IndexError
            There is no such row.
        """
        if not isinstance(key, str):
            try:
                return self.rows[key]
            except IndexError:
                raise IndexError(f"the history has {len(self)} rows, and no row {key}") from None
        if key not in self.columns:
            hint = closest(key, self.columns)
            if key.endswith("_loss") and not hint:
                hint = "the plugin loss_averaging computes the average losses"
                if not self.rows:
                    phase = key.removesuffix("_loss")
                    hint += f"; before the end of an epoch, run.mean_loss({phase!r}) is the mean so far"
            known = ", ".join(self.columns) or "none, as no epoch has ended"
            raise DataError(f"the history has no column {key!r}; it has {known}", hint=hint)
        return [row.get(key) for row in self.rows]

    def untimed(self) -> list[dict[str, Value]]:
        """Copies of the rows without the column ``seconds``, which differs between runs that are otherwise the same."""
        return [{name: value for name, value in row.items() if name != "seconds"} for row in self.rows]

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return iter(self.rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        return self.untimed() == other.untimed()

    __hash__ = None  # type: ignore[assignment]

    def plot(self, *columns: str, ax: Axes | None = None) -> Axes:
        """Draw columns over epochs with matplotlib, and return the axes.

        Parameters
        ----------
        columns:
            Names of columns with numbers; none of them: the losses.
        ax:
            The axes to draw into; None: those of a new figure of ``matplotlib.pyplot``, which a notebook shows and
            ``plt.show()`` opens.

        Raises
        ------
        DataError
            There is no column of that name, no column at all, or one that holds strings.
        OptionError
            A column is not named by a string, or ``ax`` is something else than axes.
        PluginError
            matplotlib is not installed.
        """
        from rnncallbacks.core.history_plot import plot_columns

        unnamed = next((column for column in columns if not isinstance(column, str)), None)
        if unnamed is not None:
            raise OptionError(
                f"history.plot: expected names of columns, got {short_repr(unnamed)}",
                hint="each name is an argument: history.plot('train_loss', 'val_loss', ax=axes)",
            )
        chosen = columns or tuple(name for name in self.columns if name.endswith("_loss"))
        return plot_columns(self["epoch"] if self.rows else [], {name: self[name] for name in chosen}, ax)

    def _repr_html_(self) -> str:
        from rnncallbacks.core.history_table import history_table

        return history_table(self.rows)

    def __repr__(self) -> str:
        parts = [f"{len(self)} epoch{'' if len(self) == 1 else 's'}"]
        for column in self.columns:
            if column.endswith("_loss"):
                values = [f"{value:.4g}" for value in self[column] if isinstance(value, float | int)]
                parts.append(" ".join([column, *([" -> ".join(values[:1] + values[1:][-1:])] if values else [])]))
        return f"History({', '.join(parts)})"
