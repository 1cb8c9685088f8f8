"""What an update did, and what losses say of the updates before them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.update.metrics import (
    falls,
    is_proportional,
    overshoot,
    predicted_change,
    risen,
    same_losses,
    silent_units,
    update_gradient_cosine,
    update_ratio,
    usual_norm,
)
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD, Adagrad, Adam, RMSProp

seeds = st.integers(0, 2**16)


def a_model(seed, **options):
    generator = np.random.default_rng(seed)
    model = RecurrentModel(16, vocab_size=9, seed=seed, dtype="float64", **options)
    tokens = generator.integers(9, size=(12, 4))
    batch = SequenceBatch(tokens[:-1], tokens[1:])
    loss, _ = model.forward(batch, model.zero_state(4))
    return model, batch, loss, model.backward()


@given(seeds)
def test_descent_follows_the_gradient_and_adaptive_optimizers_do_not(seed):
    for optimizer, follows in (
        (SGD(), True),
        (SGD(momentum=0.9), True),
        (Adam(), False),
        (Adagrad(), False),
        (RMSProp(), False),
    ):
        model, _, _, gradients = a_model(seed)
        before = {name: array.copy() for name, array in model.parameters.items()}
        optimizer.bind(model.parameters)
        optimizer.step(gradients, 0.01)
        cosine = update_gradient_cosine(before, model.parameters, gradients)
        assert is_proportional(cosine) is follows
        if follows:
            assert cosine == pytest.approx(1.0)


def test_nothing_changed_or_no_gradient_is_no_direction():
    one = {"w": np.ones(2)}
    assert math.isnan(update_gradient_cosine(one, one, one))
    assert math.isnan(update_gradient_cosine(one, {"w": np.zeros(2)}, {"w": np.zeros(2)}))


@given(seeds, st.floats(1e-6, 10.0))
def test_the_ratio_does_not_depend_on_how_parameters_are_cut(seed, size):
    generator = np.random.default_rng(seed)
    whole = generator.normal(size=12)
    step = generator.normal(size=12) * size
    cut = update_ratio({"a": whole[:5], "b": whole[5:]}, {"a": (whole + step)[:5], "b": (whole + step)[5:]})
    assert cut == pytest.approx(np.linalg.norm(step) / np.linalg.norm(whole), rel=1e-6)


def test_ratios_at_the_edges():
    zero, one = {"w": np.zeros(3)}, {"w": np.ones(3)}
    assert update_ratio(one, one) == 0.0
    assert update_ratio(zero, zero) == 0.0
    assert update_ratio(zero, one) == math.inf
    assert usual_norm([np.zeros((4, 4)), np.zeros((1, 9)), np.zeros(7)]) == 2.0


@given(seeds)
def test_a_small_update_changes_the_loss_by_what_the_gradient_predicts(seed):
    model, batch, loss, gradients = a_model(seed)
    before = {name: array.copy() for name, array in model.parameters.items()}
    model.parameters.flat -= 1e-5 * gradients.flat
    steps = {name: array - before[name] for name, array in model.parameters.items()}
    predicted = predicted_change(steps, gradients)
    assert model.reevaluate(batch, model.zero_state(4)) - loss == pytest.approx(predicted, rel=1e-2)
    assert predicted < 0.0


@given(st.lists(st.floats(-5.0, 5.0), max_size=40))
def test_overshoot_is_a_share_and_a_bounded_mean(changes):
    share, excess = overshoot(changes)
    assert 0.0 <= share <= 1.0
    assert 0.0 <= excess <= 3.0 * share + 1e-9
    assert (share == 0.0) == all(change <= 0.0 for change in changes)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_loss_beyond_numbers_overshoots_and_drowns_no_other(bad):
    assert overshoot([bad, -1.0]) == (0.5, 1.5)


# --- units -------------------------------------------------------------------------------------------------------


def test_units_that_no_gradient_passes_are_counted_in_rows_and_columns():
    gradient = np.random.default_rng(0).normal(size=(20, 20))
    assert silent_units({"w": gradient}) == 0.0
    rows = gradient.copy()
    rows[:15] *= 1e-4
    assert silent_units({"w": rows}) == silent_units({"w": rows.T}) == 0.75


def test_a_gradient_that_shrinks_as_a_whole_silences_nobody():
    gradient = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    assert silent_units({"w": gradient * np.float32(1e-12)}) == 0.0


def test_only_the_recurrent_matrix_counts():
    dead = np.zeros((30, 9))
    assert silent_units({"input": dead, "bias": np.zeros(30)}) is None
    assert silent_units({"input": dead, "Whh": np.ones((30, 30)), "small": np.zeros((9, 9))}) == 0.0
    assert silent_units({"Whh": np.zeros((30, 30))}) == 1.0


# --- losses ------------------------------------------------------------------------------------------------------

T = np.arange(120)
HEALTHY = {
    "falling": 2.0 * np.exp(-T / 40),
    "flat": np.full(120, 2.0),
    "a transient of the first updates": 2.0 * np.exp(-T / 40) + 9.0 * np.exp(-T / 2),
    "one outlier": np.where(T == 30, 80.0, 2.0 - T / 100),
}
SICK = {
    "an explosion": 2.0 * 1.3**T,
    "five times the first": np.where(T < 1, 2.0, 10.0),
    "a third above it": np.where(T < 1, 2.0, 2.7),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_loss_that_comes_down_again_has_not_risen(name):
    losses = HEALTHY[name].tolist()
    assert [n for n in range(1, len(losses)) if risen(losses[:n], losses[0])] == []


@pytest.mark.parametrize("name", SICK)
def test_a_loss_that_stays_above_the_first_has_risen_within_a_hundred_batches(name):
    losses = SICK[name].tolist()
    assert any(risen(losses[:n], losses[0]) for n in range(1, 100))


def test_falling_is_told_by_medians():
    assert falls([5.0, 5.0, 5.0, 900.0, 3.0, 3.0, 3.0, 3.0])
    assert not falls([5.0, 5.0, 5.0, 5.0, 4.5, 4.5, 4.5, 4.5])


@given(seeds, st.integers(12, 40))
def test_a_network_that_rests_gives_the_same_losses_in_any_order(seed, count):
    generator = np.random.default_rng(seed)
    losses = generator.uniform(1.0, 3.0, count)
    assert same_losses(losses.tolist(), generator.permutation(losses).tolist()) is True
    assert same_losses(losses.tolist(), (0.2 * generator.permutation(losses)).tolist()) is False


def test_two_rounds_that_differ_by_chance_do_not_tell():
    generator = np.random.default_rng(0)
    earlier, later = generator.normal(2.0, 0.3, 20), generator.normal(2.0, 0.3, 20)
    assert same_losses(earlier.tolist(), later.tolist()) is None


@given(seeds)
def test_arrays_that_are_kept_as_they_are_do_not_hide_that_the_others_follow(seed):
    _, _, _, gradients = a_model(seed)
    before = {name: np.ones(array.shape) for name, array in gradients.items()}
    after = {name: array - 0.1 * gradients[name] for name, array in before.items()}
    after["rnn.weight_hh_l0"] = before["rnn.weight_hh_l0"].copy()
    assert update_gradient_cosine(before, after, gradients) == pytest.approx(1.0, abs=1e-6)
    assert is_proportional(update_gradient_cosine(before, after, {f"d_{name}": one for name, one in gradients.items()}))
    assert math.isnan(update_gradient_cosine(before, before, gradients))
