"""One pass over a loader: its items as numbered batches, and the errors for a loader that yields nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from rnncallbacks.core.batch import Batch
from rnncallbacks.core.object_state import has_state_dict, set_state
from rnncallbacks.core.position import PassPosition
from rnncallbacks.errors import CheckpointError, DataError, one_line

logger = logging.getLogger("rnncallbacks")


class LoaderPass(Iterator[Batch]):
    """An iterator over the batches of one pass through ``loader``.

    The methods ``set_epoch`` of the loader and of its attribute ``sampler``, if any, are called with the epoch first.
    An item's attribute ``starts``, if any, marks the sequences that begin here and do not continue the batch before.

    A pass of a resumed run begins after the batches that are done. A loader with ``state_dict`` and ``load_state_dict``
    gets its saved state back. A method ``skip_batches`` of the loader is called to leave that number of batches out of
    the next iteration. From any other loader, the batches are taken and dropped.

    Parameters
    ----------
    loader:
        Any iterable.
    phase:
        The phase of the batches.
    epoch:
        The number of the epoch, from 1.
    done:
        How far the pass had come in the run that is resumed, or None.
    loader_state:
        What the loader's ``state_dict`` returned then, or None.

    Attributes
    ----------
    phase:
        The phase of the batches.
    index:
        The number of the last batch that was yielded, from 1; 0 before the first.
    finished:
        Whether the pass is over, though the run was not stopped.
    left:
        Whether the script left the loop.
    state:
        The state of the script's generators and objects where the pass ended; None before that.

    Raises
    ------
    DataError
        The loader is not iterable, or has fewer batches than were done.
    CheckpointError
        The loader does not accept its state.

    Example
    -------
    >>> [(batch.index, batch.count, batch.data) for batch in LoaderPass(["a", "b"], "train", epoch=1)]
    [(1, 2, 'a'), (2, 2, 'b')]
    """

    def __init__(
        self,
        loader: Iterable[Any],
        phase: str,
        epoch: int,
        *,
        done: PassPosition | None = None,
        loader_state: Any = None,
    ) -> None:
        for target in (loader, getattr(loader, "sampler", None)):
            if callable(set_epoch := getattr(target, "set_epoch", None)):
                set_epoch(epoch)
        positioned = _load(loader, loader_state)
        self.phase = phase
        self.index = 0 if done is None else done.batches
        self.finished = False
        self.left = False
        self.state: dict[str, Any] | None = None
        self._loader = loader
        self._count = _length(loader)
        self._items: Iterator[Any] = iter(())
        if done is not None and done.finished:
            return
        skipped = 0 if positioned else self.index
        if skipped and callable(skip_batches := getattr(loader, "skip_batches", None)):
            skip_batches(skipped)
            skipped = 0
        try:
            self._items = iter(loader)
        except TypeError:
            raise DataError(
                f"run.batches: expected an iterable of batches for phase {phase!r}, got {type(loader).__name__}"
            ) from None
        if skipped:
            self._skip(skipped)

    def __next__(self) -> Batch:
        data = next(self._items)
        self.index += 1
        return Batch(data, self.phase, self.index, self._count, _starts(data))

    @property
    def has_yielded_all(self) -> bool:
        """Whether all batches that the loader says it has were yielded; False if it does not say.

        False too if the script left a loader that has a state, which then still says that the pass is open.
        """
        if self.left and has_state_dict(self._loader):
            return False
        return self._count is not None and self.index >= self._count

    def exhaust(self) -> None:
        """Let a loader that has yielded all of its batches end its iteration, as one that is not stopped does."""
        if self.has_yielded_all:
            next(self._items, None)

    @property
    def is_at_its_end(self) -> bool:
        """Whether the pass is over, or all batches were yielded."""
        return self.finished or self.has_yielded_all

    def check_not_empty(self) -> None:
        """Refuse a loader that yielded no item.

        Raises
        ------
        DataError
            The hint says whether the loader is a used-up generator.
        """
        if self.index == 0:
            raise DataError(
                f"run.batches: the loader of phase {self.phase!r} yielded no batch",
                hint="a generator yields its items once: pass a list, or an object whose __iter__ starts over"
                if self._items is self._loader
                else "check that the data are not empty, and that drop_last with this batch_size leaves a batch",
            )

    def _skip(self, count: int) -> None:
        found = sum(1 for _ in islice(self._items, count))
        if found < count:
            raise DataError(
                f"run.batches: the run was at batch {count} of the phase {self.phase!r} when the checkpoint was saved, "
                f"and the loader has {found} batches now",
                hint="resume with the data of the run that saved the checkpoint",
            )
        if not isinstance(self._loader, list | tuple | range | np.ndarray):
            logger.warning(
                "run.batches: resumed after batch %d of the phase %r; the batches up to it were loaded and dropped: "
                "a loader with state_dict and load_state_dict, or with skip_batches, continues there directly",
                count,
                self.phase,
            )


def _load(loader: Any, state: Any) -> bool:
    """Put a loader back to a state; return whether it was."""
    if state is None or not has_state_dict(loader):
        return False
    try:
        set_state(loader, state)
    except Exception as error:
        raise CheckpointError(
            f"load_state_dict of the loader {type(loader).__name__} does not accept the state in the file: "
            f"{one_line(error)}",
            hint="resume with the loader of the run that saved the checkpoint",
        ) from error
    return True


def _starts(data: Any) -> npt.NDArray[np.bool_] | None:
    starts = getattr(data, "starts", None)
    return None if starts is None else np.asarray(starts)


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # raised by loaders of endless streams
        return None
