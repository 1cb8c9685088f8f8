"""Updates that do too much, too little or nothing are named, and recipes that work are left alone."""

import numpy as np
import pytest

from rnncallbacks.core.run import Run
from rnncallbacks.core.script_function import PureFunction
from rnncallbacks.plugins import Checkpoint, UpdateGuard
from rnncallbacks.testing.cases import run_case

THROUGH = ["trainer", "loop", "plain_loop"]


def codes(outcome):
    return [alarm.code for alarm in outcome.reported]


@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize(
    ("fault", "task", "cell", "optimizer"),
    [
        ("rate_x30", "echo", "tanh", "sgd"),
        ("rate_x100", "characters", "tanh", "adam"),
        ("rate_x30", "echo", "relu", "adagrad"),
        ("rate_x100", "echo", "tanh", "rmsprop"),
        ("rate_x100", "characters", "relu", "momentum"),
    ],
)
def test_a_rate_that_is_too_high_is_named_within_a_hundred_batches(fault, task, cell, optimizer, through):
    outcome = run_case(fault, task, cell, optimizer, 5, through, plugins=[UpdateGuard()], max_epochs=4)
    assert codes(outcome) == ["RNN501"]
    assert outcome.reported[0].batch <= 100


@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_rate_that_is_too_low_is_named(optimizer, through):
    outcome = run_case("rate_x0.001", "echo", "tanh", optimizer, 1, through, plugins=[UpdateGuard()], max_epochs=4)
    assert codes(outcome) == ["RNN502"]


@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("fault", ["no_update", "update_of_a_copy"])
def test_updates_that_do_nothing_are_named(fault, through):
    outcome = run_case(fault, "echo", "tanh", "adam", 1, through, plugins=[UpdateGuard()], max_epochs=2)
    assert codes(outcome) == ["RNN503"]


@pytest.mark.parametrize(
    ("trap", "task", "optimizer", "through"),
    [
        ("big_steps", "words", "sgd", "trainer"),
        ("min_char_rnn", "stream", "adagrad", "plain_loop"),
        ("warmup", "echo", "adam", "trainer"),
        ("one_cycle", "echo", "sgd", "loop"),
        ("noisy_labels", "characters", "adagrad", "trainer"),
        ("noisy_inputs", "characters", "sgd", "loop"),
        ("one_sequence", "anbn_single", "adagrad", "trainer"),
        ("pretrained", "echo", "rmsprop", "loop"),
        ("frozen_input", "characters", "adam", "loop"),
        ("returns_new", "echo", "sgd", "plain_loop"),
    ],
)
def test_recipes_that_work_are_left_alone(trap, task, optimizer, through):
    max_epochs = None if trap in ("warmup", "one_cycle") else 4  # of ten: only schedules change what comes later
    outcome = run_case(trap, task, "tanh", optimizer, 1, through, plugins=[UpdateGuard()], max_epochs=max_epochs)
    assert outcome.alarms == ()


# --- in a script of one's own ------------------------------------------------------------------------------------


def descend(rate, *, plugins=None, updates=60, closure=True, tells=True, noise=0.05, seed=0):
    """Gradient descent in a bowl that is steep in one direction; above a rate of 0.2 it climbs."""
    generator = np.random.default_rng(seed)
    params = generator.normal(size=8)
    steep = np.array([10.0] + [1.0] * 7)
    guard = UpdateGuard()
    calls = []
    with Run(params, plugins=[guard] if plugins is None else plugins, learning_rate=rate) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(updates)):
                shift = noise * generator.normal(size=8)

                def loss_of(params, shift=shift):
                    return float(0.5 * (steep * (params - shift) ** 2).sum())

                def loss_of_batch(params=params, loss_of=loss_of):
                    calls.append(run.step)
                    return loss_of(params)

                loss, grads = loss_of(params), steep * (params - shift)
                grads = run.backward(loss, grads, closure=PureFunction(loss_of_batch) if closure else None)
                if tells:
                    params -= run.learning_rate * grads
                else:
                    params = params - run.learning_rate * grads
    return run, calls


@pytest.mark.parametrize("closure", [True, False])
def test_a_rate_beyond_the_curvature_climbs_and_is_named(closure):
    run, _ = descend(0.25, closure=closure)
    assert [alarm.code for alarm in run.alarms] == ["RNN501"]
    evidence = run.alarms[0].evidence
    assert evidence["learning_rate"] == 0.25
    assert evidence["loss"] > evidence["first_loss"]
    assert ("overshoot_share" in evidence) == closure


@pytest.mark.parametrize("rate", [0.15, 0.05])
def test_a_rate_below_it_is_fine_whatever_its_number(rate):
    run, _ = descend(rate)
    assert run.alarms == []
    assert {"RNN501", "RNN503"} <= set(run.diagnosis.passed)


def test_the_closure_is_called_a_bounded_number_of_times():
    _, few = descend(0.15, updates=200)
    assert 0 < len(few) <= 12
    _, many = descend(0.195, updates=200, noise=2.0)
    assert len(many) <= 45


@pytest.mark.parametrize(("later", "severity"), [(0.01, "info"), (0.5, "error")])
def test_an_alarm_becomes_a_note_only_if_the_run_recovers(later, severity):
    params = np.ones(4)
    with Run(params, plugins=[UpdateGuard()], learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for step in run.batches(range(80)):
                run.backward(1.0 + step if step < 15 else later, params.copy())
                params *= -1.0
    assert [(alarm.code, alarm.severity) for alarm in run.alarms] == [("RNN501", severity)]


def test_without_parameters_it_says_what_to_pass():
    with Run(plugins=[UpdateGuard()], learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(50)):
                run.backward(1.0, np.ones(1))
    assert run.alarms == []
    assert run.diagnosis.not_checked == dict.fromkeys(UpdateGuard.codes, "pass the parameters to Run(params)")


def test_a_script_that_does_not_tell_its_new_arrays_is_told_so():
    run, _ = descend(0.05, tells=False, updates=500)
    assert run.alarms == []
    assert "assign run.params = params after the update" in run.diagnosis.not_checked["RNN503"]


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("micro_batches", [2, 5, 8, 30])
def test_one_update_for_several_batches_raises_no_alarm_and_is_told(micro_batches, grows):
    """Gradients are accumulated; the buffer that the guard is shown may be the growing one."""
    generator = np.random.default_rng(micro_batches)
    weights, goal = generator.normal(size=(5, 5)), generator.normal(size=(5, 5))
    total = np.zeros_like(weights)
    with Run({"w": weights}, plugins=[UpdateGuard()], learning_rate=0.2) as run:
        for _ in run.epochs(8):
            for number, inputs in enumerate(run.batches([generator.normal(size=(5, 6)) for _ in range(60)]), 1):

                def loss_of(inputs=inputs, weights=weights, goal=goal):
                    return float(np.mean(((weights - goal) @ inputs) ** 2))

                gradient = 2 * (weights - goal) @ inputs @ inputs.T / 30
                total += gradient / micro_batches
                run.backward(loss_of(), {"w": total if grows else gradient}, closure=loss_of)
                if number % micro_batches == 0:
                    weights -= run.learning_rate * total
                    total[...] = 0.0
    assert run.alarms == []
    assert f"one update is made in about {micro_batches} batches" in run.diagnosis.passed["RNN503"]


def test_what_is_missing_is_said_in_numbers():
    run, _ = descend(0.05, updates=20)
    assert run.diagnosis.not_checked["RNN501"] == "train for 40 batches or more: 20 were seen"
    assert run.diagnosis.not_checked["RNN502"] == "train for 60 batches or more: 20 were seen"


def test_a_closure_that_fails_leaves_the_rest_to_judge():
    params = np.ones(3)

    def fails():
        raise ValueError("gone")

    with Run(params, plugins=[UpdateGuard()], learning_rate=0.5) as run:
        for _ in run.epochs(1):
            for step in run.batches(range(60)):
                grads = run.backward(1.5**step, np.ones(3), closure=fails)
                params -= run.learning_rate * grads
    assert [alarm.code for alarm in run.alarms] == ["RNN501"]


def test_a_resumed_run_goes_on_with_what_was_seen(tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def train(epochs):
        params = np.ones(3)
        with Run(params, plugins=[Checkpoint(path=path), UpdateGuard()], learning_rate=0.1) as run:
            for _ in run.epochs(epochs):
                for _ in run.batches(range(25)):
                    grads = run.backward(float((params**2).sum()), 2 * params)
                    params -= run.learning_rate * grads
        return run

    train(1)
    assert "RNN501" in train(2).diagnosis.passed


@pytest.mark.parametrize("frozen", [True, False])
def test_an_array_that_may_be_frozen_on_purpose_does_not_pass(frozen):
    params = {"inputs": np.ones((3, 2)), "recurrent": np.ones((2, 2)), "output": np.ones((2, 3))}
    with Run(params, plugins={"update_guard": UpdateGuard()}, learning_rate=0.01) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(60)):
                loss = 0.5 * sum(float((array**2).sum()) for array in params.values())
                grads = run.backward(loss, {name: array.copy() for name, array in params.items()})
                for name in list(params)[frozen:]:
                    params[name] -= 0.01 * grads[name]
    assert ("RNN503" in run.diagnosis.passed) is not frozen
    assert ("RNN503" in run.diagnosis.cannot_tell) is frozen
    if frozen:
        assert "inputs never changed, as if frozen on purpose" in run.diagnosis.cannot_tell["RNN503"]
