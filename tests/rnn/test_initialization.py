from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.initialization import initialize, orthogonal, uniform

SHAPES = {
    "embedding.weight": (200, 50),
    "rnn.weight_ih_l0": (100, 50),
    "rnn.weight_hh_l0": (100, 100),
    "rnn.bias_hh_l0": (100,),
}


def initialized(scheme: str, seed: int = 0) -> FlatArrays:
    parameters = FlatArrays(SHAPES)
    initialize(parameters, scheme, 100, np.random.default_rng(seed))
    return parameters


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 1000))
def test_the_shorter_side_of_an_orthogonal_matrix_is_orthonormal(rows: int, columns: int, seed: int) -> None:
    matrix = orthogonal(rows, columns, np.random.default_rng(seed))
    assert matrix.shape == (rows, columns)
    product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_matrices_are_drawn_evenly() -> None:
    """Without the signs of R, the diagonal of a QR decomposition by reflections would lean to one side."""
    generator = np.random.default_rng(0)
    traces = [np.trace(orthogonal(3, 3, generator)) for _ in range(2000)]
    assert abs(np.mean(traces)) < 0.1
    assert np.var(traces) == pytest.approx(1.0, abs=0.1)


def test_uniform_fills_its_range() -> None:
    drawn = uniform((100, 100), 0.25, np.random.default_rng(0))
    assert np.abs(drawn).max() <= 0.25
    assert drawn.std() == pytest.approx(0.25 / np.sqrt(3), rel=0.02)
    assert abs(drawn.mean()) < 0.01


def test_orthogonal_scheme() -> None:
    parameters = initialized("orthogonal")
    recurrent = parameters["rnn.weight_hh_l0"]
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(100), atol=1e-5)
    for name in ("rnn.weight_ih_l0", "rnn.bias_hh_l0"):
        assert 0.09 < np.abs(parameters[name]).max() <= 0.1
    assert parameters["embedding.weight"].std() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_each_gate_has_an_orthogonal_matrix(cell: str, gates: int) -> None:
    parameters = FlatArrays({"rnn.weight_hh_l0": (gates * 20, 20)})
    initialize(parameters, "orthogonal", 20, np.random.default_rng(0), cell=cell)
    matrices = parameters["rnn.weight_hh_l0"].reshape(gates, 20, 20)
    for matrix in matrices:
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(20), atol=1e-5)
    assert not np.allclose(matrices[0], matrices[1])


def test_forget_gates_begin_open() -> None:
    parameters = FlatArrays({"rnn.bias_ih_l0": (12,), "rnn.bias_hh_l0": (12,), "rnn.bias_ih_l0_reverse": (12,)})
    initialize(parameters, "uniform", 3, np.random.default_rng(0), cell="lstm")
    assert (parameters["rnn.bias_ih_l0"] + parameters["rnn.bias_hh_l0"])[3:6].tolist() == [1.0, 1.0, 1.0]
    assert parameters["rnn.bias_ih_l0_reverse"][3:6].tolist() == [1.0, 1.0, 1.0]
    assert np.abs(parameters["rnn.bias_ih_l0"])[[0, 1, 2, 6, 7, 8]].max() <= 1.0 / np.sqrt(3)


def test_a_tied_embedding_gives_outputs_of_ordinary_size() -> None:
    parameters = FlatArrays({"embedding.weight": (200, 100)})
    initialize(parameters, "uniform", 100, np.random.default_rng(0), tied=True)
    assert parameters["embedding.weight"].std() == pytest.approx(0.1, rel=0.05)


def test_layer_normalisation_begins_as_no_more_than_that() -> None:
    parameters = FlatArrays({"norms.0.weight": (3,), "norms.0.bias": (3,)})
    parameters.flat.fill(7.0)
    initialize(parameters, "orthogonal", 3, np.random.default_rng(0))
    assert parameters.flat.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_uniform_scheme_is_that_of_pytorch() -> None:
    recurrent = initialized("uniform")["rnn.weight_hh_l0"]
    assert 0.099 < np.abs(recurrent).max() <= 0.1
    assert recurrent.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


def test_the_same_generator_gives_the_same_numbers() -> None:
    assert initialized("orthogonal").flat.tobytes() == initialized("orthogonal").flat.tobytes()
    assert initialized("orthogonal").flat.tobytes() != initialized("orthogonal", seed=1).flat.tobytes()


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(OptionError, match="expected 'orthogonal' or 'uniform', got 'xavier'"):
        initialized("xavier")
