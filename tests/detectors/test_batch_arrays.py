"""The arrays of a batch in causal order, and the floating-point arrays of containers."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.batch_arrays import (
    MAX_DEPTH,
    BatchArray,
    arrays_in_causal_order,
    floating_arrays,
    loss_and_gradients,
)

T, B, H = 3, 4, 5


def sources(arrays):
    """The sources in order, without repetitions."""
    return list(dict.fromkeys(one.source for one in arrays))


def full_batch(loss):
    states = np.ones((T + 1, B, H))
    observed = {"hidden_states": states, "logits": np.ones((T, B, 2)), "hidden_gradients": states[1:]}
    return Batch((np.ones((T, B, 1)), np.ones((T, B, 1))), "train", 1, loss=loss, batch_size=B, observed=observed)


@pytest.mark.parametrize("loss", [1.0, np.nan])
def test_causes_come_before_effects_and_targets_only_with_a_loss_that_is_not_finite(loss):
    parameters = [BatchArray(source="parameters", array=np.ones(2), path="w")]
    arrays = list(arrays_in_causal_order(full_batch(loss), parameters, {"w": np.ones(2)}))
    expected = ["inputs", "entering_state", "parameters", "hidden_states", "logits", "targets", "loss"]
    if loss == 1.0:
        expected.remove("targets")
    assert sources(arrays) == [*expected, "hidden_gradients", "gradients"]
    steps = {source: [one.time_step for one in arrays if one.source == source] for source in sources(arrays)}
    assert steps["hidden_states"] == steps["inputs"] == [1, 2, 3]
    assert steps["hidden_gradients"] == [3, 2, 1]
    assert steps["entering_state"] == [None]


def test_the_loss_and_the_gradients_by_name():
    arrays = list(loss_and_gradients(Batch(None, "train", 1, loss=2.0), {"w": np.ones(2), "b": np.zeros(1)}))
    assert [(one.source, one.path) for one in arrays] == [("loss", ""), ("gradients", "w"), ("gradients", "b")]
    assert list(loss_and_gradients(Batch(None, "val", 1), None)) == []


def test_floating_arrays_of_a_container_with_their_paths():
    container = {"x": np.ones((B, H)), "n": np.arange(3), "list": [0.5, 1.0], "deep": ({"y": np.float32(1.0)}, "text")}
    found = list(floating_arrays("data", container, size=B))
    assert [(one.path, one.array.shape) for one in found] == [("x", (B, H)), ("list", (2,)), ("deep.0.y", ())]
    assert [one.row_axis for one in found] == [0, None, None]


def test_an_axis_of_rows_is_unknown_where_two_have_their_length():
    (square,) = floating_arrays("entering_state", np.ones((B, B)), size=B)
    assert square.row_axis is None
    (given,) = floating_arrays("inputs", np.ones((B, B)), size=B, row_axis=1)
    assert given.row_axis == 1


def test_the_search_ends_at_the_greatest_depth():
    nested = np.ones(2)
    for _ in range(MAX_DEPTH):
        nested = [nested]
    assert len(list(floating_arrays("data", nested))) == 1
    assert list(floating_arrays("data", [nested])) == []
