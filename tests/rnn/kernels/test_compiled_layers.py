"""Models that compute by compiled kernels, beside the same ones that compute by NumPy."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnncallbacks.arrays.containers import map_arrays, named_arrays
from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam

CELLS: list[dict[str, Any]] = [
    {"cell": "vanilla"},
    {"cell": "vanilla", "nonlinearity": "relu"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
]


@pytest.fixture
def needs_numba() -> None:
    pytest.importorskip("numba", reason="numba is not installed, which the extra 'fast' brings")


def tokens(seq_len: int, batch_size: int, masked: bool = False) -> SequenceBatch:
    drawn = np.random.default_rng(0).integers(0, 9, (seq_len + 1, batch_size))
    mask = np.arange(seq_len)[:, None] < np.random.default_rng(1).integers(1, seq_len + 1, batch_size)
    return SequenceBatch(drawn[:-1], drawn[1:], mask if masked else None)


@pytest.mark.usefixtures("needs_numba")
@pytest.mark.parametrize("batch_size", [1, 6])
@pytest.mark.parametrize("architecture", [{}, {"num_layers": 2, "bidirectional": True, "embedding_size": 4}])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell.values())))
def test_everything_that_a_step_leaves_agrees_with_double_precision(
    cell: dict[str, Any], architecture: dict[str, Any], batch_size: int
) -> None:
    double = RecurrentModel(20, vocab_size=9, dtype="float64", **cell, **architecture)
    single = RecurrentModel(20, vocab_size=9, kernels="numba", **cell, **architecture)
    double.parameters.flat[:] = single.parameters.flat
    batch = tokens(11, batch_size, masked=True)
    state = map_arrays(
        lambda zeros: np.random.default_rng(zeros.size).standard_normal(zeros.shape), double.zero_state(batch_size)
    )
    wanted_loss, wanted_final = double.forward(batch, state)
    loss, final = single.forward(batch, state)
    assert loss == pytest.approx(wanted_loss, rel=1e-6)
    assert single.evaluate(batch, state)[0] == loss
    left = {**named_arrays(final), **single.backward(), "states": single.hidden_states}
    left["dh"] = single.hidden_gradients(batch, state)
    wanted = {**named_arrays(wanted_final), **double.backward(), "states": double.hidden_states}
    wanted["dh"] = double.hidden_gradients(batch, state)
    assert left.keys() == wanted.keys()
    for name, array in left.items():
        assert array is not None
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, wanted[name], atol=3e-6 * np.abs(wanted[name]).max(), err_msg=name)


@pytest.mark.usefixtures("needs_numba")
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell.values())))
def test_training_takes_the_same_path(cell: dict[str, Any]) -> None:
    paths = []
    for kernels in ("numpy", "numba"):
        model = RecurrentModel(16, vocab_size=9, kernels=kernels, **cell)
        optimizer, batch, losses = Adam(kernels=kernels), tokens(12, 8), []
        optimizer.bind(model.parameters)
        for _ in range(60):
            loss, _ = model.forward(batch, model.zero_state(8))
            optimizer.step(model.backward(), 0.01)
            losses.append(loss)
        paths.append(losses)
    for losses in paths:
        assert losses[-1] < 0.7 * losses[0]
    # Training amplifies rounding errors: after 60 steps of the LSTM it has made 1e-7 into 1e-4, on some machines more.
    np.testing.assert_allclose(paths[1][:40], paths[0][:40], rtol=2e-5)
    # They round differently, so they were not computed alike.
    assert paths[1] != paths[0]


@pytest.mark.usefixtures("needs_numba")
def test_a_file_does_not_depend_on_the_kernels(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = RecurrentModel(6, vocab_size=9, cell="lstm", kernels="numba")
    model.save(path)
    by_numpy, by_numba = RecurrentModel.load(path), RecurrentModel.load(path, kernels="numba")
    assert (by_numpy.kernels, by_numba.kernels) == ("numpy", "numba")
    inputs = tokens(5, 2).inputs
    outputs, _ = model.predict(inputs, model.zero_state(2))
    np.testing.assert_array_equal(by_numba.predict(inputs, model.zero_state(2))[0], outputs)
    np.testing.assert_allclose(by_numpy.predict(inputs, model.zero_state(2))[0], outputs, atol=1e-6)


def test_double_precision_is_refused() -> None:
    with pytest.raises(OptionError, match='RecurrentModel: kernels="numba" need dtype float32, got float64'):
        RecurrentModel(4, vocab_size=3, dtype="float64", kernels="numba")


def test_what_to_install_is_said_where_numba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(OptionError, match=r'RecurrentModel: kernels="numba" needs numba: .*\n.*rnncallbacks\[fast\]'):
        RecurrentModel(4, vocab_size=3, kernels="numba")


def test_numba_is_imported_by_nothing_else() -> None:
    script = """
        import sys
        import numpy as np
        from rnncallbacks.rnn.data.batches import SequenceBatch
        from rnncallbacks.rnn.model import RecurrentModel
        from rnncallbacks.rnn.optimizers import Adam
        model, optimizer = RecurrentModel(4, vocab_size=3, cell="lstm"), Adam()
        optimizer.bind(model.parameters)
        model.forward(SequenceBatch(np.zeros((2, 1), int), np.zeros((2, 1), int)), model.zero_state(1))
        optimizer.step(model.backward(), 0.1)
        sys.exit("numba" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == 0
