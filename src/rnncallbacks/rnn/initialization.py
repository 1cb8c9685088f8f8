"""Initial values of parameters: uniform and orthogonal matrices."""

from __future__ import annotations

import math

import numpy as np

from rnncallbacks.arrays.containers import FlatArrays, FloatArray
from rnncallbacks.errors import OptionError


def uniform(shape: tuple[int, ...], bound: float, generator: np.random.Generator) -> FloatArray:
    """Numbers from the uniform distribution over [-bound, bound).

    Example
    -------
    >>> uniform((2,), 0.1, np.random.default_rng(0)).round(3)
    array([ 0.027, -0.046])
    """
    return generator.uniform(-bound, bound, size=shape)


def orthogonal(rows: int, columns: int, generator: np.random.Generator) -> FloatArray:
    r"""A uniformly distributed matrix with orthonormal columns (or rows, if these are fewer).

    It is Q of the QR decomposition of a matrix of standard normals, with the signs of the diagonal of R. A product with
    a square orthogonal matrix preserves the norm of a vector, so states and gradients neither grow nor shrink
    initially.

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks" (2014); for the signs, Mezzadri, "How to generate random matrices from the classical compact groups"
    (2007).

    Example
    -------
    >>> matrix = orthogonal(3, 3, np.random.default_rng(0))
    >>> bool(np.allclose(matrix.T @ matrix, np.eye(3)))
    True
    """
    tall = generator.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return q if rows >= columns else q.T


def initialize(
    parameters: FlatArrays,
    scheme: str,
    hidden_size: int,
    generator: np.random.Generator,
    *,
    cell: str = "vanilla",
    tied: bool = False,
) -> None:
    r"""Initialize the parameters of a recurrent model in place, in the order of the buffer.

    Embeddings are standard normal. All other parameters are uniform within
    :math:`\pm 1 / \sqrt{\mathrm{hidden\_size}}`, as in PyTorch, with these exceptions:

    - An embedding that is also the head's matrix (``tied``) is divided by :math:`\sqrt{\mathrm{embedding\_size}}`, so
      that the first logits are not large.
    - With the scheme ``"orthogonal"``, the recurrent matrix of each gate is orthogonal.
    - The two biases of an LSTM's forget gate are 1 and 0, so that the gate is open initially.
    - Layer normalization starts with a gain of 1 and a bias of 0.

    Source: for the forget gate, Jozefowicz, Zaremba and Sutskever, "An empirical exploration of recurrent network
    architectures" (2015).

    Raises
    ------
    OptionError
        The scheme is neither ``"orthogonal"`` nor ``"uniform"``.
    """
    if scheme not in ("orthogonal", "uniform"):
        raise OptionError(f"initialization: expected 'orthogonal' or 'uniform', got {scheme!r}")
    bound = 1.0 / math.sqrt(hidden_size)
    for name, array in parameters.items():
        if name == "embedding.weight":
            scale = 1.0 / math.sqrt(array.shape[1]) if tied else 1.0
            array[...] = scale * generator.standard_normal(array.shape)
        elif name.startswith("norms."):
            array[...] = 1.0 if name.endswith("weight") else 0.0
        elif scheme == "orthogonal" and "weight_hh" in name:
            for gate in array.reshape(-1, hidden_size, hidden_size):
                gate[...] = orthogonal(hidden_size, hidden_size, generator)
        else:
            array[...] = uniform(array.shape, bound, generator)
            if cell == "lstm" and "bias" in name and name.startswith("rnn."):
                array[hidden_size : 2 * hidden_size] = 1.0 if "bias_ih" in name else 0.0
