"""Measures of the states, gradients and recurrent matrices of a network."""

from __future__ import annotations

import numpy as np

from rnncallbacks.arrays.containers import FloatArray
from rnncallbacks.errors import ShapeError


def gradient_norms(hidden_gradients: FloatArray) -> FloatArray:
    r"""The norm of the gradient with respect to the state after each step.

    .. math:: \lVert \partial L / \partial h_t \rVert_2

    over all sequences of the batch. If norms decrease by orders of magnitude towards the first step, gradients vanish;
    if they increase, gradients explode.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.

    Parameters
    ----------
    hidden_gradients:
        The result of ``model.hidden_gradients(batch, state)``, (seq_len, batch, hidden_size).

    Returns
    -------
    array
        Of shape (seq_len,), in the loss's unit per unit of the state.

    Raises
    ------
    ShapeError
        The array does not have three axes.

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
    r"""The fraction of units whose state exceeds ``beyond`` in magnitude, after each step.

    A tanh unit beyond 0.99 propagates less than 2 % of its gradient.

    Parameters
    ----------
    hidden_states:
        ``model.hidden_states`` after ``forward``, (seq_len + 1, batch, hidden_size), the initial state first.
    beyond:
        Threshold of the magnitude, above 0 and below 1.

    Returns
    -------
    array
        Of shape (seq_len,), each from 0 to 1.

    Raises
    ------
    ShapeError
        The array does not have three axes.

    Example
    -------
    >>> saturation(np.array([[[0.0, 0.0]], [[-1.0, 0.5]]]))
    array([0.5])
    """
    if hidden_states.ndim != 3:
        raise ShapeError(f"hidden_states: expected (seq_len + 1, batch, hidden_size), got {hidden_states.shape}")
    fractions: FloatArray = (np.abs(hidden_states[1:]) > beyond).mean(axis=(1, 2))
    return fractions


def spectral_radius(weight_hh: FloatArray) -> FloatArray:
    r"""The largest magnitude of an eigenvalue of each gate's recurrent matrix, :math:`\rho(W_{hh})`.

    In a vanilla network, a spectral radius below 1 makes gradients vanish over many steps. They can explode only if the
    largest singular value is above 1.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.1.

    Parameters
    ----------
    weight_hh:
        ``model.parameters["rnn.weight_hh_l0"]`` or another layer's, (gates * hidden_size, hidden_size).

    Returns
    -------
    array
        Of shape (gates,), in PyTorch's order of gates. NaN if the matrix is not finite.

    Raises
    ------
    ShapeError
        The number of rows is not a multiple of the number of columns.

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
