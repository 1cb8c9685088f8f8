import numpy as np
import pytest

from rnncallbacks.detectors.gradient.added_noise import added_noise

RNG = np.random.default_rng(0)
SHAPES = {"u": (12, 5), "w": (12, 12), "b": (12,), "v": (5, 12), "c": (5,)}
RIGHT = {name: RNG.normal(0.0, scale, shape) for (name, shape), scale in zip(SHAPES.items(), range(1, 6), strict=True)}


@pytest.mark.parametrize("deviation", [1e-3, 0.3, 20.0])
def test_noise_is_told_from_its_size_in_each_array(deviation):
    for _ in range(20):
        noisy = {name: array + RNG.normal(0.0, deviation, array.shape) for name, array in RIGHT.items()}
        assert added_noise(RIGHT, noisy) == pytest.approx(deviation, rel=0.3)


WRONG = {
    "nothing": lambda name, g: g,
    "a factor": lambda name, g: 1.1 * g,
    "a sign": lambda name, g: -g if name == "w" else g,
    "an array of noise": lambda name, g: RNG.normal(size=g.shape) if name == "w" else g,
    "another gradient": lambda name, g: RNG.permuted(g),
    "the same shift": lambda name, g: g + 0.2,
    "noise in some arrays": lambda name, g: g + RNG.normal(size=g.shape) if name in "uw" else g,
    "not a number": lambda name, g: g * np.nan,
}


@pytest.mark.parametrize("kind", WRONG)
def test_other_differences_are_no_noise(kind):
    assert added_noise(RIGHT, {name: WRONG[kind](name, array) for name, array in RIGHT.items()}) == 0.0


def test_few_arrays_or_entries_tell_nothing():
    two = {name: RIGHT[name] for name in "uw"}
    few = {name: np.ones(4) for name in "abc"}
    for right in (two, few):
        assert added_noise(right, {name: array + RNG.normal(size=array.shape) for name, array in right.items()}) == 0.0
