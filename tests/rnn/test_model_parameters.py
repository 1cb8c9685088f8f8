"""Files of models: what is saved comes back, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.errors import CheckpointError
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.weights import save_arrays


def test_a_saved_model_comes_back_whole(tmp_path: Path) -> None:
    model = RecurrentModel(
        6, vocab_size=9, embedding_size=3, cell="gru", num_layers=2, bidirectional=True, residual=True, layer_norm=True,
        dropout=0.5, output_size=4, output="last", seed=7,
    )  # fmt: skip
    model.save(tmp_path / "model.safetensors")
    loaded = RecurrentModel.load(tmp_path / "model.safetensors")
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.parameters.flat, model.parameters.flat)
    tokens = np.random.default_rng(0).integers(0, 9, (5, 2))
    ours, theirs = (named_arrays(one.predict(tokens, one.zero_state(2))) for one in (loaded, model))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])


def test_load_refuses_a_file_without_options(tmp_path: Path) -> None:
    torch_like = tmp_path / "weights.safetensors"
    save_file({"head.bias": np.zeros(3, np.float32)}, torch_like)
    with pytest.raises(CheckpointError, match="does not hold the options of a RecurrentModel"):
        RecurrentModel.load(torch_like)


def test_a_tied_matrix_is_saved_under_both_names_and_must_stay_one(tmp_path: Path) -> None:
    path = tmp_path / "tied.safetensors"
    model = RecurrentModel(3, vocab_size=4, embedding_size=3, tie_weights=True)
    model.save(path)
    assert repr(RecurrentModel.load(path)) == repr(model)
    arrays = load_file(path)
    np.testing.assert_array_equal(arrays["head.weight"], arrays["embedding.weight"])
    del arrays["head.weight"]
    save_file(arrays, path)
    other = RecurrentModel(3, vocab_size=4, embedding_size=3, tie_weights=True, seed=1)
    other.load_parameters(path)
    np.testing.assert_array_equal(other.parameters.flat, model.parameters.flat)
    save_file(arrays | {"head.weight": arrays["embedding.weight"] + 1.0}, path)
    with pytest.raises(CheckpointError, match=r"head\.weight and embedding\.weight differ, but they are tied"):
        other.load_parameters(path)
    np.testing.assert_array_equal(other.parameters.flat, model.parameters.flat)


@pytest.mark.parametrize("options", ['{"hidden_size": 4, "vocab_size": 3, "peephole": true}', "{", "[]"])
def test_options_of_another_version_are_named(tmp_path: Path, options: str) -> None:
    path = tmp_path / "model.safetensors"
    model = RecurrentModel(4, vocab_size=3)
    save_arrays(path, model.parameters, {"rnncallbacks.RecurrentModel": options})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: the options in the file are not those of this"):
        RecurrentModel.load(path)
