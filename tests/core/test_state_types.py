"""The types of state fields: what fits a declared type and what does not, and which types cannot be known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np
import numpy.typing as npt
import pytest

from rnncallbacks.core.state_types import declared_types, fits

if TYPE_CHECKING:
    from rnncallbacks.nowhere import Missing  # type: ignore[import-not-found]


@attrs.define
class Declared:
    count: int = 0
    missing: Missing | None = None


@pytest.mark.parametrize(
    ("kind", "fitting", "others"),
    [
        (int, [3, np.int64(3)], [True, 3.0, "3", None]),
        (float, [3.0, 3, np.float32(3)], [True, "3"]),
        (str, ["a"], [b"a", 1]),
        (bool, [True], [1]),
        (int | None, [3, None], ["a"]),
        (Literal["a", 1], ["a", 1], ["b", True]),
        (list[float], [[], [1.0, 2]], [(1.0,), ["a"], {}]),
        (tuple[float, ...], [(), (1.0,)], [[1.0], ("a",)]),
        (tuple[int, dict[str, float]], [(1, {"a": 2.0})], [(1,), (1, {"a": "b"}), (1, {2: 2.0})]),
        (Mapping[str, int], [{"a": 1}], [[], {"a": 1.5}]),
        (set[str], [{"a"}], [["a"], {1}]),
        (npt.NDArray[Any], [np.zeros(2)], [[0.0]]),
        (tuple, [(1, "a")], [[1]]),
        (Declared, [Declared()], [None, {"count": 0}]),
        (Declared | None, [None, Declared()], [{"count": 0}]),
        (Counter[str], [Counter("ab")], [{"a": 1}]),
        (type(None), [None], [0]),
        (float, [10**300, -1, 0.5], [10**400, -(10**400), True]),
        (Path, ["whatever"], []),
        (Any, [object()], []),
    ],
)
def test_what_fits_a_type(kind, fitting, others):
    assert all(fits(value, kind) for value in fitting)
    assert not any(fits(value, kind) for value in others)


def test_a_type_that_cannot_be_evaluated_is_any():
    assert declared_types(Declared) == {"count": int, "missing": Any}
