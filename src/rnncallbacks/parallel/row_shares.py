"""The rows of a batch that each rank processes, and loaders that yield them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakSet

import attrs
import numpy as np

from rnncallbacks.errors import DataError
from rnncallbacks.parallel.communicator import connect
from rnncallbacks.parallel.meeting import sampled
from rnncallbacks.rnn.data.batches import SequenceBatch

_WITHOUT_ROWS = int | float | np.generic | str | None
OWN_BATCHES = "set shard = false if the loader of each rank yields batches of its own"


def share_of(rows: int, rank: int, ranks: int) -> slice:
    """The rows of one rank: consecutive ones. If the rows cannot be divided evenly, the first ranks have one more.

    Example
    -------
    >>> [share_of(7, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    each, more = divmod(rows, ranks)
    begin = rank * each + min(rank, more)
    return slice(begin, begin + each + (rank < more))


@attrs.frozen(eq=False)
class Share:
    """The part of a batch that a rank processes.

    Attributes
    ----------
    data:
        The batch with the rows of this rank.
    rows:
        The number of its rows. It is 0 if the batch has fewer rows than there are ranks and none is left for this one.
        ``data`` then has a row of another rank, so that the loop has a batch to process. Its loss and gradients are not
        counted.
    whole:
        The number of rows of the batch.
    sample:
        Some entries of the batch. They differ if the ranks have drawn different batches.
    """

    data: Any
    rows: int
    whole: int
    sample: bytes


def divide(batch: Any, rank: int, ranks: int, axis: int | tuple[int, ...] = 0) -> Share:
    """The part of a batch for one rank.

    Parameters
    ----------
    batch:
        A :class:`~rnncallbacks.rnn.data.batches.SequenceBatch`; or an array, or a tuple, list or dict of arrays. Each
        rank gets the numbers, strings and None among them.
    rank, ranks:
        The number of the rank, and the number of ranks.
    axis:
        The axis of the sequences in all arrays, or a tuple with one axis for each array. It is ignored for a
        ``SequenceBatch``.

    Raises
    ------
    DataError
        The batch is something else, or its arrays differ in their number of sequences.

    Example
    -------
    >>> inputs, labels = np.arange(10).reshape(5, 2), np.arange(5)
    >>> divide((inputs, labels), rank=1, ranks=2).data[1]
    array([3, 4])
    """
    count = _row_count(batch, axis)
    rows = share_of(count, rank, ranks)
    taken = rows if rows.start < rows.stop else slice(0, 1)
    if isinstance(batch, SequenceBatch):
        sample = sampled([batch.inputs, batch.targets])
        return Share(*_sequence_part(batch, taken, rows.stop - rows.start), count, sample)
    sample = sampled([one for one in _arrays(batch) if isinstance(one, np.ndarray) and not one.dtype.hasobject])
    return Share(_part(batch, taken, axis), rows.stop - rows.start, count, sample)


def _part(batch: Any, taken: slice, axis: int | tuple[int, ...]) -> Any:
    if isinstance(batch, np.ndarray):
        return _take(batch, taken, _axes(axis, 1)[0])
    keys = list(batch) if isinstance(batch, Mapping) else range(len(batch))
    parts = [_take(batch[key], taken, one) for key, one in zip(keys, _axes(axis, len(batch)), strict=True)]
    if isinstance(batch, Mapping):
        return dict(zip(keys, parts, strict=True))
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def _sequence_part(batch: SequenceBatch, taken: slice, rows: int) -> tuple[SequenceBatch, int]:
    mask = None if batch.mask is None else batch.mask[:, taken]
    if mask is not None and not mask.any():  # a batch without any position is refused: this one is not counted
        mask, rows = np.ones_like(mask), 0
    part = SequenceBatch(
        np.ascontiguousarray(batch.inputs[:, taken]),
        batch.targets[taken] if batch.last_step else np.ascontiguousarray(batch.targets[:, taken]),
        None if mask is None or mask.all() else np.ascontiguousarray(mask),
        None if batch.starts is None else batch.starts[taken],
    )
    return part, rows


def _row_count(batch: Any, axis: int | tuple[int, ...]) -> int:
    if isinstance(batch, SequenceBatch):
        return batch.size
    arrays = _arrays(batch)
    if not isinstance(arrays, list | tuple) or not all(isinstance(one, np.ndarray | _WITHOUT_ROWS) for one in arrays):
        items = ", ".join(type(one).__name__ for one in arrays[:4]) if isinstance(arrays, list | tuple) else ""
        raise DataError(
            "expected batches of NumPy arrays to divide them among the ranks, got "
            f"{type(batch).__name__}{items and f' of {items}'}{', ...' * (items.count(',') == 3)}",
            hint=f"convert lists and tensors with numpy.asarray, or {OWN_BATCHES}",
        )
    axes = _axes(axis, len(arrays))
    counts = [
        one.shape[at] for one, at in zip(arrays, axes, strict=True) if isinstance(one, np.ndarray) and one.ndim > at
    ]
    if not counts or len(set(counts)) > 1 or 0 in counts:
        shapes = ", ".join(str(one.shape) for one in arrays if isinstance(one, np.ndarray))
        raise DataError(
            f"expected the same number of sequences on axis {axis} of each array of the batch, got the shapes {shapes}",
            hint=f"set axis to the axis of the sequences, one number or one for each array; or {OWN_BATCHES}",
        )
    return int(counts[0])


def _arrays(batch: Any) -> Any:
    return [batch] if isinstance(batch, np.ndarray) else list(batch.values()) if isinstance(batch, Mapping) else batch


def _axes(axis: int | tuple[int, ...], count: int) -> tuple[int, ...]:
    if isinstance(axis, int):
        return (axis,) * count
    if len(axis) != count:
        raise DataError(f"expected one axis for each of the {count} arrays of a batch, got {axis}")
    return axis


def _take(array: Any, rows: slice, axis: int) -> Any:
    if not isinstance(array, np.ndarray) or array.ndim <= axis:
        return array
    return np.ascontiguousarray(array[(slice(None),) * axis + (rows,)])


class ShardedLoader:
    """A loader that yields this rank's rows of each batch of another loader, made by :func:`shard`.

    The other loader must yield the same batches in the same order on all ranks. ``set_epoch``, ``skip_batches``,
    ``state_dict`` and ``load_state_dict`` are its methods.
    """

    def __init__(self, loader: Iterable[Any], axis: int | tuple[int, ...], rank: int, ranks: int) -> None:
        self._loader = loader
        self._axis = axis
        self._rank = rank
        self._ranks = ranks
        self.share: Share | None = None
        _LOADERS.add(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            self.share = divide(batch, self._rank, self._ranks, self._axis)
            yield self.share.data


_LOADERS: WeakSet[ShardedLoader] = WeakSet()


def shard(loader: Iterable[Any], axis: int | tuple[int, ...] = 0) -> Iterable[Any]:
    """A loader of this rank's rows of each batch. In a run of one process, it is the given loader.

    ``data_parallel`` divides the batches of other loaders as its options ``shard`` and ``axis`` say. Use this function
    for a loader whose batches have their sequences on another axis.

    Parameters
    ----------
    loader:
        Any iterable of the batches that :func:`divide` takes, in the same order on all ranks.
    axis:
        The axis of the sequences in all arrays, or a tuple with one axis for each array.

    Example
    -------
    >>> list(shard([np.zeros((4, 8))], axis=1))[0].shape
    (4, 8)
    """
    ranks = connect()
    return loader if ranks is None else ShardedLoader(loader, axis, ranks.rank, ranks.ranks)


def known_share(data: Any) -> Share | None:
    """The share that a sharded loader yielded last, if ``data`` is its data; else None."""
    if not _LOADERS:
        return None
    shares = (loader.share for loader in list(_LOADERS))
    return next((share for share in shares if share is not None and share.data is data), None)
