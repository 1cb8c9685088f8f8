"""One pass over a loader: its items as numbered batches, and the errors for a loader that yields nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np
import numpy.typing as npt

from rnncallbacks.core.batch import Batch
from rnncallbacks.errors import DataError


class LoaderPass(Iterator[Batch]):
    """An iterator over the batches of one pass through ``loader``.

    A loader with a method ``set_epoch`` is told the epoch first. An item's attribute ``starts``, if there is one, says
    which of its sequences begin here and do not continue the batch before.

    Raises
    ------
    DataError
        The loader is not iterable.

    Example
    -------
    >>> [(batch.index, batch.count, batch.data) for batch in LoaderPass(["a", "b"], "train", epoch=1)]
    [(1, 2, 'a'), (2, 2, 'b')]
    """

    def __init__(self, loader: Iterable[Any], phase: str, epoch: int) -> None:
        if callable(set_epoch := getattr(loader, "set_epoch", None)):
            set_epoch(epoch)
        try:
            self._items = iter(loader)
        except TypeError:
            raise DataError(
                f"run.batches: expected an iterable of batches for phase {phase!r}, got {type(loader).__name__}"
            ) from None
        self._loader = loader
        self._phase = phase
        self._count = _length(loader)
        self._index = 0

    def __next__(self) -> Batch:
        data = next(self._items)
        self._index += 1
        return Batch(data, self._phase, self._index, self._count, _starts(data))

    def check_not_empty(self) -> None:
        """Refuse a loader that yielded no item.

        Raises
        ------
        DataError
            The hint says whether the loader is a used-up generator.
        """
        if self._index == 0:
            raise DataError(
                f"run.batches: the loader of phase {self._phase!r} yielded no batch",
                hint="a generator yields its items once: pass a list, or an object whose __iter__ starts over"
                if self._items is self._loader
                else "check that the data are not empty, and that drop_last with this batch_size leaves a batch",
            )


def _starts(data: Any) -> npt.NDArray[np.bool_] | None:
    starts = getattr(data, "starts", None)
    return None if starts is None else np.asarray(starts)


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # raised by loaders of endless streams
        return None
