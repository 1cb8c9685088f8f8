"""Measures of one update: direction, relative size, predicted change, overshoot and dead units."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.detectors.update.metrics import (
    dead_unit_share,
    is_proportional,
    orthogonal_norm,
    overshoot,
    predicted_loss_change,
    update_gradient_cosine,
    update_ratio,
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
    assert orthogonal_norm([np.zeros((4, 4)), np.zeros((1, 9)), np.zeros(7)]) == 2.0


@given(seeds)
def test_a_small_update_changes_the_loss_by_what_the_gradient_predicts(seed):
    model, batch, loss, gradients = a_model(seed)
    before = {name: array.copy() for name, array in model.parameters.items()}
    model.parameters.flat -= 1e-5 * gradients.flat
    steps = {name: array - before[name] for name, array in model.parameters.items()}
    predicted = predicted_loss_change(steps, gradients)
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
    assert dead_unit_share({"w": gradient}) == 0.0
    rows = gradient.copy()
    rows[:15] *= 1e-4
    assert dead_unit_share({"w": rows}) == dead_unit_share({"w": rows.T}) == 0.75


def test_a_gradient_that_shrinks_as_a_whole_makes_no_unit_dead():
    gradient = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    assert dead_unit_share({"w": gradient * np.float32(1e-12)}) == 0.0


def test_only_the_recurrent_matrix_counts():
    dead = np.zeros((30, 9))
    assert dead_unit_share({"input": dead, "bias": np.zeros(30)}) is None
    assert dead_unit_share({"input": dead, "Whh": np.ones((30, 30)), "small": np.zeros((9, 9))}) == 0.0
    assert dead_unit_share({"Whh": np.zeros((30, 30))}) == 1.0


@given(seeds)
def test_frozen_arrays_do_not_hide_that_the_others_follow_the_gradient(seed):
    _, _, _, gradients = a_model(seed)
    before = {name: np.ones(array.shape) for name, array in gradients.items()}
    after = {name: array - 0.1 * gradients[name] for name, array in before.items()}
    after["rnn.weight_hh_l0"] = before["rnn.weight_hh_l0"].copy()
    assert update_gradient_cosine(before, after, gradients) == pytest.approx(1.0, abs=1e-6)
    assert is_proportional(update_gradient_cosine(before, after, {f"d_{name}": one for name, one in gradients.items()}))
    assert math.isnan(update_gradient_cosine(before, before, gradients))
