"""A file with one row for each training batch, thinned to a largest number of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnncallbacks.files import append_text, json_text, write_atomically


class BatchFile:
    r"""Rows of the training batches of a run, as JSON lines.

    The file has the steps :math:`s` with :math:`(s - 1) \bmod 2^k = 0`, where :math:`k` is the smallest number for
    which there are at most ``most_rows`` of them. When :math:`k` grows, every second row is removed.

    Parameters
    ----------
    path:
        The file.
    most_rows:
        Largest number of rows, 1 or more.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     file = BatchFile(Path(directory) / "batches.jsonl", most_rows=3)
    ...     file.begin(0)
    ...     for step in range(1, 8):
    ...         if file.keeps(step):
    ...             file.add({"step": step, "loss": 1 / step})
    ...     print([json.loads(line)["step"] for line in file.path.read_text().splitlines()])
    [1, 5]
    """

    def __init__(self, path: Path, most_rows: int) -> None:
        self.path = path
        self.most_rows = most_rows
        self._stride = 1

    def begin(self, step: int) -> None:
        """Begin after a step: keep the rows up to this step, and remove later ones; 0 for a new file."""
        self._stride = 1
        while self._count(step) > self.most_rows:
            self._stride *= 2
        self._rewrite(step)

    def keeps(self, step: int) -> bool:
        """Whether the file has a row for this step, which is not before an earlier one; thins the file if it is due."""
        while self._count(step) > self.most_rows:
            self._stride *= 2
            self._rewrite(step - 1)
        return (step - 1) % self._stride == 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Append the row of a step that is kept."""
        append_text(self.path, json_text(row) + "\n")

    def _count(self, step: int) -> int:
        return -(-step // self._stride)

    def _rewrite(self, last: int) -> None:
        rows = self._rows() if last else ()
        kept = (row for row in rows if row["step"] <= last and (row["step"] - 1) % self._stride == 0)
        write_atomically(self.path, "".join(json_text(row) + "\n" for row in kept))

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The rows that can be read: a process that was killed may have left a part of one."""
        try:
            text = self.path.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and type(row.get("step")) is int:
                yield row
