"""RNN303 by the recurrent weights of an untrained network, and the arrays that only look like some."""

import numpy as np
import pytest

from rnncallbacks.detectors.gradient.spectral_radius import large_recurrent_weights


def parameters(*, recurrent, embedding=1.0, bias=0.0):
    generator = np.random.default_rng(0)
    return {
        "E": embedding * generator.normal(size=(96, 24)),
        "Wh": recurrent * np.linalg.qr(generator.normal(size=(24, 24)))[0],
        "b": bias * generator.normal(size=24),
    }


def test_all_arrays_that_may_be_recurrent_must_be_large():
    assert large_recurrent_weights(parameters(recurrent=20.0, embedding=10.0)).code == "RNN303"


@pytest.mark.parametrize(
    "healthy",
    [{"recurrent": 1.0, "embedding": 10.0}, {"recurrent": 20.0, "embedding": 10.0, "bias": 0.1}, {"recurrent": 1.5}],
    ids=["an embedding of as many rows as gates", "trained before", "usual"],
)
def test_others_are_not_reported(healthy):
    assert large_recurrent_weights(parameters(**healthy)) is None
