"""The stack of open batches: which are closed, in which order, and what a failing hook leaves."""

import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.core.open_batches import OpenBatches


@pytest.fixture
def ended():
    return []


@pytest.fixture
def batches(ended):
    return OpenBatches(end=ended.append)


def opened(batches, *phases):
    made = [Batch(None, phase, 1) for phase in phases]
    for batch in made:
        batches.open(batch)
    return made


def test_the_innermost_batch_is_the_one_opened_last(batches):
    assert batches.innermost is None
    _, val = opened(batches, "train", "val")
    assert batches.innermost is val


def test_batches_are_closed_from_the_innermost_down_to_the_outer_one(batches, ended):
    outer, middle, inner = opened(batches, "train", "val", "test")
    batches.close_down_to(outer)
    assert ended == [inner, middle]
    assert batches.innermost is outer
    batches.close_down_to(None)
    assert ended == [inner, middle, outer]
    assert batches.innermost is None


def test_only_abandoned_batches_at_the_top_are_closed(batches, ended):
    outer, middle, inner = opened(batches, "train", "val", "test")
    batches.abandon(outer)
    batches.abandon(inner)
    batches.close_abandoned()
    assert ended == [inner]
    assert batches.innermost is middle


def test_a_batch_is_the_innermost_while_it_ends_and_is_closed_once():
    def end(batch):
        assert batches.innermost is batch
        batches.close_abandoned()
        calls.append(batch)

    calls = []
    batches = OpenBatches(end)
    (batch,) = opened(batches, "train")
    batches.abandon(batch)
    batches.close_abandoned()
    assert calls == [batch]
    assert batches.innermost is None


def test_a_batch_whose_end_fails_is_closed_all_the_same():
    def fail(batch):
        raise ValueError("broken")

    batches = OpenBatches(fail)
    outer, _ = opened(batches, "train", "val")
    with pytest.raises(ValueError, match="broken"):
        batches.close_down_to(None)
    assert batches.innermost is outer


def test_clearing_ends_no_batch(batches, ended):
    opened(batches, "train", "val")
    batches.clear()
    assert batches.innermost is None
    assert ended == []
