"""The linear head of a network."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.errors import DataError
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.linalg.products import add_column_sums, multiply_rows
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.validation import IntArray


class Head:
    r"""A linear map of the outputs of the uppermost layer, at each step or at the last step of each sequence.

    .. math:: z = u W^T + b

    Parameters
    ----------
    weight, bias:
        The parameters, (output_size, size) and (output_size,).
    weight_gradient, bias_gradient:
        The arrays that receive their gradients.
    last_step:
        Read only the last step of each sequence. Of the backward direction, that is the first step of the batch.
    forward_size:
        Number of features from the forward direction.
    """

    def __init__(
        self,
        weight: FloatArray,
        bias: FloatArray,
        weight_gradient: FloatArray,
        bias_gradient: FloatArray,
        *,
        last_step: bool,
        forward_size: int,
    ) -> None:
        self.weight, self.bias = weight, bias
        self.weight_gradient, self.bias_gradient = weight_gradient, bias_gradient
        self.last_step = last_step
        self.forward_size = forward_size

    @property
    def output_size(self) -> int:
        return len(self.bias)

    def leading_shape(self, seq_len: int, batch_size: int) -> tuple[int, ...]:
        """The shape of the outputs without their last axis, which is also that of the targets."""
        return (batch_size,) if self.last_step else (seq_len, batch_size)

    def check_lengths(self, lengths: IntArray | None) -> None:
        """Check that each sequence has the step that the head reads.

        Raises
        ------
        DataError
            The head reads the last step, and a sequence has none.
        """
        if self.last_step and lengths is not None and not lengths.all():
            raise DataError(f"mask: row {int(np.argmin(lengths))} has no unmasked step, so it has no last step")

    def features(self, outputs: FloatArray, lengths: IntArray | None) -> FloatArray:
        """The rows u that the head reads, (positions, size), from the outputs (seq_len, batch, size) of the stack."""
        if not self.last_step:
            return outputs.reshape(-1, outputs.shape[2])
        last = (outputs[-1] if lengths is None else outputs[lengths - 1, np.arange(len(lengths))]).copy()
        last[:, self.forward_size :] = outputs[0, :, self.forward_size :]
        return last

    def forward(self, work: Workspace, features: FloatArray, out: FloatArray) -> None:
        """Write z (positions, output_size)."""
        multiply_rows(work, features, self.weight.T, out)
        np.add(out, self.bias, out)

    def write_gradients(self, work: Workspace, output_gradients: FloatArray, features: FloatArray) -> None:
        """Overwrite the gradients of the parameters, from dL/dz (positions, output_size)."""
        np.dot(output_gradients.T, features, self.weight_gradient)
        add_column_sums(work, output_gradients, self.bias_gradient, is_first=True)

    def backward(
        self,
        work: Workspace,
        output_gradients: FloatArray,
        out: FloatArray,
        lengths: IntArray | None,
        segment: Segment,
    ) -> None:
        """Write the gradients with respect to the outputs of the stack, (steps, batch, size), for one segment."""
        if self.last_step:
            self._backward_last_step(np.dot(output_gradients, self.weight), out, lengths, segment)
            return
        batch_size = out.shape[1]
        rows = output_gradients[segment.begin * batch_size : segment.end * batch_size]
        multiply_rows(work, rows, self.weight, out.reshape(len(rows), -1))

    def _backward_last_step(
        self, feature_gradients: FloatArray, out: FloatArray, lengths: IntArray | None, segment: Segment
    ) -> None:
        out.fill(0.0)
        last = np.full(len(feature_gradients), segment.seq_len - 1) if lengths is None else lengths - 1
        rows = np.flatnonzero((segment.begin <= last) & (last < segment.end))
        forward = slice(0, self.forward_size)
        out[last[rows] - segment.begin, rows, forward] = feature_gradients[rows, forward]
        # Networks with a backward direction have a single segment, whose first step is that of the batch.
        out[0, :, self.forward_size :] = feature_gradients[:, self.forward_size :]
