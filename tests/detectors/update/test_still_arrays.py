"""A single array that never changes: named if its gradient asks for it, unless it may be frozen on purpose."""

import numpy as np
import pytest

from rnncallbacks.detectors.update.still_arrays import STILL_ARRAYS, StillArrays

SHAPES = {"Wxh": (6, 3), "Whh": (6, 6), "bh": (6,), "Why": (4, 6)}


def play(still, *, updates=STILL_ARRAYS.updates, factor=1.0, names=None, thaws=None):
    """The detector after updates that leave the ``still`` arrays as they are, whose gradients ``factor`` scales."""
    generator, detector = np.random.default_rng(0), StillArrays()
    names = names or {}
    params = {names.get(name, name): generator.normal(size=shape) for name, shape in SHAPES.items()}
    still = [names.get(name, name) for name in still]
    for number in range(updates):
        gradients = {name: generator.normal(size=array.shape) for name, array in params.items()}
        for name in still:
            gradients[name] *= factor
        frozen = [] if number == thaws else still
        steps = {name: np.zeros_like(g) if name in frozen else -0.01 * g for name, g in gradients.items()}
        detector.add(params, steps, gradients)
    return detector


@pytest.mark.parametrize("name", ["Whh", "bh", "Why"])
def test_a_forgotten_array_is_named(name):
    detector = play([name])
    finding = detector.check().finding
    assert (finding.code, finding.severity, finding.evidence["array"]) == ("RNN503", None, name)
    assert len(finding.message.partition(":")[0]) <= 80
    assert detector.check().finding is None


@pytest.mark.parametrize(
    ("still", "names"),
    [
        (["Wxh"], {"Wxh": "embedding"}),
        (["Wxh"], {"Wxh": "[0]", "Whh": "[1]", "bh": "[2]", "Why": "[3]"}),
        (["Wxh", "Whh", "bh"], None),
    ],
)
def test_what_may_be_frozen_on_purpose_is_only_told(still, names):
    detector = play(still, names=names)
    assert detector.check().finding is None
    assert detector.comparison.endswith(" never changed, as if frozen on purpose")


def test_the_first_of_two_matrices_has_the_recurrent_weights():
    generator, detector = np.random.default_rng(0), StillArrays()
    params = {"stacked": generator.normal(size=(9, 6)), "head": generator.normal(size=(6, 4)), "bias": np.zeros((1, 4))}
    for _ in range(STILL_ARRAYS.updates):
        steps = {name: float(name != "stacked") * np.ones_like(array) for name, array in params.items()}
        detector.add(params, steps, {name: generator.normal(size=array.shape) for name, array in params.items()})
    assert detector.check().finding.evidence["array"] == "stacked"


@pytest.mark.parametrize(
    "healthy",
    [
        {"still": []},
        {"still": ["Why"], "updates": STILL_ARRAYS.updates - 1},
        {"still": ["Why"], "factor": 0.0},
        {"still": ["Why"], "factor": 1e-6},  # too small to change it much
        {"still": ["Why"], "updates": 20, "thaws": 3},
    ],
)
def test_what_is_not_reported(healthy):
    assert play(**healthy).check().finding is None


@pytest.mark.parametrize(("scale", "words"), [(0.0, "all of them are zero"), (1.0, "the units may be dead")])
def test_matrices_that_get_no_gradient_at_all_are_named(scale, words):
    generator, detector = np.random.default_rng(0), StillArrays()
    params = {name: scale * generator.normal(size=shape) for name, shape in SHAPES.items()}
    gradients = {name: np.full(array.shape, float(array.ndim == 1)) for name, array in params.items()}
    for _ in range(STILL_ARRAYS.updates - 1):
        detector.add(params, {name: -0.1 * one for name, one in gradients.items()}, gradients)
    assert detector.check().finding is None
    detector.add(params, {name: -0.1 * one for name, one in gradients.items()}, gradients)
    finding = detector.check().finding
    assert (finding.code, finding.evidence["still_arrays"], words in finding.message) == ("RNN503", 3, True)
    assert len(finding.message.partition(":")[0]) <= 80
    assert detector.check().finding is None


def test_a_reservoir_whose_single_output_is_trained_has_no_dead_units():
    detector, shapes = StillArrays(), {"Wx": (6, 2), "Wh": (6, 6), "bh": (6,), "Wy": (1, 6), "by": (1,)}
    gradients = {name: np.full(shape, float(name in ("Wy", "by"))) for name, shape in shapes.items()}
    for _ in range(STILL_ARRAYS.updates):
        detector.add({name: np.ones(shape) for name, shape in shapes.items()}, gradients, gradients)
    assert detector.check().finding is None
