"""Whether the order of indices depends on them."""

import numpy as np
import pytest

from rnncallbacks.detectors.state.index_order import IndexOrder

ITEMS = 60


def passes(kind, generator):
    """The indices of two passes."""
    if kind == "fixed":
        return [np.arange(ITEMS)] * 2
    if kind == "one shuffle":
        return [generator.permutation(ITEMS)] * 2
    if kind == "buckets":
        return [np.concatenate([generator.permutation(20) + 20 * part for part in range(3)]) for _ in range(2)]
    if kind == "growing":
        return [generator.permutation(ITEMS // 2), generator.permutation(ITEMS)]
    if kind == "few":
        return [generator.permutation(ITEMS // 3) for _ in range(2)]
    return [generator.permutation(ITEMS) for _ in range(2)]


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize(
    ("kind", "independent"),
    [("shuffled", True)] + [(kind, False) for kind in ("fixed", "one shuffle", "buckets", "growing", "few")],
)
def test_only_shuffled_passes_are_independent(kind, independent, size):
    order = IndexOrder()
    for indices in passes(kind, np.random.default_rng(2)):
        order.begin_pass()
        assert order.independent is None
        for batch in indices.reshape(-1, size):
            order.add(batch)
    order.begin_pass()
    assert order.independent is independent


def test_large_data_are_not_kept():
    order = IndexOrder()
    order.begin_pass()
    order.add(np.arange(60_000))
    assert order.independent is False


@pytest.mark.parametrize(("harder", "expected"), [(0.0, False), (0.5, True), (-0.5, False)])
def test_a_loss_that_rises_where_passes_begin_shows_harder_data(harder, expected):
    order, generator = IndexOrder(), np.random.default_rng(0)
    for number in range(4):
        order.begin_pass()
        for place in range(50):
            order.add_loss(2.0 + harder * number - 0.002 * (50 * number + place) + 0.1 * generator.normal())
    assert order.becomes_harder is expected


def test_the_rise_of_one_pass_is_counted_once():
    order = IndexOrder()
    for losses in ([1.0, 1.1] * 10, [1.2, 1.1] * 10):
        order.begin_pass()
        for loss in losses:
            order.add_loss(loss)
    assert len(order._rises) == 1
