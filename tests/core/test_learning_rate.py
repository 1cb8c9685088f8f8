import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.core.learning_rate import LearningRate
from rnncallbacks.errors import OptionError, RunStateError

SCALES = st.dictionaries(st.text(max_size=5), st.floats(0, 10), max_size=5)


@given(base=st.floats(1e-6, 10), scales=SCALES)
def test_the_rate_is_the_base_times_every_scale(base: float, scales: dict[str, float]) -> None:
    rate = LearningRate(base)
    for name, scale in scales.items():
        rate.set_scale(name, scale)
    assert rate.value == pytest.approx(base * math.prod(scales.values()))


def test_a_name_has_one_scale() -> None:
    rate = LearningRate(1.0)
    rate.set_scale("decay", 0.5)
    rate.set_scale("decay", 0.25)
    assert rate.value == 0.25


@pytest.mark.parametrize("base", [0, -1e-3, math.nan, math.inf, True, "1e-3"])
def test_the_base_is_finite_and_above_zero(base: float) -> None:
    with pytest.raises(OptionError, match="expected a finite learning_rate above 0"):
        LearningRate(base)


@pytest.mark.parametrize("scale", [-0.5, math.nan, math.inf, True, "half"])
def test_a_scale_is_finite_and_not_negative(scale: float) -> None:
    rate = LearningRate(1.0)
    with pytest.raises(OptionError, match="'decay': expected a finite learning-rate scale >= 0"):
        rate.set_scale("decay", scale)
    assert rate.value == 1.0


def test_without_a_base_there_is_nothing_to_read_or_scale() -> None:
    rate = LearningRate(None)
    with pytest.raises(RunStateError, match="no learning rate"):
        _ = rate.value
    with pytest.raises(RunStateError, match="'warmup' scales the learning rate, but the run has none"):
        rate.set_scale("warmup", 0.5)
