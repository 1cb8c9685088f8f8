"""Gradient clipping: the clipped gradients, the logged norms, and the batches that it does not count."""

import math

import numpy as np
import pytest

from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import DivergenceAlarm, GradientClipping, GradientGuard, LossAveraging
from rnncallbacks.rnn.model import RecurrentModel

NORM = "gradient_norm"
CLIPPED_NORM = "clipped_gradient_norm"
SHARE = "clipped_fraction"


def clipped(gradients, plugins, epochs=1):
    """The returned gradients for each container of gradients, and the run."""
    with Run(plugins=plugins) as run:
        results = [run.backward(1.0, grads) for _ in run.epochs(epochs) for grads in run.batches(gradients)]
    return results, run


def copies(*norms):
    """Gradients of these norms in the direction (0.6, 0.8), in two arrays."""
    return [{"u": np.array([0.6 * norm]), "w": np.array([[0.8 * norm]])} for norm in norms]


def test_global_mode_bounds_the_norm_of_all_and_keeps_the_direction():
    (small, large), _ = clipped(copies(3.0, 50.0), [GradientClipping(max_norm=5.0)])
    assert (small["u"].item(), small["w"].item()) == pytest.approx((1.8, 2.4))
    assert (large["u"].item(), large["w"].item()) == pytest.approx((3.0, 4.0))


def test_array_mode_bounds_the_norm_of_each_array():
    (large,), _ = clipped(
        [{"u": np.array([3.0, 4.0]), "w": np.array([0.5])}], [GradientClipping(max_norm=1.0, mode="array")]
    )
    np.testing.assert_allclose(large["u"], [0.6, 0.8])
    np.testing.assert_allclose(large["w"], [0.5])


def test_value_mode_bounds_each_entry():
    (large,), _ = clipped(
        [{"u": np.array([-3.0, 0.25]), "w": np.array([2.0])}], [GradientClipping(max_norm=1.0, mode="value")]
    )
    np.testing.assert_array_equal(large["u"], [-1.0, 0.25])
    np.testing.assert_array_equal(large["w"], [1.0])


def test_the_default_is_a_global_norm_of_five():
    (large,), _ = clipped(copies(50.0), [GradientClipping()])
    assert math.hypot(large["u"].item(), large["w"].item()) == pytest.approx(5.0)


def test_logs_the_norm_before_and_after_and_the_share_of_batches():
    _, run = clipped(copies(1.0, 3.0, 10.0, 30.0), [GradientClipping(max_norm=5.0)])
    assert run.history[NORM] == pytest.approx([11.0])
    assert run.history[CLIPPED_NORM] == pytest.approx([(1 + 3 + 5 + 5) / 4])
    assert run.history[SHARE] == [0.5]


def test_each_epoch_has_its_own_counts():
    with Run(plugins=[GradientClipping(max_norm=5.0)]) as run:
        for epoch in run.epochs(2):
            for grads in run.batches(copies(10.0, 2.0) if epoch == 1 else copies(1.0)):
                run.backward(1.0, grads)
    assert run.history[NORM] == pytest.approx([6.0, 1.0])
    assert run.history[SHARE] == [0.5, 0.0]


def test_an_epoch_without_a_backward_pass_has_no_columns():
    with Run(plugins=[GradientClipping()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0], phase="val"):
                run.record(1.0)
    assert NORM not in run.history


@pytest.mark.parametrize("mode", ["global", "array", "value"])
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_gradients_with_an_entry_that_is_not_finite_are_not_changed(mode, bad):
    grads = {"u": np.array([bad, 0.5]), "w": np.array([0.25])}
    (left,), run = clipped([grads], [GradientClipping(max_norm=1.0, mode=mode)])
    np.testing.assert_array_equal(left["u"], [bad, 0.5])
    np.testing.assert_array_equal(left["w"], [0.25])
    assert not math.isfinite(run.history[NORM][0])


@pytest.mark.parametrize("make", [list, tuple, lambda arrays: {"rnn": list(arrays)}, lambda arrays: arrays[0]])
def test_any_container_is_clipped_in_place(make):
    arrays = [np.array([30.0]), np.array([40.0])]
    container = make(arrays)
    (back,), _ = clipped([container], [GradientClipping(max_norm=5.0)])
    assert back is container
    assert arrays[0].item() == pytest.approx(5.0 if back is arrays[0] else 3.0)


@pytest.mark.parametrize("mode", ["global", "array", "value"])
def test_a_flat_buffer_is_clipped_like_its_arrays(mode):
    rng = np.random.default_rng(0)
    flat = FlatArrays({"u": (3, 4), "w": (5,)}, dtype="float64")
    flat.flat[:] = 10.0 * rng.normal(size=flat.flat.size)
    apart = {name: array.copy() for name, array in flat.items()}
    _, run = clipped([flat], [GradientClipping(max_norm=2.0, mode=mode)])
    _, other = clipped([apart], [GradientClipping(max_norm=2.0, mode=mode)])
    for name, array in apart.items():
        np.testing.assert_allclose(flat[name], array, rtol=1e-14)
    assert run.history[NORM] == pytest.approx(other.history[NORM])


def test_two_instances_in_turn_clip_each_array_and_then_all():
    plugins = {
        "arrays": GradientClipping(max_norm=3.0, mode="array"),
        "all": GradientClipping(max_norm=1.0),
    }
    (grads,), _ = clipped([{"u": np.array([100.0]), "w": np.array([4.0])}], plugins)
    assert (grads["u"].item(), grads["w"].item()) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))


def test_in_a_trainer_the_norms_are_those_of_the_network(make_trainer):
    trainer, train, val = make_trainer([LossAveraging(), GradientClipping(max_norm=0.05)])
    model = RecurrentModel(8, vocab_size=4)
    norms = []
    (batch,) = [next(iter(train))]
    model.forward(batch, model.zero_state(batch.size))
    norms.append(np.linalg.norm(model.backward().flat))
    train.epoch = 0
    trainer.learning_rate = 1e-30
    history = trainer.fit(train, val, max_epochs=1)
    assert history[CLIPPED_NORM] == pytest.approx([0.05])
    assert history[SHARE] == [1.0]
    assert 0.5 * norms[0] < history[NORM][0] < 2 * norms[0]


@pytest.mark.parametrize("wrong", [{"max_norm": 0.0}, {"max_norm": math.inf}, {"max_norm": "5"}, {"mode": "norm"}])
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"GradientClipping: {name}: expected .*, got"):
        GradientClipping(**wrong)


def test_skipped_batches_are_not_counted():
    with Run(plugins=[DivergenceAlarm(), GradientClipping()]) as run:
        for _ in run.epochs(1):
            for value in run.batches([1.0, 1.0, np.nan]):
                run.backward(0.0, {"w": np.array([value])})
    assert run.history["gradient_norm"] == [1.0]


class Doubling:
    @hookimpl
    def on_backward(self, grads):
        for array in grads.values():
            array *= 2.0


class DoublingFirst:
    @hookimpl(tryfirst=True)
    def on_backward(self, grads):
        grads["w"] *= 2.0


class DoublingAround:
    @hookimpl(wrapper=True)
    def on_backward(self, grads):
        grads["w"] *= 2.0
        return (yield)


class DoublingAroundOldStyle:
    @hookimpl(hookwrapper=True)
    def on_backward(self, grads):
        grads["w"] *= 2.0
        yield


@pytest.mark.parametrize(
    "plugins",
    [
        [Doubling()],
        [DivergenceAlarm(), Doubling()],
        [DivergenceAlarm(), DoublingFirst()],
        [GradientGuard(), DoublingAround()],
        [GradientGuard(), DoublingAroundOldStyle()],
    ],
    ids=["alone", "after an alarm", "first", "around others", "around others, old style"],
)
def test_the_norm_is_that_after_the_changes_of_the_plugins_before(plugins):
    gradient = np.array([3.0, 4.0])
    with Run({"w": np.ones(2)}, plugins=[*plugins, GradientClipping(max_norm=8.0)]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0]):
                run.backward(1.0, {"w": gradient})
    assert run.history[-1]["gradient_norm"] == 10.0
    np.testing.assert_allclose(gradient, [4.8, 6.4])
