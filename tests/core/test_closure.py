"""Evaluating a closure: one evaluation shared by all guards, and parameters that are restored."""

import numpy as np
import pytest

from rnncallbacks import Run, load_plugins
from rnncallbacks.core.batch import Batch
from rnncallbacks.core.closure import ClosureError, evaluate_closure, evaluate_closure_once, restore_afterwards
from rnncallbacks.core.script_function import PureFunction


def test_the_loss_at_the_parameters_of_the_script_is_evaluated_once():
    asked = []
    batch = Batch(None, "train", 1, closure=lambda: asked.append(1) or 2.0)
    assert evaluate_closure_once(batch) == evaluate_closure_once(batch) == 2.0
    assert len(asked) == 1
    with pytest.raises(ClosureError, match="pass closure="):
        evaluate_closure_once(Batch(None, "train", 1))


@pytest.mark.parametrize("answer", [None, "1.0", np.ones(2)])
def test_a_closure_must_return_one_number(answer):
    with pytest.raises(ClosureError, match="the closure failed"):
        evaluate_closure(lambda: answer)


def test_arrays_are_restored_bit_for_bit_even_after_an_error():
    weights = np.array([1.0, -0.0, np.nan])
    before = weights.tobytes()

    def spoil():
        weights[...] = 5.0
        raise KeyError

    with pytest.raises(KeyError), restore_afterwards([weights]):
        spoil()
    assert weights.tobytes() == before


def test_how_often_all_guards_together_ask_a_healthy_run():
    """What takes longest of all they do: at batch 1, 2 and 10 of the gradient, after 8 updates, at zero parameters."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6))
    labels = (x @ rng.normal(size=(6, 3))).argmax(axis=1)
    params = {"w": 0.1 * rng.normal(size=(6, 3)), "b": np.zeros(3)}
    asked = []

    def probabilities():
        scores = np.exp(x @ params["w"] + params["b"])
        return scores / scores.sum(axis=1, keepdims=True)

    def loss():
        return float(-np.log(probabilities()[np.arange(50), labels]).mean())

    def closure():
        asked.append(run.step)
        return loss()

    with Run(params, plugins=load_plugins({"preset": "guards"}), learning_rate=0.5) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(60)):
                run.observe(inputs=x[None], targets=labels[None])
                errors = (probabilities() - np.eye(3)[labels]) / 50
                grads = run.backward(
                    loss(), {"w": x.T @ errors, "b": errors.sum(axis=0)}, closure=PureFunction(closure)
                )
                for name, param in params.items():
                    param -= run.learning_rate * grads[name]
    assert run.alarms == []
    assert [asked.count(step) for step in range(1, 12)] == [1 + 6 + 1 + 1 + 1, 2 + 1, 1, 1, 1, 1, 1, 1, 0, 7, 0]
    assert len(asked) == 26
