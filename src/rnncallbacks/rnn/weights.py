"""Safetensors files of parameters, which can be exchanged with PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rnncallbacks.arrays.containers import Array, FlatArrays
from rnncallbacks.errors import CheckpointError, ShapeError
from rnncallbacks.files import write_atomically

# Key of the options in the metadata of a saved model.
_OPTIONS_KEY = "rnncallbacks.RecurrentModel"


def save_model(path: Path, arrays: Mapping[str, Array], options: Mapping[str, Any]) -> None:
    """Write arrays and the options of a model to a safetensors file, atomically."""
    save_arrays(path, arrays, {_OPTIONS_KEY: json.dumps(dict(options))})


def read_options(path: Path) -> dict[str, Any]:
    """The options that ``save_model`` wrote.

    Raises
    ------
    CheckpointError
        The file cannot be read, or holds no options.
    """
    _, metadata = read_arrays(path)
    try:
        options = json.loads(metadata[_OPTIONS_KEY])
    except KeyError:
        raise CheckpointError(
            f"{path}: the file does not hold the options of a RecurrentModel",
            hint="make the model with its options, then call load_parameters",
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path}: the options in the file are not those of this version: {error}") from error
    if not isinstance(options, dict):
        raise CheckpointError(f"{path}: the options in the file are not those of this version: {options!r}")
    return options


def save_arrays(path: Path, arrays: Mapping[str, Array], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically: after a crash, an existing file is unchanged."""
    write_atomically(path, save(dict(arrays), metadata=metadata))


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata of a safetensors file.

    Raises
    ------
    CheckpointError
        The file cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError) as error:  # NumPy lacks some dtypes, such as bfloat16
        raise CheckpointError(f"{path}: cannot be read as a safetensors file: {error}") from error


def load_arrays(path: Path, parameters: FlatArrays, tied: Mapping[str, str] | None = None) -> None:
    """Overwrite all parameters with the arrays of a safetensors file. After an error, they are unchanged.

    ``tied`` maps names that the file may also have to the parameters that they must be equal to.

    Raises
    ------
    CheckpointError
        The file cannot be read, its arrays have other names or are not floats, or tied arrays differ.
    ShapeError
        An array has another shape than the parameter.
    """
    arrays, _ = read_arrays(path)
    for name, original in (tied or {}).items():
        alias = arrays.pop(name, None)
        if alias is not None and not np.array_equal(alias, arrays.get(original, alias), equal_nan=True):
            raise CheckpointError(
                f"{path}: {name} and {original} differ, but they are tied in this model",
                hint="load the file into a model made with tie_weights=False",
            )
    if arrays.keys() != parameters.keys():
        missing, unknown = sorted(parameters.keys() - arrays.keys()), sorted(arrays.keys() - parameters.keys())
        raise CheckpointError(
            f"{path}: the arrays do not match the parameters of this model: missing {missing}, unknown {unknown}",
            hint="names are those of a PyTorch module with the attributes embedding, rnn and head",
        )
    for name, parameter in parameters.items():
        if arrays[name].shape != parameter.shape:
            raise ShapeError(f"{path}: {name} has shape {arrays[name].shape}, expected {parameter.shape}")
        if arrays[name].dtype.kind != "f":
            raise CheckpointError(f"{path}: {name} has dtype {arrays[name].dtype}, expected floats")
    for name, parameter in parameters.items():
        parameter[...] = arrays[name]
