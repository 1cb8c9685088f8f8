"""Gradients that are wrong, on another scale, piled up, exploding or vanishing are named; healthy ones are not."""

import numpy as np
import pytest

from rnncallbacks.plugins import GradientClipping, GradientGuard
from rnncallbacks.run import Run
from rnncallbacks.testing.cases import run_case

OBSERVED = ["trainer", "loop"]


def loud(outcome):
    return [(alarm.code, alarm.batch) for alarm in outcome.loud]


def found(fault, task, optimiser, through, seed=3, cell="tanh"):
    return run_case(fault, task, cell, optimiser, seed, through, plugins=[GradientGuard()])


@pytest.mark.parametrize("through", OBSERVED)
@pytest.mark.parametrize("fault", ["missing_transpose", "sign_error", "zero_gradient"])
def test_a_backward_pass_that_is_wrong_is_named_in_the_first_batch(fault, through):
    assert loud(found(fault, "echo", "adam", through)) == [("RNN404", 1)]


@pytest.mark.parametrize("through", OBSERVED)
def test_a_gradient_on_another_scale_than_the_loss(through):
    ((code, batch),) = loud(found("mean_reported_sum_descended", "echo", "sgd", through))
    assert code == "RNN405"
    assert batch <= 3


@pytest.mark.parametrize("through", [*OBSERVED, "plain_loop"])
def test_gradients_that_pile_up(through):
    ((code, batch),) = loud(found("never_zeroed", "echo", "sgd", through, seed=1))
    assert code == "RNN406"
    assert batch <= 16


@pytest.mark.parametrize(("through", "seed"), [("trainer", 1), ("loop", 3), ("plain_loop", 5)])
def test_gradients_that_explode_where_nothing_clips(through, seed):
    ((code, batch),) = loud(found("explosion", "stream", "sgd", through, seed=seed, cell="relu"))
    assert code == "RNN401"
    assert batch <= 20


@pytest.mark.parametrize("through", [*OBSERVED, "plain_loop"])
@pytest.mark.parametrize(
    ("case", "task", "optimiser"),
    [
        ("healthy", "echo", "sgd"),
        ("healthy", "anbn", "adam"),
        ("healthy", "characters", "momentum"),
        ("min_char_rnn", "stream", "adagrad"),
        ("no_clipping", "characters", "sgd"),
        ("pretrained", "echo", "adam"),
        ("heavy_tails", "waves", "sgd"),
        ("one_sequence", "anbn_single", "rmsprop"),
    ],
)
def test_healthy_gradients_are_left_alone(case, task, optimiser, through):
    assert found(case, task, optimiser, through).loud == ()


# --- in a script of one's own ------------------------------------------------------------------------------------


def bowl(gradient_of, *, closure=True, params=None, plugins=None, updates=20, rate=0.05):
    """Least squares; the script's gradient is a function of the right one."""
    generator = np.random.default_rng(0)
    weights = {"w": generator.normal(size=(4, 3)), "b": generator.normal(size=3)}
    known = weights if params is None else None
    with Run(known, plugins=[GradientGuard()] if plugins is None else plugins, learning_rate=rate) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(updates)):
                x, y = generator.normal(size=(16, 4)), generator.normal(size=(16, 3))

                def loss_of_batch(x=x, y=y):
                    return float(((x @ weights["w"] + weights["b"] - y) ** 2).mean())

                errors = 2.0 * (x @ weights["w"] + weights["b"] - y) / y.size
                grads = gradient_of({"w": x.T @ errors, "b": errors.sum(axis=0)})
                grads = run.backward(loss_of_batch(), grads, closure=loss_of_batch if closure else None)
                for name, grad in grads.items():
                    weights[name] -= run.learning_rate * grad
    return run


def test_a_right_gradient_passes_and_the_rest_is_said():
    run = bowl(lambda grads: grads)
    assert run.alarms == []
    assert {"RNN404", "RNN405", "RNN406"} <= set(run.diagnosis.passed)
    assert "hidden_gradients" in run.diagnosis.not_checked["RNN402"]


def test_a_wrong_array_is_named_with_its_numbers():
    run = bowl(lambda grads: {"w": grads["w"], "b": grads["b"][::-1].copy()})
    (alarm,) = run.alarms
    assert (alarm.code, alarm.step, alarm.severity) == ("RNN404", 1, "error")
    assert alarm.evidence["array"] == "b"
    assert alarm.evidence["cosine"] < 0.99


def test_a_missing_factor_is_named_by_its_size():
    (alarm,) = bowl(lambda grads: {name: 16.0 * grad for name, grad in grads.items()}, rate=1e-3).alarms
    assert alarm.code == "RNN405"
    assert alarm.evidence["factor"] == pytest.approx(16.0, rel=1e-3)


def test_gradients_that_the_script_clipped_before_are_not_called_wrong():
    run = bowl(lambda grads: {name: np.clip(grad, -0.05, 0.05) for name, grad in grads.items()})
    assert run.alarms == []


def test_it_looks_before_the_plugin_that_clips():
    assert bowl(lambda grads: grads, plugins=[GradientClipping(max_norm=0.01), GradientGuard()]).alarms == []


@pytest.mark.parametrize(("options", "reason"), [({"closure": False}, "closure"), ({"params": False}, "params")])
def test_what_it_lacks_is_said(options, reason):
    run = bowl(lambda grads: grads, **options)
    assert run.alarms == []
    assert reason in run.diagnosis.not_checked["RNN404"].lower()


def test_gradients_that_vanish_through_time_are_a_note():
    with Run(np.ones(1), plugins=[GradientGuard()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(60)):
                run.observe(hidden_gradients=[np.full((4, 2), 10.0 ** (-t)) for t in range(12)][::-1])
                run.backward(1.0, np.ones(1))
    assert [(alarm.code, alarm.severity) for alarm in run.alarms] == [("RNN402", "info")]
