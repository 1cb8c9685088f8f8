from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnncallbacks.rnn.cells.segments import Segment, segments
from rnncallbacks.rnn.head import Head
from rnncallbacks.rnn.linalg.workspace import Workspace


def make_head(size: int, **options: Any) -> Head:
    generator = np.random.default_rng(0)
    weight, bias = generator.standard_normal((5, size)), generator.standard_normal(5)
    return Head(weight, bias, np.empty_like(weight), np.empty_like(bias), **options)


def loss(head: Head, outputs: np.ndarray, lengths: np.ndarray | None, seen: np.ndarray) -> float:
    features = head.features(outputs, lengths)
    z = np.empty((len(features), 5))
    head.forward(Workspace("float64"), features, z)
    return float((z * seen).sum())


@pytest.mark.parametrize("lengths", [None, [3, 1]])
@pytest.mark.parametrize("last_step", [False, True])
@pytest.mark.parametrize("forward_size", [2, 4])
def test_gradients_are_those_of_finite_differences(forward_size: int, last_step: bool, lengths: Any) -> None:
    """Of 4 features, either all come from the forward direction, or half of them."""
    generator = np.random.default_rng(1)
    head = make_head(4, last_step=last_step, forward_size=forward_size)
    outputs = generator.standard_normal((3, 2, 4))
    lengths = None if lengths is None else np.array(lengths)
    seen = generator.standard_normal((2 if last_step else 6, 5))
    work, found = Workspace("float64"), np.full((3, 2, 4), np.nan)
    head.write_gradients(work, seen, head.features(outputs, lengths))
    head.backward(work, seen, found, lengths, Segment.whole(3))
    for array, gradient in (
        (outputs, found),
        (head.weight, head.weight_gradient),
        (head.bias, head.bias_gradient),
    ):
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 0.5
            above = loss(head, outputs, lengths, seen)
            array[index] = kept - 0.5
            # The loss is linear in each of its arguments, so the difference quotient is exact.
            assert gradient[index] == pytest.approx(above - loss(head, outputs, lengths, seen), abs=1e-12)
            array[index] = kept


@pytest.mark.parametrize("last_step", [False, True])
def test_segments_are_parts_of_the_whole(last_step: bool) -> None:
    head, lengths = make_head(4, last_step=last_step, forward_size=4), np.array([6, 2, 3])
    seen = np.random.default_rng(2).standard_normal((3 if last_step else 18, 5))
    work, whole = Workspace("float64"), np.empty((6, 3, 4))
    head.backward(work, seen, whole, lengths, Segment.whole(6))
    for segment in segments(6, 10**6, 1, max_count=3):
        part = np.full_like(whole[segment.steps], np.nan)
        head.backward(work, seen, part, lengths, segment)
        np.testing.assert_allclose(part, whole[segment.steps], rtol=1e-12)
