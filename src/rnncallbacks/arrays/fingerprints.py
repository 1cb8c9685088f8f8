"""Fingerprints: a few bytes that show a change of bytes or of a container's arrays."""

from __future__ import annotations

import hashlib

import numpy as np

from rnncallbacks.arrays.containers import Array, FlatArrays, named_arrays
from rnncallbacks.errors import ContainerError

FINGERPRINT_ENTRIES = 64
"""Number of entries of each array in a fingerprint, evenly spaced. Chosen by eye."""
FINGERPRINT_BYTES = 2048
"""Size of an array up to which a fingerprint has all of its bytes, which takes less time. Chosen by eye."""


def digest(content: bytes) -> int:
    """A number above 0 for bytes: the same in every process, and different for other bytes but by chance (2**-56).

    Example
    -------
    >>> digest(b"row") == digest(b"row"), digest(b"row") == digest(b"low")
    (True, False)
    """
    return int.from_bytes(hashlib.blake2b(content, digest_size=7).digest()) + 1


def fingerprint(container: object) -> bytes:
    """Bytes that differ after almost any change of a container's arrays: the sum of squares and some entries of each.

    A change that rounding hides in the sum of squares usually shows in the entries. An array takes a few microseconds.
    Small arrays give all of their bytes.

    Example
    -------
    >>> params = {"w": np.ones(3)}
    >>> before = fingerprint(params)
    >>> fingerprint(params) == before
    True
    >>> params["w"][1] += 1e-3
    >>> fingerprint(params) == before
    False
    """
    with np.errstate(all="ignore"):  # the run may have diverged
        if isinstance(container, FlatArrays):
            return _array_fingerprint(container.flat)
        return b"".join(map(_array_fingerprint, named_arrays(container, "params").values()))


def fingerprint_or_none(container: object) -> bytes | None:
    """The :func:`fingerprint` of a container; None for None, and for an object that is no container of arrays."""
    try:
        return None if container is None else fingerprint(container)
    except ContainerError:
        return None


def _array_fingerprint(array: Array) -> bytes:
    if array.nbytes <= FINGERPRINT_BYTES and array.dtype.char != "g":
        return array.tobytes()
    flat = array.reshape(-1)
    entries, sum_of_squares = flat[:: max(1, flat.size // FINGERPRINT_ENTRIES)], np.dot(flat, flat)
    if flat.dtype.char == "g":  # its unused bytes have any value
        entries, sum_of_squares = entries.astype(np.float64), np.float64(sum_of_squares)
    return bytes(sum_of_squares.tobytes() + entries.tobytes())
