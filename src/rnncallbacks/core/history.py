"""What a run reported, one row an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rnncallbacks.errors import DataError, closest

Value = float | int | str


class History:
    """Rows of named values, one row an epoch, in order; a column is read by its name.

    Example
    -------
    >>> history = History()
    >>> history.append({"epoch": 1, "train_loss": 2.5})
    >>> history.append({"epoch": 2, "train_loss": 2.25, "val_loss": 2.75})
    >>> history["train_loss"], history["val_loss"]
    ([2.5, 2.25], [None, 2.75])
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Value]] = []

    def append(self, row: Mapping[str, Value]) -> None:
        """Add the row of one more epoch."""
        self.rows.append(dict(row))

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order in which they first came."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __getitem__(self, column: str) -> list[Value | None]:
        """The values of a column by epoch, None where an epoch has none.

        Raises
        ------
        DataError
            No epoch has a column of that name.
        """
        if column not in self.columns:
            hint = closest(column, self.columns)
            if column.endswith("_loss") and not hint:
                hint = "average losses are computed by the plugin loss_averaging"
            known = ", ".join(self.columns) or "none, as no epoch has ended"
            raise DataError(f"the history has no column {column!r}; it has {known}", hint=hint)
        return [row.get(column) for row in self.rows]

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"History({len(self)} epochs: {', '.join(self.columns)})"
