"""Losses of the outputs of a head, forward and backward."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import Array, BoolArray, FloatArray
from rnncallbacks.errors import DataError, ShapeError
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.validation import IntArray, as_indices, check_values, is_integer

# Magnitude of a logit. Up to it, exponentials neither overflow nor underflow in float32 (e^60 is 1e26, the largest
# float 3e38), and no sum of fewer than 10**12 of them overflows, so the logits need no shift.
_MAX_UNSHIFTED_LOGIT = 60.0


class SoftmaxNll:
    r"""The negative log-likelihood of the softmax, averaged over the N unmasked positions.

    .. math:: L = \frac{1}{N} \sum_n \Big( \log \sum_v e^{z_{nv}} - z_{n y_n} \Big)

    In nats per position. Where a logit is large, the largest of its row is first subtracted. Equal to
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
        """The targets as indices of shape (positions,).

        Raises
        ------
        DataError
            The targets are not integers, or one is not below ``output_size``.
        ShapeError
            They do not have the shape ``leading``.
        """
        if is_integer(targets) and targets.shape != leading:
            raise _mismatch(targets, leading)
        return as_indices("targets", targets, output_size, "output_size").reshape(-1)

    def forward(self, work: Workspace, logits: FloatArray, targets: IntArray, mask: BoolArray | None) -> float:
        """The loss of logits (positions, vocab_size) where ``mask`` is True. The logits are overwritten."""
        count = targets.size
        totals = work.array("totals", (count,))
        target_logits = self._exponentiate(work, logits, targets, totals)
        losses = np.log(totals)
        np.subtract(losses, target_logits, losses)
        if mask is not None:
            losses = losses[mask]
            count = losses.size
        self._exponentials, self._totals, self._mask, self._count = logits, totals, mask, count
        # Like losses.sum(), without its detour through Python.
        return float(np.add.reduce(losses, dtype=np.float64) / count)

    def backward(self) -> FloatArray:
        """The gradient with respect to the logits, in their memory. Call it once per forward pass."""
        exponentials = self._exponentials
        weights = np.divide(1.0 / self._count, self._totals)
        at_target: FloatArray | float = 1.0 / self._count
        if self._mask is not None:
            np.multiply(weights, self._mask, weights)
            at_target = self._mask * exponentials.dtype.type(at_target)
        np.multiply(exponentials, weights[:, None], exponentials)
        exponentials.reshape(-1)[self._target_indices] -= at_target
        return exponentials

    def _exponentiate(self, work: Workspace, logits: FloatArray, targets: IntArray, totals: FloatArray) -> FloatArray:
        """Turn logits into exponentials, and write their sums. Returns the (shifted) logits of the targets."""
        self._target_indices = np.arange(0, logits.size, logits.shape[1]) + targets
        target_logits: FloatArray = logits.reshape(-1)[self._target_indices]
        # NaN fails the comparison, so it takes the shift, which preserves it.
        if not (logits.max() < _MAX_UNSHIFTED_LOGIT and logits.min() > -_MAX_UNSHIFTED_LOGIT):
            largest = logits.max(axis=1, keepdims=True)
            np.subtract(logits, largest, logits)
            np.subtract(target_logits, largest[:, 0], target_logits)
        np.exp(logits, logits)
        np.dot(logits, work.array("vocabulary", (logits.shape[1],), fill=1.0), totals)
        return target_logits


class MeanSquaredError:
    r"""The squared error, averaged over the D outputs of each of the N unmasked positions.

    .. math:: L = \frac{1}{N D} \sum_n \sum_d (y_{nd} - t_{nd})^2

    Without a mask, equal to ``torch.nn.functional.mse_loss``.

    Example
    -------
    >>> loss = MeanSquaredError()
    >>> loss.forward(Workspace("float64"), np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]), None)
    2.0
    >>> loss.backward()
    array([[0., 2.]])
    """

    def check(self, targets: Array, leading: tuple[int, ...], output_size: int) -> FloatArray:
        """The targets of shape (positions, output_size).

        Raises
        ------
        DataError
            The targets are not floats.
        ShapeError
            They do not have the shape (\\*leading, output_size).
        """
        if not np.issubdtype(targets.dtype, np.floating):
            raise DataError(
                f"targets: expected floats of shape {(*leading, output_size)}, got {targets.dtype} {targets.shape}",
                hint='for targets that are tokens, make the model with loss="nll"' if is_integer(targets) else "",
            )
        if targets.shape != (*leading, output_size):
            raise _mismatch(targets, (*leading, output_size))
        return targets.reshape(-1, output_size)

    def forward(self, work: Workspace, outputs: FloatArray, targets: FloatArray, mask: BoolArray | None) -> float:
        """The loss of outputs (positions, output_size) where ``mask`` is True. The outputs are overwritten."""
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
        """The gradient with respect to the outputs, in their memory. Call it once per forward pass."""
        return np.multiply(self._differences, 2.0 / self._count, self._differences)


Loss = SoftmaxNll | MeanSquaredError


def _mismatch(targets: Array, expected: tuple[int, ...]) -> ShapeError:
    return ShapeError(
        f"targets of shape {targets.shape} do not match the outputs of the model: expected {expected}",
        hint='output="step" needs one target per step, output="last" one per sequence',
    )
