"""What a recurrent network does to its states and gradients over time, from arrays that a model has anyway."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays import FloatArray
from rnncallbacks.errors import ShapeError


def gradient_norms(hidden_gradients: FloatArray) -> FloatArray:
    r"""How long the gradient is behind each step: :math:`\lVert \partial L / \partial h_t \rVert_2`.

    Over all sequences of the batch. Norms that fall by orders of magnitude towards the first step say that gradients
    vanish, and norms that rise that they explode.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.

    Parameters
    ----------
    hidden_gradients:
        What ``model.hidden_gradients(batch, state)`` gives, (seq_len, batch, hidden_size).

    Returns
    -------
    array
        Of shape (seq_len,), in the loss's unit per unit of the state.

    Raises
    ------
    ShapeError
        There are not three axes.

    Example
    -------
    >>> gradient_norms(np.array([[[3.0, 4.0]], [[0.0, 1.0]]]))
    array([5., 1.])
    """
    if hidden_gradients.ndim != 3:
        raise ShapeError(f"hidden_gradients: expected (seq_len, batch, hidden_size), got {hidden_gradients.shape}")
    norms: FloatArray = np.sqrt(np.einsum("tbh,tbh->t", hidden_gradients, hidden_gradients, dtype=np.float64))
    return norms


def saturation(hidden_states: FloatArray, beyond: float = 0.99) -> FloatArray:
    r"""The share of units behind each step whose state is beyond ``beyond`` in size.

    For tanh, a unit beyond 0.99 passes on less than 2 % of its gradient.

    Parameters
    ----------
    hidden_states:
        ``model.hidden_states`` after ``forward``, (seq_len + 1, batch, hidden_size): the entering state first.
    beyond:
        Above 0 and below 1.

    Returns
    -------
    array
        Of shape (seq_len,), each from 0 to 1.

    Raises
    ------
    ShapeError
        There are not three axes.

    Example
    -------
    >>> saturation(np.array([[[0.0, 0.0]], [[-1.0, 0.5]]]))
    array([0.5])
    """
    if hidden_states.ndim != 3:
        raise ShapeError(f"hidden_states: expected (seq_len + 1, batch, hidden_size), got {hidden_states.shape}")
    shares: FloatArray = (np.abs(hidden_states[1:]) > beyond).mean(axis=(1, 2))
    return shares


def spectral_radius(weight_hh: FloatArray) -> FloatArray:
    r"""The largest size of an eigenvalue of each gate's recurrent matrix, :math:`\rho(W_{hh})`.

    In a vanilla network, gradients can explode through time only if the largest singular value is above 1, and a
    radius below 1 lets them vanish. Of gated cells, the radius of each gate's matrix.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.1.

    Parameters
    ----------
    weight_hh:
        ``model.parameters["rnn.weight_hh_l0"]`` or another layer's, (gates * hidden_size, hidden_size).

    Returns
    -------
    array
        Of shape (gates,), in PyTorch's order of gates. NaN where the matrix is not finite.

    Raises
    ------
    ShapeError
        The rows are not a multiple of the columns.

    Example
    -------
    >>> spectral_radius(np.array([[0.0, -2.0], [2.0, 0.0], [0.5, 0.0], [0.0, 0.5]]))
    array([2. , 0.5])
    """
    if weight_hh.ndim != 2 or not weight_hh.shape[1] or weight_hh.shape[0] % weight_hh.shape[1]:
        raise ShapeError(f"weight_hh: expected (gates * hidden_size, hidden_size), got {weight_hh.shape}")
    size = weight_hh.shape[1]
    gates = weight_hh.reshape(-1, size, size)
    return np.array([np.abs(np.linalg.eigvals(gate)).max() if np.isfinite(gate).all() else np.nan for gate in gates])
