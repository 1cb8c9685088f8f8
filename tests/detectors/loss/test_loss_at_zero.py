"""The loss with all parameters at zero: exact, with parameters restored; or the reason why there is none."""

import math

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.core.closure import ClosureError
from rnncallbacks.detectors.loss.loss_at_zero import evaluate_loss_at_zero


def a_batch(closure, loss=26.0):
    return Batch(None, "train", 1, loss=loss, closure=closure)


def test_the_loss_at_zero_and_the_parameters_restored():
    params = {"w": np.array([3.0, -0.0, 4.0]), "index": np.arange(3)}
    before = {name: array.tobytes() for name, array in params.items()}
    at_zero = evaluate_loss_at_zero(a_batch(lambda: 1.0 + float(params["w"] @ params["w"])), 26.0, params)
    assert at_zero == 1.0
    assert {name: array.tobytes() for name, array in params.items()} == before


@pytest.mark.parametrize(("shown", "expected"), [(26.0, 1.0), (26.1, None)])
def test_a_recognized_network_stands_for_the_closure_where_it_gives_the_reported_loss(shown, expected):
    params = {"w": np.array([3.0, 4.0])}
    batch = a_batch(None)
    batch.network_loss = lambda: shown - 25.0 + float(params["w"] @ params["w"])
    if expected is None:
        with pytest.raises(ClosureError, match="pass closure="):
            evaluate_loss_at_zero(batch, 26.0, params)
    else:
        assert evaluate_loss_at_zero(batch, 26.0, params) == expected


def frozen():
    array = np.ones(2)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("closure", "params", "reason"),
    [
        (None, {"w": np.ones(2)}, "pass closure= to run.backward"),
        (lambda: 26.0, {}, "give the parameters to Run"),
        (lambda: 26.0, {"w": frozen()}, "arrays that can be written to"),
        (lambda: 26.0, {"w": np.ones(2)}, "the closure does not see run.params"),
        (lambda: 52.0, {"w": np.ones(2)}, "the closure gives the loss 52, run.backward was given 26"),
        (lambda: 13.0, {"w": np.ones(2)}, "the closure gives the loss 13, run.backward was given 26"),
        (lambda: "26", {"w": np.ones(2)}, "the closure failed"),
    ],
)
def test_why_there_is_no_loss_at_zero(closure, params, reason):
    with pytest.raises(ClosureError, match=reason):
        evaluate_loss_at_zero(a_batch(closure), 26.0, params)


def test_a_loss_that_is_not_finite_at_zero():
    params = {"w": np.ones(2)}
    closure = lambda: 26.0 if params["w"].any() else math.nan  # noqa: E731
    with pytest.raises(ClosureError, match="not finite with all parameters at zero"):
        evaluate_loss_at_zero(a_batch(closure), 26.0, params)
    assert params["w"].all()
