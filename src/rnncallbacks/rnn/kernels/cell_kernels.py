"""Kernels of the cells: the elementwise operations of a step, in one pass over memory."""

from __future__ import annotations

from typing import Any

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.rnn.kernels.compilation import compiled, compiled_sum, float32_constants

_ZERO, _HALF, _ONE = float32_constants(0.0, 0.5, 1.0)

# tanh is approximated by the quotient of an odd and an even polynomial, with arguments clipped to plus and minus the
# limit, where tanh differs from 1 by less than 1.2e-7. Coefficients: Eigen, see _tanh.
_TANH_LIMIT, *_ODD = float32_constants(
    7.90531110763549805,
    4.89352455891786e-03,
    6.37261928875436e-04,
    1.48572235717979e-05,
    5.12229709037114e-08,
    -8.60467152213735e-11,
    2.00018790482477e-13,
    -2.76076847742355e-16,
)
_P1, _P3, _P5, _P7, _P9, _P11, _P13 = _ODD
_Q0, _Q2, _Q4, _Q6 = float32_constants(
    4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06
)


@compiled
def _tanh(x: Any) -> Any:
    """Absolute error at most 3e-7. Source: ``generic_fast_tanh_float`` of the linear algebra library Eigen."""
    x = _TANH_LIMIT if x > _TANH_LIMIT else x
    x = -_TANH_LIMIT if x < -_TANH_LIMIT else x
    s = x * x
    odd = ((((((_P13 * s + _P11) * s + _P9) * s + _P7) * s + _P5) * s + _P3) * s + _P1) * x
    return odd / (((_Q6 * s + _Q4) * s + _Q2) * s + _Q0)


@compiled
def _sigmoid(x: Any) -> Any:
    return _tanh(x * _HALF) * _HALF + _HALF


@compiled
def _sigmoid_of_sum(gates: FloatArray, recurrent: FloatArray) -> None:
    for k in range(gates.size):
        gates[k] = _sigmoid(gates[k] + recurrent[k])


@compiled
def _tanh_of_sum(gates: FloatArray, recurrent: FloatArray) -> None:
    for k in range(gates.size):
        gates[k] = _tanh(gates[k] + recurrent[k])


@compiled
def vanilla_step(state: FloatArray, recurrent: FloatArray, relu: bool) -> None:
    """Turn a projection into the state. ``recurrent`` is the product with the previous state. All one-dimensional."""
    if not relu:
        _tanh_of_sum(state, recurrent)
        return
    for k in range(state.size):
        x = state[k] + recurrent[k]
        state[k] = _ZERO if x < _ZERO else x


@compiled
def vanilla_backward(gradient: FloatArray, recurrent: FloatArray, state: FloatArray, relu: bool) -> None:
    """Turn the gradient from above into dL/da, where a is the input of the nonlinearity.

    ``recurrent`` is the gradient from the later step.
    """
    if relu:
        for k in range(gradient.size):
            # A state that is not positive is 0 or NaN, and is itself the factor then.
            gradient[k] = (gradient[k] + recurrent[k]) * (_ONE if state[k] > _ZERO else state[k])
    else:
        for k in range(gradient.size):
            gradient[k] = (gradient[k] + recurrent[k]) * (_ONE - state[k] * state[k])


@compiled
def lstm_step(
    gates: FloatArray, recurrent: FloatArray, before: FloatArray, cell: FloatArray, state: FloatArray
) -> None:
    """Turn projections (batch, 4 * size) into gates, and write cell state and hidden state (batch, size)."""
    size = cell.shape[1]
    for row in range(cell.shape[0]):
        _sigmoid_of_sum(gates[row, : 2 * size], recurrent[row, : 2 * size])
        _tanh_of_sum(gates[row, 2 * size : 3 * size], recurrent[row, 2 * size : 3 * size])
        _sigmoid_of_sum(gates[row, 3 * size :], recurrent[row, 3 * size :])
        i, f, g, o = (
            gates[row, :size],
            gates[row, size : 2 * size],
            gates[row, 2 * size : 3 * size],
            gates[row, 3 * size :],
        )
        c0, c, h = before[row], cell[row], state[row]
        # c_t = f c_{t-1} + i g
        for k in range(size):
            c[k] = f[k] * c0[k] + i[k] * g[k]
        # h_t = o tanh(c_t)
        for k in range(size):
            h[k] = o[k] * _tanh(c[k])


@compiled
def lstm_backward(
    gates: FloatArray,
    before: FloatArray,
    cell: FloatArray,
    gradient: FloatArray,
    recurrent: FloatArray,
    to_cell: FloatArray,
) -> None:
    """Complete dL/dh and dL/dc, and turn the gates into the gradients with respect to their inputs.

    ``recurrent`` and ``to_cell`` are the gradients from the later step; ``to_cell`` becomes that for the step before.
    """
    size = cell.shape[1]
    for row in range(cell.shape[0]):
        i, f, g, o = (
            gates[row, :size],
            gates[row, size : 2 * size],
            gates[row, 2 * size : 3 * size],
            gates[row, 3 * size :],
        )
        c0, c, dh, back, dc = before[row], cell[row], gradient[row], recurrent[row], to_cell[row]
        # dL/dh_t, dL/dc_t and the input of o
        for k in range(size):
            to_state = dh[k] + back[k]
            cell_tanh = _tanh(c[k])
            dh[k] = to_state
            dc[k] += to_state * o[k] * (_ONE - cell_tanh * cell_tanh)
            o[k] = to_state * cell_tanh * o[k] * (_ONE - o[k])
        # dL/dc_{t-1} and the inputs of i, f and g
        for k in range(size):
            d, a, b, e = dc[k], i[k], f[k], g[k]
            dc[k] = d * b
            i[k] = d * e * a * (_ONE - a)
            f[k] = d * c0[k] * b * (_ONE - b)
            g[k] = d * a * (_ONE - e * e)


@compiled
def gru_step(
    gates: FloatArray,
    recurrent: FloatArray,
    bias: FloatArray,
    before: FloatArray,
    candidate: FloatArray,
    state: FloatArray,
) -> None:
    """Turn projections (batch, 3 * size) into gates, and write h_{t-1} W_hn^T + b_hn and the state (batch, size)."""
    size = state.shape[1]
    for row in range(state.shape[0]):
        _sigmoid_of_sum(gates[row, : 2 * size], recurrent[row, : 2 * size])
        r, z, n = gates[row, :size], gates[row, size : 2 * size], gates[row, 2 * size :]
        product, recurrent_n, h0, h = recurrent[row, 2 * size :], candidate[row], before[row], state[row]
        # h_{t-1} W_hn^T + b_hn
        for k in range(size):
            recurrent_n[k] = product[k] + bias[k]
        # n = tanh(x_t W_in^T + b_in + r (h_{t-1} W_hn^T + b_hn))
        for k in range(size):
            n[k] = _tanh(n[k] + r[k] * recurrent_n[k])
        # h_t = n + z (h_{t-1} - n)
        for k in range(size):
            h[k] = n[k] + z[k] * (h0[k] - n[k])


@compiled
def gru_backward(
    gates: FloatArray,
    before: FloatArray,
    candidate: FloatArray,
    gradient: FloatArray,
    recurrent: FloatArray,
    direct: FloatArray,
) -> None:
    """Complete dL/dh, and turn the gates into the gradients with respect to the product with the state.

    ``candidate``, which is h_{t-1} W_hn^T + b_hn, becomes the gradient with respect to the input of n. ``recurrent``
    and ``direct`` are the gradients from the later step; ``direct`` becomes that of z h_{t-1}.
    """
    size = gradient.shape[1]
    for row in range(gradient.shape[0]):
        r, z, n = gates[row, :size], gates[row, size : 2 * size], gates[row, 2 * size :]
        recurrent_n, h0, dh, back, through_z = candidate[row], before[row], gradient[row], recurrent[row], direct[row]
        # dL/dh_t, and to h_{t-1} by way of z h_{t-1}
        for k in range(size):
            d = dh[k] + back[k] + through_z[k]
            dh[k] = d
            through_z[k] = d * z[k]
        # the inputs of n, r and z, and h_{t-1} W_hn^T + b_hn
        for k in range(size):
            a, b, e, c = r[k], z[k], n[k], recurrent_n[k]
            to_new = dh[k] * (_ONE - b)
            entering = to_new * (_ONE - e * e)
            recurrent_n[k] = entering
            r[k] = entering * c * a * (_ONE - a)
            z[k] = to_new * b * (h0[k] - e)
            n[k] = entering * a


# For a single row, these loops are as fast as the linear algebra library, whose calls would cost more than the
# arithmetic.


@compiled_sum
def _matrix_times(matrix: FloatArray, row: FloatArray, out: FloatArray) -> None:
    for i in range(out.size):
        line = matrix[i]
        total = _ZERO
        for k in range(row.size):
            total += line[k] * row[k]
        out[i] = total


@compiled
def _times_matrix(row: FloatArray, matrix: FloatArray, out: FloatArray) -> None:
    out[:] = _ZERO
    fours = row.size // 4 * 4
    for i in range(0, fours, 4):
        a, b, c, d = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        for k in range(out.size):
            out[k] += a[k] * row[i] + b[k] * row[i + 1] + c[k] * row[i + 2] + d[k] * row[i + 3]
    for i in range(fours, row.size):
        a = matrix[i]
        for k in range(out.size):
            out[k] += a[k] * row[i]


@compiled
def vanilla_row(states: FloatArray, weight_hh: FloatArray, recurrent: FloatArray, relu: bool) -> None:
    """All steps of a batch of one row. ``states`` (seq_len + 1, size) holds the initial state, then projections."""
    for step in range(1, states.shape[0]):
        _matrix_times(weight_hh, states[step - 1], recurrent)
        vanilla_step(states[step], recurrent, relu)


@compiled
def vanilla_row_backward(
    gradients: FloatArray,
    weight_hh: FloatArray,
    recurrent: FloatArray,
    states: FloatArray,
    relu: bool,
) -> None:
    """The backward pass through the steps of a segment, for a batch of one row."""
    for step in range(gradients.shape[0] - 1, -1, -1):
        vanilla_backward(gradients[step], recurrent, states[step + 1], relu)
        _times_matrix(gradients[step], weight_hh, recurrent)


@compiled
def lstm_row(
    gates: FloatArray, weight_hh: FloatArray, recurrent: FloatArray, cells: FloatArray, states: FloatArray
) -> None:
    """All steps of a batch of one row."""
    for step in range(gates.shape[0]):
        _matrix_times(weight_hh, states[step, 0], recurrent[0])
        lstm_step(gates[step], recurrent, cells[step], cells[step + 1], states[step + 1])


@compiled
def lstm_row_backward(
    gates: FloatArray,
    weight_hh: FloatArray,
    recurrent: FloatArray,
    cells: FloatArray,
    gradients: FloatArray,
    to_cell: FloatArray,
) -> None:
    """The backward pass through the steps of a segment, for a batch of one row."""
    for step in range(gates.shape[0] - 1, -1, -1):
        lstm_backward(gates[step], cells[step], cells[step + 1], gradients[step], recurrent, to_cell)
        _times_matrix(gates[step, 0], weight_hh, recurrent[0])


@compiled
def gru_row(
    gates: FloatArray,
    weight_hh: FloatArray,
    recurrent: FloatArray,
    bias: FloatArray,
    states: FloatArray,
    candidates: FloatArray,
) -> None:
    """All steps of a batch of one row."""
    for step in range(gates.shape[0]):
        _matrix_times(weight_hh, states[step, 0], recurrent[0])
        gru_step(gates[step], recurrent, bias, states[step], candidates[step], states[step + 1])


@compiled
def gru_row_backward(
    gates: FloatArray,
    weight_hh: FloatArray,
    recurrent: FloatArray,
    states: FloatArray,
    candidates: FloatArray,
    gradients: FloatArray,
    direct: FloatArray,
) -> None:
    """The backward pass through the steps of a segment, for a batch of one row."""
    for step in range(gates.shape[0] - 1, -1, -1):
        gru_backward(gates[step], states[step], candidates[step], gradients[step], recurrent, direct)
        _times_matrix(gates[step, 0], weight_hh, recurrent[0])
