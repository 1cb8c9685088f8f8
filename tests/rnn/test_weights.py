from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.errors import CheckpointError, ShapeError
from rnncallbacks.rnn.weights import load_arrays, read_arrays, save_arrays


def parameters() -> FlatArrays:
    arrays = FlatArrays({"weight": (2, 3), "bias": (2,)})
    arrays.flat[:] = np.arange(8)
    return arrays


def test_arrays_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_arrays(path, parameters(), {"made_by": "a test"})
    arrays, metadata = read_arrays(path)
    assert metadata == {"made_by": "a test"}
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: array.tolist() for name, array in parameters().items()
    }
    other = FlatArrays({"weight": (2, 3), "bias": (2,)})
    load_arrays(path, other)
    np.testing.assert_array_equal(other.flat, parameters().flat)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    save_arrays(path, parameters(), {})
    before = path.read_bytes()

    def fail(source: str, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_arrays(path, FlatArrays({"other": (1,)}), {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", b"\xff" * 100])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors: cannot be read"):
        load_arrays(path, parameters())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        read_arrays(tmp_path / "none.safetensors")


def test_a_file_of_a_type_that_numpy_does_not_know_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    header = b'{"weight":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(CheckpointError, match=r"half\.safetensors: cannot be read.*bfloat16"):
        load_arrays(path, parameters())


def test_other_names_shapes_and_types_change_nothing(tmp_path: Path) -> None:
    ours, path = parameters(), tmp_path / "weights.safetensors"
    save_file({"weight": np.ones((2, 3), np.float32), "biases": np.ones(2, np.float32)}, path)
    with pytest.raises(CheckpointError, match=r"missing \['bias'\], unknown \['biases'\]"):
        load_arrays(path, ours)
    save_file({"weight": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float32)}, path)
    with pytest.raises(ShapeError, match=r"bias has shape \(3,\), expected \(2,\)"):
        load_arrays(path, ours)
    save_file({"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, int)}, path)
    with pytest.raises(CheckpointError, match="bias has dtype int64, expected floats"):
        load_arrays(path, ours)
    np.testing.assert_array_equal(ours.flat, parameters().flat)
