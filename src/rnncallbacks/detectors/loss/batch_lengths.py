"""The sequences, time steps and tokens of batches, and the loss of an untrained network on their targets."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.sequences import Sequences, inputs_of, sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.define(eq=False)
class BatchLengths:
    """Reads the lengths of batches; the arrays themselves are read in a few batches and once for each shape.

    ``batches_read`` is the number of batches of each phase whose arrays are always read, for the vocabulary size. Eight
    batches hold most tokens of a small vocabulary; the number was chosen by eye.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> lengths = BatchLengths()
    >>> tokens = np.zeros((32, 20), dtype=int)
    >>> lengths.read(Batch((tokens, tokens), "train", 1, batch_size=32))
    (32, 20, 640)
    """

    batches_read: int = 8
    _by_shape: dict[object, tuple[int | None, int | None]] = state_field(factory=dict)
    _reads: dict[str, int] = state_field(factory=dict)
    _vocab_sizes: dict[str, int] = state_field(factory=dict)
    _mean_squares: dict[str, float] = state_field(factory=dict)

    def read(self, batch: Batch) -> tuple[int | None, int | None, int | None]:
        """The batch's sequences, the time steps of each, and its tokens; None for unknown ones."""
        sequences, steps = self._sequences_and_steps(batch)
        tokens = batch.tokens
        if tokens is None and sequences is not None and steps is not None:
            tokens = sequences * steps
        return sequences, steps, tokens

    def vocab_size(self, phase: str) -> int | None:
        """The number of classes among a phase's targets, as far as they were read; None if they are not classes."""
        return self._vocab_sizes.get(phase)

    def uniform_loss(self, phase: str) -> float | None:
        """The mean loss of an untrained network: ln V for classes, the mean square of other targets; None if unknown.

        In nats for classes, and in the squared unit of the targets for numbers.
        """
        classes = self._vocab_sizes.get(phase, 0)
        return math.log(classes) if classes > 1 else self._mean_squares.get(phase) or None

    def _sequences_and_steps(self, batch: Batch) -> tuple[int | None, int | None]:
        given = batch.sequences or batch.batch_size
        inputs = inputs_of(batch)
        if inputs is None and isinstance(batch.data, np.ndarray) and batch.data.ndim == 2:
            return given or batch.data.shape[0], batch.data.shape[1]  # most loaders put the batch first
        if isinstance(inputs, np.ndarray):
            key: object = (inputs.shape, given)
        elif isinstance(inputs, Sized) and len(inputs):
            first = next(iter(inputs))  # type: ignore[call-overload]
            key = (len(inputs), len(first) if isinstance(first, Sized) else 0, given)
        else:
            return given, None
        if key not in self._by_shape or self._reads.get(batch.phase, 0) < self.batches_read:
            self._reads[batch.phase] = self._reads.get(batch.phase, 0) + 1
            shown = sequences_of(batch)
            self._read_targets(batch.phase, shown)
            if shown.time_axis is None and shown.inputs is not None and shown.inputs.ndim > 1:
                self._by_shape[key] = shown.inputs.shape[0], shown.inputs.shape[1]  # most loaders put the batch first
            else:
                self._by_shape[key] = shown.batch_size or given, shown.seq_len
        return self._by_shape[key]

    def _read_targets(self, phase: str, shown: Sequences) -> None:
        if shown.targets is None or not shown.targets.size:
            return
        if shown.targets.dtype.kind == "f":
            self._mean_squares.setdefault(phase, float(np.mean(np.square(shown.targets))))
        else:
            classes = shown.vocab_size or int(shown.targets.max()) + 1
            self._vocab_sizes[phase] = max(self._vocab_sizes.get(phase, 0), classes)
