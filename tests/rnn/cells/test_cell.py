from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from rnncallbacks.rnn.cells.cell import Cell, CellParameters, states_after
from rnncallbacks.rnn.cells.gru import GRUCell
from rnncallbacks.rnn.cells.lstm import LSTMCell
from rnncallbacks.rnn.cells.original_gru import OriginalGRUCell
from rnncallbacks.rnn.cells.segments import Segment
from rnncallbacks.rnn.cells.vanilla import VanillaCell
from rnncallbacks.rnn.linalg.workspace import Workspace

Equation = Callable[[np.ndarray, Any, CellParameters], Any]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def vanilla(function: Callable[[np.ndarray], np.ndarray]) -> Equation:
    return lambda projected, h, arrays: function(projected + arrays.bias_ih + arrays.bias_hh + h @ arrays.weight_hh.T)


def lstm(projected: np.ndarray, state: Any, arrays: CellParameters) -> Any:
    h, c = state
    i, f, g, o = np.split(projected + arrays.bias_ih + arrays.bias_hh + h @ arrays.weight_hh.T, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(projected: np.ndarray, h: np.ndarray, arrays: CellParameters) -> np.ndarray:
    from_r, from_z, from_n = np.split(projected + arrays.bias_ih, 3, axis=1)
    by_r, by_z, by_n = np.split(h @ arrays.weight_hh.T + arrays.bias_hh, 3, axis=1)
    z = sigmoid(from_z + by_z)
    return (1.0 - z) * np.tanh(from_n + sigmoid(from_r + by_r) * by_n) + z * h


def original_gru(projected: np.ndarray, h: np.ndarray, arrays: CellParameters) -> np.ndarray:
    from_r, from_z, from_n = np.split(projected + arrays.bias_ih + arrays.bias_hh, 3, axis=1)
    w_r, w_z, w_n = np.split(arrays.weight_hh, 3)
    z, r = sigmoid(from_z + h @ w_z.T), sigmoid(from_r + h @ w_r.T)
    return (1.0 - z) * np.tanh(from_n + (r * h) @ w_n.T) + z * h


CELLS: dict[str, tuple[type[Cell], list[Any], Equation]] = {
    "tanh": (VanillaCell, ["tanh"], vanilla(np.tanh)),
    "relu": (VanillaCell, ["relu"], vanilla(lambda x: np.maximum(x, 0.0))),
    "lstm": (LSTMCell, [], lstm),
    "gru": (GRUCell, [], gru),
    "original_gru": (OriginalGRUCell, [], original_gru),
}
COMPILED = [name for name in CELLS if name != "original_gru"]


def make(name: str, size: int, kernels: str = "numpy") -> Cell:
    kind, options, _ = CELLS[name]
    if kernels == "numba":
        pytest.importorskip("numba", reason="numba is not installed, which the extra 'fast' brings")
        kind = importlib.import_module("rnncallbacks.rnn.kernels.compiled_layers").COMPILED_CLASSES[kind]
    return kind(size, *options)


def hidden_of(state: Any) -> np.ndarray:
    return state[0] if isinstance(state, tuple) else state


def arrays_for(cell: Cell, dtype: Any, seed: int = 0) -> CellParameters:
    return CellParameters(*(array.astype(dtype) for array in drawn_for(cell.gates, cell.hidden_size, seed)))


@functools.cache
def drawn_for(gates: int, size: int, seed: int) -> list[np.ndarray]:
    """The arrays of a cell in double precision: the large ones take longer to draw than their products."""
    generator, rows = np.random.default_rng(seed), gates * size
    shapes = ((rows, 1), (rows, size), (rows,), (rows,))
    return [generator.standard_normal(shape) / np.sqrt(size) for shape in shapes]


def entering(cell: Cell, batch: int, dtype: Any) -> Any:
    generator = np.random.default_rng(1)
    drawn = [generator.standard_normal((batch, cell.hidden_size)).astype(dtype) for _ in range(2)]
    return tuple(drawn) if isinstance(cell, LSTMCell) else drawn[0]


def run(cell: Cell, work: Workspace, projected: np.ndarray, state: Any, arrays: CellParameters) -> np.ndarray:
    seq_len, batch, _ = projected.shape
    cell.set_initial_state(work, seq_len, state)
    bias = np.empty(projected.shape[2], projected.dtype)
    cell.bias(arrays, bias)
    np.add(projected, bias, cell.projections(work, seq_len, batch))
    with np.errstate(over="ignore"):
        cell.forward(work, arrays, seq_len, batch)
    return cell.states(work, seq_len, batch)


def cut(seq_len: int, count: int) -> list[Segment]:
    """``count`` segments, the last first."""
    bounds = sorted({seq_len * number // count for number in range(count + 1)}, reverse=True)
    return [Segment(begin, end, seq_len) for end, begin in pairwise(bounds)]


def go_back(
    cell: Cell,
    work: Workspace,
    arrays: CellParameters,
    seen: np.ndarray,
    written: CellParameters,
    count: int,
) -> np.ndarray:
    """The gradients with respect to projections, where the loss is the sum of all states times ``seen``."""
    found = []
    for segment in cut(len(seen), count):
        gradients = work.array("gradients", seen[segment.steps].shape)
        gradients[...] = seen[segment.steps]
        cell.backward(work, arrays, gradients, segment)
        found.append(cell.write_gradients(work, seen.shape[1], written, segment).copy())
    return np.concatenate(found[::-1])


# One row; a copied matrix; many numbers per step; products in blocks where the machine likes them; rows that no block
# divides.
SHAPES = [(3, 1, 4), (30, 5, 4), (4, 32, 64), (3, 32, 256), (3, 31, 256)]


@pytest.mark.parametrize(("seq_len", "batch", "hidden"), SHAPES)
@pytest.mark.parametrize(
    ("name", "dtype", "kernels"),
    [(name, dtype, "numpy") for name in CELLS for dtype in ("float32", "float64")]
    + [(name, "float32", "numba") for name in COMPILED],
)
def test_forward_is_the_equation(name: str, dtype: str, kernels: str, seq_len: int, batch: int, hidden: int) -> None:
    cell, work = make(name, hidden, kernels), Workspace(dtype)
    equation = CELLS[name][2]
    arrays, state = arrays_for(cell, dtype), entering(cell, batch, dtype)
    projected = np.random.default_rng(2).standard_normal((seq_len, batch, cell.gates * hidden)).astype(dtype)
    states = run(cell, work, projected, state, arrays)
    left = cell.final_state(work, seq_len, batch, None)
    np.testing.assert_array_equal(states[0], hidden_of(state))
    for step, got in zip(projected, states[1:], strict=True):
        state = equation(step, state, arrays)
        np.testing.assert_allclose(got, hidden_of(state), atol=1e-12 if dtype == "float64" else 1e-5)
    np.testing.assert_array_equal(hidden_of(left), states[-1])
    if isinstance(state, tuple):
        np.testing.assert_allclose(left[1], state[1], atol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize(
    ("seq_len", "batch", "hidden", "count"), [(1, 2, 3, 1), (5, 1, 3, 1), (30, 3, 3, 1), (7, 2, 3, 3)]
)
@pytest.mark.parametrize("name", CELLS)
def test_backward_is_the_slope_of_the_forward_pass(
    name: str, seq_len: int, batch: int, hidden: int, count: int
) -> None:
    cell, work = make(name, hidden), Workspace("float64")
    arrays, state = arrays_for(cell, "float64"), entering(cell, batch, "float64")
    generator = np.random.default_rng(2)
    projected = generator.standard_normal((seq_len, batch, cell.gates * hidden))
    seen = generator.standard_normal((seq_len, batch, hidden))

    def value() -> float:
        return float(np.vdot(run(cell, work, projected, state, arrays)[1:], seen))

    value()
    written = arrays_for(cell, "float64", seed=9)
    got = go_back(cell, work, arrays, seen, written, count).reshape(projected.shape)
    for array, gradient in (
        (projected, got),
        (arrays.weight_hh, written.weight_hh),
        (arrays.bias_ih, written.bias_ih),
        (arrays.bias_hh, written.bias_hh),
    ):
        entries = list(np.ndindex(*array.shape))
        for index in entries[:: 7 if len(entries) > 500 else 1]:  # of a long sequence, some entries of each step
            kept = array[index]
            array[index] = kept + 1e-6
            above = value()
            array[index] = kept - 1e-6
            below = value()
            array[index] = kept
            assert gradient[index] == pytest.approx((above - below) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_with_respect_to_states(name: str) -> None:
    """dL/dh of a step: what comes from above, and what each later step brings back."""
    cell, work = make(name, 3), Workspace("float64")
    arrays, state = arrays_for(cell, "float64"), entering(cell, 2, "float64")
    projected = np.random.default_rng(2).standard_normal((4, 2, cell.gates * 3))
    run(cell, work, projected, state, arrays)
    left = cell.final_state(work, 4, 2, np.array([2, 2]))
    gradients = work.array("gradients", (4, 2, 3))
    gradients[...] = 1.0
    cell.hidden_gradients(work, arrays, gradients)
    got = gradients[1].copy()
    for index in np.ndindex(2, 3):
        values = []
        for change in (1e-6, -1e-6):
            moved = tuple(part.copy() for part in left) if isinstance(left, tuple) else left.copy()
            hidden_of(moved)[index] += change
            # The gradient of the state itself, which comes from above, is 1.
            values.append(run(cell, Workspace("float64"), projected[2:], moved, arrays)[1:].sum() + change)
        assert got[index] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)


def all_gradients(cell: Cell, dtype: str, seq_len: int, batch: int, count: int, passes: int) -> list[np.ndarray]:
    """The gradients with respect to projections, states and parameters, after passes over the same batch."""
    work = Workspace(dtype)
    arrays, state = arrays_for(cell, dtype), entering(cell, batch, dtype)
    projected = np.random.default_rng(2).standard_normal((seq_len, batch, cell.gates * cell.hidden_size)).astype(dtype)
    seen = np.random.default_rng(3).standard_normal((seq_len, batch, cell.hidden_size))
    for _ in range(passes):
        run(cell, work, projected, state, arrays)
        written = arrays_for(cell, dtype, seed=9)
        to_projections = go_back(cell, work, arrays, seen, written, count)
    run(cell, work, projected, state, arrays)
    to_states = work.array("gradients", seen.shape)
    to_states[...] = seen
    cell.hidden_gradients(work, arrays, to_states)
    return [to_projections, to_states, written.weight_hh, written.bias_ih, written.bias_hh]


@functools.cache
def gradients_in_double_precision(name: str, seq_len: int, batch: int, hidden: int) -> list[np.ndarray]:
    return all_gradients(make(name, hidden), "float64", seq_len, batch, count=1, passes=1)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("seq_len", "batch", "hidden"), [*SHAPES, (1, 1, 5), (7, 1, 6)])
@pytest.mark.parametrize(
    ("name", "kernels"), [(name, "numpy") for name in CELLS] + [(name, "numba") for name in COMPILED]
)
def test_backward_in_single_precision_agrees_with_double(
    name: str, kernels: str, seq_len: int, batch: int, hidden: int, count: int
) -> None:
    # Twice, for nothing of a pass may be left in the next one.
    found = all_gradients(make(name, hidden, kernels), "float32", seq_len, batch, count, passes=2)
    expected = gradients_in_double_precision(name, seq_len, batch, hidden)
    for single, double in zip(found, expected, strict=True):
        np.testing.assert_allclose(single, double, atol=2e-5 * np.abs(double).max())


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", COMPILED)
def test_kernels_go_on_from_the_limits_of_numbers_to_nan_as_numpy_does(name: str, batch: int) -> None:
    results = []
    for kernels in ("numpy", "numba"):
        cell, work = make(name, 5, kernels), Workspace("float32")
        arrays, state = arrays_for(cell, "float32"), entering(cell, batch, "float32")
        projected = np.random.default_rng(2).standard_normal((6, batch, cell.gates * 5)).astype(np.float32)
        projected[1] = 1e30
        projected[2] = -1e30
        projected[3, 0, 2::5] = np.nan
        states = run(cell, work, projected, state, arrays)
        gradients = work.array("gradients", (6, batch, 5))
        gradients[...] = 1.0
        with np.errstate(invalid="ignore", over="ignore"):
            cell.backward(work, arrays, gradients, Segment(0, 6, 6))
        results.append([states, gradients])
    for numpy, numba in zip(*results, strict=True):
        np.testing.assert_array_equal(np.isnan(numba), np.isnan(numpy))
        np.testing.assert_allclose(numba, numpy, atol=1e-5)


def test_states_behind_steps_of_each_row() -> None:
    states = np.arange(12.0).reshape(3, 2, 2)
    assert states_after(states, np.array([0, 2])).tolist() == [[0.0, 1.0], [10.0, 11.0]]
    last = states_after(states, None)
    assert last.tolist() == states[-1].tolist()
    assert not np.shares_memory(last, states)


@pytest.mark.parametrize("name", CELLS)
def test_zero_state(name: str) -> None:
    state = make(name, 3).zero_state(2, np.dtype("float32"))
    for part in state if isinstance(state, tuple) else (state,):
        assert (part.shape, part.dtype, part.any()) == ((2, 3), np.float32, False)
    assert isinstance(state, tuple) == (name == "lstm")
