"""The parameters of a recurrent network, their gradients, and their files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

import attrs
import numpy as np

from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.errors import CheckpointError, OptionError
from rnncallbacks.rnn.architecture import Architecture, parameter_shapes
from rnncallbacks.rnn.initialization import initialize
from rnncallbacks.rnn.weights import load_arrays, read_options, save_model


@attrs.define(eq=False)
class ModelParameters(Architecture):
    """The parameters that an architecture has, initialized from its seed, and their gradients.

    Attributes
    ----------
    parameters, gradients:
        Flat arrays with the names and shapes of :func:`~rnncallbacks.rnn.architecture.parameter_shapes`.
    """

    parameters: FlatArrays = attrs.field(init=False, repr=False)
    gradients: FlatArrays = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.parameters = FlatArrays(parameter_shapes(self), dtype=self.dtype)
        self.gradients = self.parameters.zeros_like()
        generator = np.random.default_rng(self.seed)
        initialize(
            self.parameters, self.initialization, self.hidden_size, generator, cell=self.cell, tied=self.tie_weights
        )

    def summary(self) -> str:
        """A table of the parameters: names, shapes and numbers of elements, and their sum with its memory.

        Example
        -------
        >>> print(ModelParameters(4, vocab_size=3, cell="gru").summary())
        ModelParameters(hidden_size=4, vocab_size=3, output_size=3, cell='gru')
        parameter         shape    elements
        rnn.weight_ih_l0  (12, 3)        36
        rnn.weight_hh_l0  (12, 4)        48
        rnn.bias_ih_l0    (12,)          12
        rnn.bias_hh_l0    (12,)          12
        head.weight       (3, 4)         12
        head.bias         (3,)            3
        total, 0.5 KiB                  123
        """
        sizes = {name: (str(array.shape), f"{array.size:,}") for name, array in self.parameters.items()}
        flat = self.parameters.flat
        total = ("", f"{flat.size:,}")
        rows = [("parameter", ("shape", "elements")), *sizes.items(), (f"total, {flat.nbytes / 1024:,.1f} KiB", total)]
        widths = [max(map(len, column)) for column in zip(*((name, *cells) for name, cells in rows), strict=True)]
        defaults = {field.name: field.default for field in attrs.fields(type(self))}
        options = [f"{name}={value!r}" for name, value in self.chosen_options().items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(options)})\n" + "\n".join(
            f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {elements:>{widths[2]}}" for name, (shape, elements) in rows
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and options to a safetensors file, atomically."""
        # Without the kernels, so that the file can be loaded where numba is not installed.
        saved = {name: value for name, value in self.chosen_options().items() if name != "kernels"}
        # A tied matrix is written under both of its names, as in PyTorch's state_dict.
        aliases = {name: self.parameters[original] for name, original in self.tied.items()}
        save_model(Path(path), {**self.parameters, **aliases}, saved)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, kernels: Literal["numpy", "numba"] = "numpy") -> Self:
        """The model that ``save`` wrote, with these kernels.

        Raises
        ------
        CheckpointError
            The file cannot be read, or was not written by ``save``.
        OptionError
            The kernels are not available.
        """
        saved = read_options(Path(path))
        try:
            model = cls(**saved, kernels=kernels)
        except OptionError:
            raise
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: the options in the file are not those of this version: {error}") from error
        model.load_parameters(path)
        return model

    def load_parameters(self, path: str | os.PathLike[str]) -> None:
        """Overwrite the parameters from a safetensors file, such as one of a PyTorch module with the same names.

        Raises
        ------
        CheckpointError
            The file cannot be read, or its arrays have other names. The parameters are not changed.
        ShapeError
            An array has another shape than the parameter. The parameters are not changed.
        """
        load_arrays(Path(path), self.parameters, self.tied)
