"""One pass over a loader: numbered batches, and the errors for loaders that cannot be used."""

from types import SimpleNamespace

import numpy as np
import pytest

from rnncallbacks.core.loader_pass import LoaderPass
from rnncallbacks.errors import DataError


def test_batches_are_numbered_from_one_and_know_their_phase():
    batches = list(LoaderPass(["a", "b"], "val", epoch=1))
    assert [(batch.data, batch.phase, batch.index, batch.count) for batch in batches] == [
        ("a", "val", 1, 2),
        ("b", "val", 2, 2),
    ]


def test_items_are_asked_for_one_at_a_time():
    asked = []
    batches = LoaderPass((asked.append(item) for item in range(3)), "train", epoch=1)
    assert asked == []
    next(batches)
    assert asked == [0]


def test_the_starts_of_an_item_become_truth_values():
    (batch,) = LoaderPass([SimpleNamespace(starts=(True, False))], "train", epoch=1)
    np.testing.assert_array_equal(batch.starts, [True, False])
    (without,) = LoaderPass([object()], "train", epoch=1)
    assert without.starts is None


def test_a_loader_without_a_length_gives_no_count():
    class Endless:
        def __iter__(self):
            return iter([1.0])

        def __len__(self):
            raise TypeError("no length")

    assert [batch.count for loader in (Endless(), iter([1.0])) for batch in LoaderPass(loader, "train", 1)] == [
        None,
        None,
    ]


def test_the_loader_is_told_the_epoch_before_the_first_item():
    class Shuffled:
        def set_epoch(self, epoch):
            self.epoch = epoch

        def __iter__(self):
            return iter([self.epoch])

    assert [batch.data for batch in LoaderPass(Shuffled(), "train", epoch=7)] == [7]


@pytest.mark.parametrize("loader", [None, 3, object()])
def test_what_cannot_be_iterated_is_refused_with_its_class(loader):
    with pytest.raises(DataError, match=f"iterable of batches for phase 'val', got {type(loader).__name__}"):
        LoaderPass(loader, "val", epoch=1)


@pytest.mark.parametrize(
    ("loader", "hint"), [([], "the data are not empty"), (iter([]), "a generator yields its items once")]
)
def test_a_loader_that_yielded_nothing_is_refused_with_the_likely_reason(loader, hint):
    batches = LoaderPass(loader, "train", epoch=1)
    assert list(batches) == []
    with pytest.raises(DataError, match=f"of phase 'train' yielded no batch\n.*{hint}"):
        batches.check_not_empty()


def test_one_item_is_enough():
    batches = LoaderPass([1, 2], "train", epoch=1)
    next(batches)
    batches.check_not_empty()
