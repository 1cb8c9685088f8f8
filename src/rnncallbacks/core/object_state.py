"""The state of random number generators, arrays, and objects with ``state_dict`` and ``load_state_dict``."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np

LARGEST_NUMBER = 8
"""Bytes of the largest number that a safetensors file can hold."""


def is_savable(array: np.ndarray[Any, Any]) -> bool:
    """Whether a checkpoint can hold an array: integers, truth values or floating numbers of at most 64 bits, no mask.

    Example
    -------
    >>> is_savable(np.zeros(2, np.float16)), is_savable(np.zeros(2, complex)), is_savable(np.ma.zeros(2))
    (True, False, False)
    """
    plain = not isinstance(array, np.ma.MaskedArray | np.matrix)
    return plain and array.dtype.kind in "fiub" and array.dtype.itemsize <= LARGEST_NUMBER


def is_generator(value: object) -> bool:
    """Whether a value draws random numbers; the modules ``random`` and ``numpy.random`` are generators too.

    Example
    -------
    >>> is_generator(np.random.default_rng(0)), is_generator(np.random), is_generator(3)
    (True, True, False)
    """
    kinds = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
    return isinstance(value, kinds) or value is np.random or value is random


def has_state_dict(value: object) -> bool:
    """Whether an object has the methods ``state_dict`` and ``load_state_dict``.

    Example
    -------
    >>> has_state_dict(3)
    False
    """
    if isinstance(value, type):
        return False
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def has_state(value: object) -> bool:
    """Whether :func:`state_of` knows the state of a value.

    Example
    -------
    >>> has_state(np.zeros(2)), has_state("word")
    (True, False)
    """
    return isinstance(value, np.ndarray) or is_generator(value) or has_state_dict(value)


def state_of(value: Any) -> Any:
    """A copy of the state of a value for which :func:`has_state` is true.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> state = state_of(rng)
    >>> first = rng.random()
    >>> set_state(rng, state)
    >>> first == rng.random()
    True
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, np.random.Generator):
        value = value.bit_generator
    if isinstance(value, np.random.BitGenerator):
        state: Any = value.state
    elif isinstance(value, np.random.RandomState) or value is np.random:
        state = value.get_state(legacy=False)
    elif isinstance(value, random.Random) or value is random:
        state = value.getstate()
    else:
        state = value.state_dict()
    return copy.deepcopy(state)


def set_state(value: Any, state: Any) -> None:
    """Restore a value to a state that :func:`state_of` returned; arrays are filled in place.

    Raises
    ------
    Exception
        The state is that of another kind of generator, an array of another shape, or what ``load_state_dict`` raises.
    """
    if isinstance(value, np.ndarray):
        # Files are little-endian, and assignment converts to the array's own order of bytes.
        here = (value.shape, value.dtype.name)
        if not isinstance(state, np.ndarray) or (state.shape, state.dtype.name) != here:
            raise ValueError(f"expected {value.dtype} of shape {value.shape}")
        value[...] = state
        return
    state = copy.deepcopy(state)
    if isinstance(value, np.random.Generator):
        value = value.bit_generator
    if isinstance(value, np.random.BitGenerator):
        value.state = state
    elif isinstance(value, np.random.RandomState) or value is np.random:
        value.set_state(state)
    elif isinstance(value, random.Random) or value is random:
        value.setstate(state)
    else:
        value.load_state_dict(state)
