"""The number of classes, from one-hot targets, logits, soft targets, and the shapes of parameters."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch, Observed
from rnncallbacks.detectors.loss.target_classes import find_target_classes, smallest_class_count


def a_batch(size, seq_len, batch_size, seed, one_hot=False):
    targets = np.random.default_rng(seed).integers(size, size=(seq_len, batch_size))
    shown = np.eye(size)[targets] if one_hot else targets
    return targets, Batch((targets, shown), "train", 1, batch_size=batch_size)


def test_classes_come_from_one_hot_targets_else_from_the_output_layer():
    _, hot = a_batch(9, 12, 4, 0, one_hot=True)
    certain = find_target_classes(hot, {})
    assert (certain.candidates, certain.certain) == ((9,), True)
    targets, tokens = a_batch(9, 12, 4, 0)
    found = find_target_classes(tokens, {"head": np.zeros((9, 32)), "bias": np.zeros(9), "hidden": np.zeros(32)})
    assert 9 in found.candidates
    assert not found.certain
    assert smallest_class_count(targets) == targets.max() + 1
    assert find_target_classes(Batch((np.zeros((3, 4, 1)), np.full((3, 4, 1), 0.3)), "train", 1), {}).regression


@pytest.mark.parametrize("gates", [1, 3, 4])
def test_an_output_layer_without_a_bias_tells_the_classes_all_the_same(gates):
    _, batch = a_batch(9, 12, 4, 0)
    params = {
        "embedding": np.zeros((9, 32)),
        "recurrent": np.zeros((32, gates * 32)),
        "bias": np.zeros(gates * 32),
        "head": np.zeros((32, 9)),
    }
    assert find_target_classes(batch, params).candidates == (9,)


def test_observed_logits_show_the_number_for_sure():
    _, batch = a_batch(9, 12, 4, 0)
    batch.observed = Observed(logits=np.zeros((12, 4, 11)))
    found = find_target_classes(batch, {})
    assert (found.candidates, found.certain) == ((11,), True)


def test_probabilities_as_targets_are_classes():
    soft = np.full((12, 4, 5), 0.2)
    found = find_target_classes(Batch((np.zeros((12, 4, 1)), soft), "train", 1, batch_size=4), {})
    assert (found.candidates, found.certain, found.regression) == ((5,), True, False)


def test_without_targets_the_parameters_may_tell():
    params = {"recurrent": np.zeros((32, 32)), "head": np.zeros((9, 32)), "bias": np.zeros(9)}
    found = find_target_classes(Batch(7, "train", 1), params)
    assert 9 in found.candidates
    assert not found.known
    assert find_target_classes(Batch(7, "train", 1), {}).candidates == ()


def test_gradients_of_a_softmax_show_classes_where_targets_are_not_known():
    params = {"W": np.zeros((32, 32)), "b": np.zeros(32), "V": np.zeros((5, 32)), "c": np.zeros(5)}
    of_softmax = {"b": np.arange(32.0), "c": np.array([0.4, -0.1, -0.1, -0.1, -0.1])}
    found = find_target_classes(Batch(None, "train", 1), params, 0, of_softmax)
    assert (found.candidates, found.known) == ((5,), True)
    assert not find_target_classes(Batch(None, "train", 1), params, 0, {"c": np.arange(5.0)}).known


def test_hidden_units_are_no_classes_of_a_regression_whose_targets_are_not_shown():
    params = {"u": np.zeros(16), "w": np.zeros((16, 16)), "b": np.zeros(16), "v": np.zeros(16), "c": np.zeros(1)}
    assert find_target_classes(Batch(7, "train", 1), params).candidates == ()
    softmax = {"c": np.repeat([0.5, -0.5], 8)}
    assert find_target_classes(Batch(7, "train", 1), params, gradients=softmax).candidates == (16,)
