from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import ShapeError
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.inspection import gradient_norms, saturation, spectral_radius
from rnncallbacks.rnn.model import RecurrentModel


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_the_norm_of_the_gradient_is_the_slope_of_the_loss_along_it(cell: str) -> None:
    """Half of a sequence, and the loss of the other half as a function of the state in between."""
    model = RecurrentModel(4, vocab_size=3, cell=cell, dtype="float64")
    tokens = np.random.default_rng(0).integers(0, 3, (7, 2))
    mask = np.repeat([False, False, False, True, True, True], 2).reshape(6, 2)
    hidden_gradients = model.hidden_gradients(SequenceBatch(tokens[:-1], tokens[1:], mask), model.zero_state(2))
    norms = gradient_norms(hidden_gradients)
    assert norms.shape == (6,)
    _, between = model.predict(tokens[:3], model.zero_state(2))
    late = SequenceBatch(tokens[3:6], tokens[4:7])
    along = hidden_gradients[2] / norms[2]
    losses = []
    for change in (1e-6, -1e-6):
        moved = (between[0] + change * along, between[1]) if cell == "lstm" else between + change * along
        losses.append(model.evaluate(late, moved)[0])
    assert norms[2] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6)


def test_norms_of_float32_do_not_overflow() -> None:
    assert gradient_norms(np.full((2, 1, 1), 1e30, np.float32)) == pytest.approx([1e30, 1e30])


def test_saturation_leaves_out_the_entering_state_and_counts_both_signs() -> None:
    states = np.array([[[1.0, 1.0]], [[-0.995, 0.98]], [[0.995, -1.0]]])
    assert saturation(states).tolist() == [0.5, 1.0]
    assert saturation(states, beyond=0.9).tolist() == [1.0, 1.0]


@given(size=st.integers(1, 6), gates=st.sampled_from([1, 3, 4]), seed=st.integers(0, 1000))
def test_the_radius_is_the_rate_at_which_powers_grow(size: int, gates: int, seed: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((gates * size, size))
    for matrix, radius in zip(weights.reshape(gates, size, size), spectral_radius(weights), strict=True):
        growth = np.linalg.norm(np.linalg.matrix_power(matrix / radius, 400), 2) ** (1 / 400)
        assert growth == pytest.approx(1.0, abs=0.05)


def test_orthogonal_matrices_have_radius_one_and_broken_ones_none() -> None:
    weights = RecurrentModel(8, vocab_size=3, cell="gru").parameters["rnn.weight_hh_l0"].copy()
    assert spectral_radius(weights) == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)
    weights[9, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(spectral_radius(weights)), [False, True, False])


@pytest.mark.parametrize(
    ("function", "array"),
    [(gradient_norms, (3, 2)), (saturation, (3, 2)), (spectral_radius, (3, 2)), (spectral_radius, (3,))],
)
def test_other_shapes_are_refused(function: object, array: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected \(.*got \(3"):
        function(np.zeros(array))  # type: ignore[operator]
