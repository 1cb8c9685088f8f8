"""Recurrent states as they enter and leave a network, and the steps of a batch at which they leave."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncallbacks.errors import ContainerError, ShapeError
from rnncallbacks.rnn.checks import BoolArray, IntArray


def check_state(state: Any, expected: Any, name: str = "state") -> None:
    """Refuse a state that is not built as ``expected`` is: an array of floats, or a tuple of states.

    Raises
    ------
    ContainerError
        There is no array of floats where one belongs, or not as many states as there should be.
    ShapeError
        An array has another shape.

    Example
    -------
    >>> check_state((np.zeros((2, 3)), np.zeros((2, 3))), (np.zeros((2, 3)), np.zeros((2, 3))))
    """
    if isinstance(expected, tuple):
        if not isinstance(state, (tuple, list)) or len(state) != len(expected):
            got = f"{type(state).__name__} of {len(state)}" if isinstance(state, (tuple, list)) else _kind(state)
            raise ContainerError(
                f"{name}: expected a tuple of {len(expected)}, got {got}",
                hint="begin with model.zero_state(batch.size): (h, c) for an LSTM, one state per layer and direction",
            )
        for number, (one, wanted) in enumerate(zip(state, expected, strict=True)):
            check_state(one, wanted, f"{name}[{number}]")
        return
    if not isinstance(state, np.ndarray) or state.dtype.kind != "f":
        raise ContainerError(f"{name}: expected a float array, got {_kind(state)}")
    if state.shape != expected.shape:
        raise ShapeError(
            f"{name} of shape {state.shape} does not belong to this batch and model: expected {expected.shape}",
            hint="begin with model.zero_state(batch.size); a last batch may be smaller than the others",
        )


def last_counted(mask: BoolArray) -> IntArray:
    """For each row, the number of the last step that counts, from 1; 0 where none does.

    Example
    -------
    >>> last_counted(np.array([[True, False], [True, False], [False, False]])).tolist()
    [2, 0]
    """
    steps: IntArray = np.where(mask.any(axis=0), mask.shape[0] - mask[::-1].argmax(axis=0), 0)
    return steps


def _kind(state: Any) -> str:
    return f"an array of {state.dtype}" if isinstance(state, np.ndarray) else type(state).__name__
