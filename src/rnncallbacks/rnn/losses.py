"""Losses over the outputs of a head, forward and backward."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays import Array, FloatArray
from rnncallbacks.errors import DataError, ShapeError
from rnncallbacks.rnn.checks import BoolArray, IntArray, check_values, is_integer
from rnncallbacks.rnn.inputs import as_indices
from rnncallbacks.rnn.workspace import Workspace

# Within plus and minus this bound, exponentials neither overflow nor lose digits in float32, and no sum of fewer than
# 10**12 of them overflows, so the logits need no shift.
_SAFE_LOGIT = 60.0


class SoftmaxNll:
    r"""The negative log-likelihood of the softmax, averaged over the N positions that count.

    .. math:: L = \frac{1}{N} \sum_n \Big( \log \sum_v e^{z_{nv}} - z_{n y_n} \Big)

    In nats per position. Computed from logits, with the largest of a row subtracted where any is large. Equal to
    ``torch.nn.functional.cross_entropy``.

    Example
    -------
    >>> loss = SoftmaxNll()
    >>> round(loss.forward(Workspace("float64"), np.zeros((3, 4)), np.array([0, 1, 2]), None), 4)
    1.3863
    >>> loss.backward()[0].round(4)
    array([-0.25  ,  0.0833,  0.0833,  0.0833])
    """

    def check(self, targets: Array, leading: tuple[int, ...], output_size: int) -> IntArray:
        """The targets as indices of shape (positions,); DataError or ShapeError if they do not fit the outputs."""
        if is_integer(targets) and targets.shape != leading:
            raise _mismatch(targets, leading)
        return as_indices("targets", targets, output_size, "output_size").reshape(-1)

    def forward(self, work: Workspace, logits: FloatArray, targets: IntArray, mask: BoolArray | None) -> float:
        """The loss of logits (positions, vocab_size), which are overwritten, where ``mask`` is True."""
        count = targets.size
        totals = work.array("totals", (count,))
        likely = self._exponentiate(work, logits, targets, totals)
        losses = np.log(totals)
        np.subtract(losses, likely, losses)
        if mask is not None:
            losses = losses[mask]
            count = losses.size
        self._exponentials, self._totals, self._mask, self._count = logits, totals, mask, count
        # What the method sum does too, on a detour through Python.
        return float(np.add.reduce(losses, dtype=np.float64) / count)

    def backward(self) -> FloatArray:
        """The gradient with respect to the logits, in their memory. To be called once."""
        exponentials = self._exponentials
        weights = np.divide(1.0 / self._count, self._totals)
        at_target: FloatArray | float = 1.0 / self._count
        if self._mask is not None:
            np.multiply(weights, self._mask, weights)
            at_target = self._mask * exponentials.dtype.type(at_target)
        np.multiply(exponentials, weights[:, None], exponentials)
        exponentials.reshape(-1)[self._places] -= at_target
        return exponentials

    def _exponentiate(self, work: Workspace, logits: FloatArray, targets: IntArray, totals: FloatArray) -> FloatArray:
        """Turn logits into exponentials, and write their sums. Returns the logits of the targets, shifted alike."""
        self._places = np.arange(0, logits.size, logits.shape[1]) + targets
        likely: FloatArray = logits.reshape(-1)[self._places]
        # A NaN fails the comparison and is left to the shift, which keeps it.
        if not (logits.max() < _SAFE_LOGIT and logits.min() > -_SAFE_LOGIT):
            largest = logits.max(axis=1, keepdims=True)
            np.subtract(logits, largest, logits)
            np.subtract(likely, largest[:, 0], likely)
        np.exp(logits, logits)
        np.dot(logits, work.array("vocabulary", (logits.shape[1],), fill=1.0), totals)
        return likely


class MeanSquaredError:
    r"""The squared error, averaged over the D outputs of each of the N positions that count.

    .. math:: L = \frac{1}{N D} \sum_n \sum_d (y_{nd} - t_{nd})^2

    Equal to ``torch.nn.functional.mse_loss`` where no position is masked.

    Example
    -------
    >>> loss = MeanSquaredError()
    >>> loss.forward(Workspace("float64"), np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]), None)
    2.0
    >>> loss.backward()
    array([[0., 2.]])
    """

    def check(self, targets: Array, leading: tuple[int, ...], output_size: int) -> FloatArray:
        """The targets of shape (positions, output_size); DataError or ShapeError if they do not fit the outputs."""
        if not np.issubdtype(targets.dtype, np.floating):
            raise DataError(
                f"targets: expected floats of shape {(*leading, output_size)}, got {targets.dtype} {targets.shape}",
                hint='a model of tokens is trained with loss="nll"' if is_integer(targets) else "",
            )
        if targets.shape != (*leading, output_size):
            raise _mismatch(targets, (*leading, output_size))
        return targets.reshape(-1, output_size)

    def forward(self, work: Workspace, outputs: FloatArray, targets: FloatArray, mask: BoolArray | None) -> float:
        """The loss of outputs (positions, output_size), which are overwritten, where ``mask`` is True."""
        np.subtract(outputs, targets, outputs, casting="same_kind")
        count = outputs.size
        if mask is not None:
            np.multiply(outputs, mask[:, None], outputs)
            count = int(np.count_nonzero(mask)) * outputs.shape[1]
        flat = outputs.reshape(-1)
        self._differences, self._count = outputs, count
        loss = float(np.dot(flat, flat)) / count
        if np.isnan(loss):
            check_values("targets", targets)
        return loss

    def backward(self) -> FloatArray:
        """The gradient with respect to the outputs, in their memory. To be called once."""
        return np.multiply(self._differences, 2.0 / self._count, self._differences)


def _mismatch(targets: Array, expected: tuple[int, ...]) -> ShapeError:
    return ShapeError(
        f"targets of shape {targets.shape} do not fit the head's outputs: expected {expected}",
        hint='output="step" needs a target per step, output="last" one per sequence',
    )
