"""Schedules against PyTorch's schedulers, closed forms written another way, and what must hold for every option."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.bases.schedule_functions import (
    cosine_decay,
    exponential_decay,
    inverse_sqrt,
    one_cycle,
    step_decay,
    warmup,
)
from rnncallbacks.errors import OptionError

steps = st.integers(1, 10_000)
times = st.integers(0, 30_000)
fractions = st.floats(0.0, 1.0)
factors = st.floats(1e-6, 1.0)
divisors = st.floats(1.0, 1e6)


# --- against PyTorch ---------------------------------------------------------------------------------------------


def torch_scales(make: Callable[[Any, Any], Any], count: int) -> list[float]:
    """The learning rates of a PyTorch scheduler on an optimizer whose base learning rate is 1."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch's schedulers where it is installed")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    scales = [scheduler.get_last_lr()[0]]
    for _ in range(count - 1):
        optimizer.step()
        scheduler.step()
        scales.append(scheduler.get_last_lr()[0])
    return scales


@pytest.mark.parametrize(("length", "start"), [(1, 0.5), (4, 0.1), (30, 0.25)])
def test_warmup_is_linear_lr_one_step_ahead(length: int, start: float) -> None:
    expected = torch_scales(lambda lib, opt: lib.LinearLR(opt, start_factor=start, total_iters=length), 41)[1:]
    assert [warmup(t, steps=length, start=start) for t in range(40)] == pytest.approx(expected)


@pytest.mark.parametrize(("every", "factor"), [(1, 0.9), (3, 0.5), (7, 0.1)])
def test_step_decay_is_step_lr(every: int, factor: float) -> None:
    expected = torch_scales(lambda lib, opt: lib.StepLR(opt, step_size=every, gamma=factor), 40)
    assert [step_decay(t, every=every, factor=factor) for t in range(40)] == pytest.approx(expected)


def test_exponential_decay_is_exponential_lr() -> None:
    expected = torch_scales(lambda lib, opt: lib.ExponentialLR(opt, gamma=0.93), 40)
    assert [exponential_decay(t, factor=0.93) for t in range(40)] == pytest.approx(expected)


@pytest.mark.parametrize(("length", "min_scale"), [(1, 0.0), (10, 0.1), (39, 0.0)])
def test_cosine_decay_is_cosine_annealing_lr(length: int, min_scale: float) -> None:
    expected = torch_scales(lambda lib, opt: lib.CosineAnnealingLR(opt, T_max=length, eta_min=min_scale), length + 1)
    scales = [cosine_decay(t, steps=length, min_scale=min_scale) for t in range(length + 1)]
    assert scales == pytest.approx(expected, abs=1e-12)


def test_one_cycle_is_one_cycle_lr() -> None:
    # Not where the rise is exactly one step long: PyTorch divides by zero there.
    grid = itertools.product([1, 3, 5, 11, 100], [0.0, 0.13, 0.3, 0.5, 0.95], [4.0, 25.0], [1.0, 1e4])
    for length, pct_start, div, final_div in grid:
        options = {"pct_start": pct_start, "div_factor": div, "final_div_factor": final_div}
        make = partial(one_cycle_lr, total_steps=length, **options)
        scales = [one_cycle(t, steps=length, **options) for t in range(length)]
        assert scales == pytest.approx(torch_scales(make, length), rel=1e-9, abs=1e-15), (length, options)


def one_cycle_lr(library: Any, optimizer: Any, **options: float) -> Any:
    return library.OneCycleLR(optimizer, max_lr=1.0, cycle_momentum=False, **options)


# lr / max_lr of torch.optim.lr_scheduler.OneCycleLR in PyTorch 2.13, so that the comparison needs no PyTorch.
ONE_CYCLE_DEFAULTS = {
    0: 0.040000000000000036,
    1: 0.042813780565907456,
    10: 0.29516394846410077,
    29: 1.0,
    30: 0.9994965352845243,
    64: 0.500002,
    98: 0.0005074647154757879,
    99: 4e-06,
}
ONE_CYCLE_SHORT = [
    0.09999999999999998,
    0.41094235253127365,
    0.9140576474687263,
    0.9505339495172583,
    0.611649206511179,
    0.18906684397156262,
    0.001,
]


def test_one_cycle_gives_the_stored_numbers_of_pytorch() -> None:
    assert {t: one_cycle(t, steps=100) for t in ONE_CYCLE_DEFAULTS} == pytest.approx(ONE_CYCLE_DEFAULTS, rel=1e-12)
    short = [one_cycle(t, steps=7, pct_start=0.5, div_factor=10.0, final_div_factor=100.0) for t in range(7)]
    assert short == pytest.approx(ONE_CYCLE_SHORT, rel=1e-12)


# --- against closed forms ----------------------------------------------------------------------------------------


def test_inverse_sqrt_is_the_formula_of_the_paper_divided_by_its_peak() -> None:
    step, model_size, length = np.arange(1, 20_001), 512, 4000
    rate = model_size**-0.5 * np.minimum(step**-0.5, step * length**-1.5)
    scales = [inverse_sqrt(t, warmup_steps=length) for t in range(20_000)]
    np.testing.assert_allclose(scales, rate / rate.max(), rtol=1e-12)
    assert scales[length - 1] == 1.0


def test_warmup_is_an_interpolation() -> None:
    expected = np.interp(np.arange(1, 51), [0, 20], [0.2, 1.0])
    np.testing.assert_allclose([warmup(t, steps=20, start=0.2) for t in range(50)], expected, rtol=1e-12)


def test_cosine_decay_is_a_squared_cosine() -> None:
    expected = 0.1 + 0.9 * np.cos(np.linspace(0.0, np.pi / 2, 31)) ** 2
    np.testing.assert_allclose([cosine_decay(t, steps=30, min_scale=0.1) for t in range(31)], expected, rtol=1e-12)


def test_decays_are_running_products() -> None:
    scale = 1.0
    for t in range(60):
        assert exponential_decay(t, factor=0.8) == pytest.approx(scale)
        assert step_decay(7 * t + 6, every=7, factor=0.8) == pytest.approx(scale)
        scale *= 0.8


def test_a_decay_of_any_length_ends_at_zero_without_an_error() -> None:
    assert exponential_decay(10**9, factor=0.5) == 0.0
    assert step_decay(10**9, every=1, factor=0.5) == 0.0


# --- what holds for every option ---------------------------------------------------------------------------------


@given(t=times, length=steps, start=fractions)
def test_warmup_rises_from_its_first_step_to_one(t: int, length: int, start: float) -> None:
    scale = warmup(t, steps=length, start=start)
    assert 0.0 < scale <= 1.0
    assert start <= scale <= warmup(t + 1, steps=length, start=start)
    assert warmup(length - 1 + t, steps=length, start=start) == pytest.approx(1.0)
    assert warmup(t + 1, steps=length, start=start) - scale <= (1.0 - start) / length + 1e-12


@given(t=times, every=steps, factor=factors)
def test_step_decay_is_level_on_a_stair_and_falls_by_the_factor(t: int, every: int, factor: float) -> None:
    scale = step_decay(t, every=every, factor=factor)
    assert 0.0 <= scale <= 1.0
    assert scale == step_decay(t - t % every, every=every, factor=factor)
    assert step_decay(t + every, every=every, factor=factor) == pytest.approx(scale * factor)


@given(t=times, factor=factors)
def test_exponential_decay_falls_by_the_factor(t: int, factor: float) -> None:
    scale = exponential_decay(t, factor=factor)
    assert 0.0 <= scale <= 1.0
    assert exponential_decay(t + 1, factor=factor) == pytest.approx(scale * factor)


@given(t=times, length=steps, min_scale=fractions)
def test_cosine_decay_falls_without_a_jump_and_holds(t: int, length: int, min_scale: float) -> None:
    scale = cosine_decay(t, steps=length, min_scale=min_scale)
    following = cosine_decay(t + 1, steps=length, min_scale=min_scale)
    assert min_scale <= scale <= 1.0
    assert following <= scale <= following + math.pi / 2 / length
    assert cosine_decay(0, steps=length, min_scale=min_scale) == pytest.approx(1.0)
    assert cosine_decay(length + t, steps=length, min_scale=min_scale) == pytest.approx(min_scale)


@given(t=times, length=steps, pct_start=st.floats(0.0, 0.99), div=divisors, final_div=divisors)
def test_one_cycle_rises_falls_and_holds(t: int, length: int, pct_start: float, div: float, final_div: float) -> None:
    def scale(t: int) -> float:
        return one_cycle(t, steps=length, pct_start=pct_start, div_factor=div, final_div_factor=final_div)

    lowest, peak = 1.0 / div / final_div, pct_start * length - 1.0
    assert lowest * (1 - 1e-9) <= scale(t) <= 1.0 + 1e-12
    if t + 1 <= peak:
        assert scale(t) <= scale(t + 1) + 1e-12
        assert scale(t + 1) - scale(t) <= math.pi / 2 / peak + 1e-12
    if t >= peak:
        assert scale(t + 1) <= scale(t) + 1e-12
    assert scale(length - 1 + t) == pytest.approx(lowest)


def test_one_cycle_with_a_rise_shorter_than_a_step_starts_at_the_top() -> None:
    assert one_cycle(0, steps=10, pct_start=0.1) == 1.0
    assert one_cycle(9, steps=10, pct_start=0.1) == pytest.approx(1 / 25e4)


@given(t=times, length=steps)
def test_inverse_sqrt_rises_to_one_and_falls_with_the_root(t: int, length: int) -> None:
    scale, following = inverse_sqrt(t, warmup_steps=length), inverse_sqrt(t + 1, warmup_steps=length)
    assert 0.0 < scale <= 1.0
    assert (following > scale) == (t + 1 < length)
    assert abs(following - scale) <= 1.0 / length + 1e-12
    if t + 1 >= length:
        assert inverse_sqrt(4 * t + 3, warmup_steps=length) == pytest.approx(scale / 2)


# --- bad options -------------------------------------------------------------------------------------------------

NAN = math.nan


@pytest.mark.parametrize(
    ("schedule", "options", "name"),
    [
        (warmup, {"steps": 0}, "steps"),
        (warmup, {"steps": 2.5}, "steps"),
        (warmup, {"steps": True}, "steps"),
        (warmup, {"steps": 5, "start": -0.1}, "start"),
        (warmup, {"steps": 5, "start": NAN}, "start"),
        (step_decay, {"every": 0, "factor": 0.5}, "every"),
        (step_decay, {"every": 5, "factor": 0.0}, "factor"),
        (step_decay, {"every": 5, "factor": 1.5}, "factor"),
        (exponential_decay, {"factor": -0.5}, "factor"),
        (exponential_decay, {"factor": NAN}, "factor"),
        (cosine_decay, {"steps": -1}, "steps"),
        (cosine_decay, {"steps": 5, "min_scale": 1.01}, "min_scale"),
        (one_cycle, {"steps": 0}, "steps"),
        (one_cycle, {"steps": 10, "pct_start": 1.0}, "pct_start"),
        (one_cycle, {"steps": 10, "pct_start": 30}, "pct_start"),
        (one_cycle, {"steps": 10, "div_factor": 0.5}, "div_factor"),
        (one_cycle, {"steps": 10, "final_div_factor": math.inf}, "final_div_factor"),
        (inverse_sqrt, {"warmup_steps": 0}, "warmup_steps"),
    ],
)
def test_a_bad_option_is_named_with_its_value(
    schedule: Callable[..., float], options: dict[str, Any], name: str
) -> None:
    with pytest.raises(OptionError) as caught:
        schedule(0, **options)
    assert caught.value.message.startswith(f"{name}: expected")
    assert caught.value.message.endswith(f"got {options[name]!r}")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        (warmup, {"steps": 4}),
        (step_decay, {"every": 4, "factor": 0.5}),
        (exponential_decay, {"factor": 0.5}),
        (cosine_decay, {"steps": 4}),
        (one_cycle, {"steps": 4}),
        (inverse_sqrt, {"warmup_steps": 4}),
    ],
)
def test_time_is_a_count_from_zero(schedule: Callable[..., float], options: dict[str, Any]) -> None:
    assert schedule(np.int64(2), **options) == schedule(2, **options)
    for t in (-1, 0.5):
        with pytest.raises(OptionError, match=f"t: expected a whole number, 0 or more, got {t}"):
            schedule(t, **options)
