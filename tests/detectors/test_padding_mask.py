"""Masks and lengths that a loader yields with the sequences, in either layout, and arrays that are neither."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.padding_mask import padding_mask
from rnncallbacks.detectors.sequences import sequences_of

LENGTHS = np.array([6, 2, 4, 5])
MASK = np.arange(6) < LENGTHS[:, None]
TARGETS = np.where(MASK, np.random.default_rng(0).integers(1, 9, (4, 6)), 0)
INPUTS = np.where(MASK, np.random.default_rng(1).integers(1, 9, (4, 6)), 0)


@pytest.mark.parametrize("time_first", [False, True])
@pytest.mark.parametrize("form", ["bool", "float", "lengths", "list", "mapping"])
def test_the_padding_is_found(form, time_first):
    targets, mask = (one.T if time_first else one for one in (TARGETS, MASK))
    third = {"bool": mask, "float": mask.astype(float), "lengths": LENGTHS, "list": LENGTHS.tolist()}.get(form)
    data = {"inputs": targets, "mask": mask} if form == "mapping" else (targets, targets, third)
    assert np.array_equal(padding_mask(data, targets), mask)


@pytest.mark.parametrize(
    "third",
    [
        None,
        np.ones((4, 6)),
        np.zeros((4, 6)),
        np.random.default_rng(3).integers(0, 2, (4, 6)),
        np.full((4, 6), 0.5),
        np.array([6, 6, 6, 6]),
        np.array([1, 2, 3, 6]),
        np.array([3, 1, 2, 0]),
        np.array(["a", "b"]),
        [[1, 2], [3]],
    ],
    ids=["none", "all", "no", "scattered", "weights", "full", "labels", "indices", "names", "ragged"],
)
def test_other_arrays_are_no_padding(third):
    assert padding_mask((TARGETS, TARGETS, third), TARGETS) is None


def test_targets_behind_the_end_do_not_count_unless_the_script_shows_its_own():
    shown = sequences_of(Batch((INPUTS, TARGETS, MASK), "train", 1, batch_size=4))
    assert np.array_equal(shown.targets, np.where(MASK, TARGETS, -1))
    batch = Batch((INPUTS, TARGETS, MASK), "train", 1, batch_size=4, observed={"targets": TARGETS})
    assert np.array_equal(sequences_of(batch).targets, TARGETS)
