"""The batches of a run that are open. There can be several: a validation may run inside a training batch."""

from __future__ import annotations

from collections.abc import Callable

from rnncallbacks.core.batch import Batch


class OpenBatches:
    """A stack of open batches, the innermost last.

    Parameters
    ----------
    end:
        Called with each batch that is closed, while the batch is still the innermost.

    Example
    -------
    >>> open_batches = OpenBatches(end=lambda batch: print("end of", batch.phase))
    >>> open_batches.open(Batch("x", "train", 1))
    >>> open_batches.open(Batch("y", "val", 1))
    >>> open_batches.close_down_to(None)
    end of val
    end of train
    """

    def __init__(self, end: Callable[[Batch], None]) -> None:
        self._end = end
        self._open: list[Batch] = []
        self._abandoned: set[Batch] = set()

    @property
    def innermost(self) -> Batch | None:
        """The batch that was opened last, or None if no batch is open."""
        return self._open[-1] if self._open else None

    @property
    def outermost(self) -> Batch | None:
        """The batch that was opened first, or None if no batch is open."""
        return self._open[0] if self._open else None

    def open(self, batch: Batch) -> None:
        """Put a batch on the stack."""
        self._open.append(batch)

    def abandon(self, batch: Batch) -> None:
        """Mark a batch whose loop was left by ``break``, ``return`` or an exception.

        It stays open: it is closed by the next call that does not belong to it, where an error of a hook is not lost.
        """
        self._abandoned.add(batch)

    def close_abandoned(self) -> Batch | None:
        """Close the innermost batches as long as they are abandoned; return the one that is then innermost, if any."""
        while self._abandoned and self._open and self._open[-1] in self._abandoned:
            self._close_innermost()
        return self._open[-1] if self._open else None

    def close_down_to(self, outer: Batch | None) -> None:
        """Close the batches inside ``outer``, the innermost first; None closes all of them."""
        while self._open and self._open[-1] is not outer:
            self._close_innermost()

    def clear(self) -> None:
        """Drop all batches without closing them."""
        self._open.clear()
        self._abandoned.clear()

    def _close_innermost(self) -> None:
        batch = self._open[-1]
        # First, so that a hook of on_batch_end that uses the batch does not close it a second time.
        self._abandoned.discard(batch)
        try:
            self._end(batch)
        finally:
            self._open.pop()
