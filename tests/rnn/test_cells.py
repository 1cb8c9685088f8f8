from __future__ import annotations

import numpy as np
import pytest

from rnncallbacks.rnn.cells import VanillaCell
from rnncallbacks.rnn.workspace import Workspace

FUNCTIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0.0)}


def run(
    cell: VanillaCell, work: Workspace, projections: np.ndarray, state: np.ndarray, weight_hh: np.ndarray
) -> np.ndarray:
    states = cell.buffer(work, *projections.shape[:2])
    states[0], states[1:] = state, projections
    cell.forward(work, states, weight_hh)
    return states


def problem(seq_len: int, batch: int, hidden: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return (
        generator.standard_normal((seq_len, batch, hidden)),
        generator.standard_normal((batch, hidden)),
        generator.standard_normal((hidden, hidden)) / np.sqrt(hidden),
    )


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
# One row; a copied matrix; products in blocks; rows that no block divides.
@pytest.mark.parametrize(("seq_len", "batch", "hidden"), [(3, 1, 4), (30, 5, 4), (4, 32, 256), (4, 31, 256)])
def test_forward_is_the_equation(nonlinearity: str, seq_len: int, batch: int, hidden: int) -> None:
    projections, state, weight_hh = problem(seq_len, batch, hidden)
    states = run(VanillaCell(hidden, nonlinearity), Workspace("float64"), projections, state, weight_hh)
    np.testing.assert_array_equal(states[0], state)
    for projection, got in zip(projections, states[1:], strict=True):
        state = FUNCTIONS[nonlinearity](projection + state @ weight_hh.T)
        np.testing.assert_allclose(got, state, atol=1e-12)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize(("seq_len", "batch", "hidden"), [(1, 2, 3), (5, 1, 3), (30, 3, 3)])
def test_backward_is_the_slope_of_the_forward_pass(nonlinearity: str, seq_len: int, batch: int, hidden: int) -> None:
    cell, work = VanillaCell(hidden, nonlinearity), Workspace("float64")
    projections, state, weight_hh = problem(seq_len, batch, hidden)
    seen = np.random.default_rng(1).standard_normal(projections.shape)
    states = run(cell, work, projections, state, weight_hh)
    gradients = work.array("gradients", projections.shape)
    gradients[...] = seen
    cell.backward(work, states, gradients, weight_hh)
    got = gradients.copy()
    slopes = np.empty_like(got)
    for index in np.ndindex(*projections.shape):
        moved = projections.copy()
        moved[index] += 1e-6
        above = np.vdot(run(cell, work, moved, state, weight_hh)[1:], seen)
        moved[index] -= 2e-6
        below = np.vdot(run(cell, work, moved, state, weight_hh)[1:], seen)
        slopes[index] = (above - below) / 2e-6
    np.testing.assert_allclose(got, slopes, atol=1e-7)


def test_backward_in_blocks_agrees_with_the_equation() -> None:
    cell, work = VanillaCell(256, "tanh"), Workspace("float64")
    projections, state, weight_hh = problem(4, 32, 256)
    states = run(cell, work, projections, state, weight_hh)
    gradients = work.array("gradients", projections.shape)
    gradients[...] = 1.0
    cell.backward(work, states, gradients, weight_hh)
    later = np.zeros_like(state)
    for hidden, got in zip(states[:0:-1], gradients[::-1], strict=True):
        later = (1.0 + later @ weight_hh) * (1.0 - hidden**2)
        np.testing.assert_allclose(got, later, atol=1e-12)


def test_zero_state() -> None:
    state = VanillaCell(3, "tanh").zero_state(2, np.dtype("float32"))
    assert (state.shape, state.dtype, state.any()) == ((2, 3), np.float32, False)
