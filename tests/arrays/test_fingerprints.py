"""Fingerprints: what shows in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.arrays.fingerprints import fingerprint, fingerprint_or_none
from rnncallbacks.errors import ContainerError


def containers(dtype):
    generator = np.random.default_rng(0)
    shapes = {"w": (40, 30), "b": (40,), "scale": ()}
    flat = FlatArrays(shapes, dtype=dtype)
    flat.flat[:] = generator.normal(size=flat.flat.size)
    return {
        "flat": flat,
        "dict": {name: array.copy() for name, array in flat.items()},
        "list": [array.copy() for array in flat.values()],
        "one": flat["w"].copy(),
        "transposed": flat["w"].copy().T,
    }


def arrays_of(container):
    if isinstance(container, np.ndarray):
        return [container]
    return list(container.values()) if hasattr(container, "values") else container


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["flat", "dict", "list", "one", "transposed"])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 10.0])
def test_an_update_shows(kind, dtype, size):
    container = containers(dtype)[kind]
    before = fingerprint(container)
    assert fingerprint(container) == before
    for array in arrays_of(container):
        array *= 1 + np.asarray(size, dtype)
    assert fingerprint(container) != before


@given(st.integers(0, 1199), st.floats(0.001, 10))
def test_a_change_of_one_entry_shows(place, change):
    container = containers(np.float64)["dict"]
    before = fingerprint(container)
    container["w"].flat[place] += change
    assert fingerprint(container) != before
    container["w"].flat[place] = np.nan
    assert fingerprint(container) == fingerprint(container) != before


def test_a_copy_has_the_same_and_new_arrays_need_not():
    container = containers(np.float32)["dict"]
    assert fingerprint({name: array.copy() for name, array in container.items()}) == fingerprint(container)
    assert fingerprint({name: np.asarray(array + 1) for name, array in container.items()}) != fingerprint(container)
    assert fingerprint({}) == fingerprint(None) == b""
    with pytest.raises(ContainerError):
        fingerprint({"w": 3.0})


def test_what_is_no_container_of_arrays_has_none():
    container = containers(np.float32)["dict"]
    assert fingerprint_or_none(container) == fingerprint(container)
    assert fingerprint_or_none(None) is fingerprint_or_none({"w": 3.0}) is None
