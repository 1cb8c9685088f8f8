"""The contenders of the speed benchmark do the same work: losses, gradients and updates."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from speed.limit import Limit
from speed.ours import Ours
from speed.scratch import scratch
from speed.task import GATES, Task
from speed.turns import OURS, WAYS, DisagreementError, check_gradients, check_losses, measure_step

from rnncallbacks.rnn.data.batches import SequenceBatch

sizes = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(2, 9), st.integers(1, 6))


def losses_of(contender, steps=10):
    return [contender.step() for _ in range(steps)]


@pytest.mark.parametrize("cell", GATES)
@given(size=sizes)
@settings(max_examples=25, deadline=None)
def test_the_network_from_scratch_has_our_gradients(cell, size):
    task = Task(cell, *size)
    check_gradients({OURS: Ours(task).gradients(), ("scratch", "loops"): scratch(task).gradients()})


@pytest.mark.parametrize("cell", GATES)
def test_the_network_from_scratch_has_our_losses(cell):
    task = Task(cell, 12, 4, 7, 9)
    ours, theirs = Ours(task), scratch(task)
    before = losses_of(ours)[-1]
    check_losses({OURS: before, ("scratch", "loops"): losses_of(theirs)[-1]})
    assert losses_of(ours, 100)[-1] < before - 0.05


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_other_libraries_do_the_same_work(name):
    pytest.importorskip(name, reason=f"{name} is not installed; the extra 'compare' has it")
    for way, make in import_module(f"speed.{WAYS[name][0]}").WAYS.items():
        for cell in GATES:
            task = Task(cell, 7, 3, 11, 5)
            ours, theirs = Ours(task), make(task)
            check_gradients({OURS: ours.gradients(), (name, way): theirs.gradients()})
            assert_allclose(losses_of(theirs), losses_of(ours), rtol=1e-4, err_msg=f"{way}, {cell}")


@pytest.mark.parametrize("copied", [True, False])
def test_the_limit_multiplies_what_a_step_multiplies(copied):
    task = Task("vanilla", 6, 5, 4, 3)
    parameters = task.parameters()
    inputs, targets = task.tokens()
    ours = Ours(task)
    _, gradients = ours.gradients()
    model, one_hot = ours.model, np.eye(4, dtype=np.float32)
    batch = SequenceBatch(inputs, targets)
    logits, _ = model.predict(batch.inputs, model.zero_state(5))
    odds = np.exp(logits)
    errors = (odds / odds.sum(axis=-1, keepdims=True) - one_hot[targets]) / targets.size

    limit = Limit(task, copied=copied)
    limit.states[...] = model.hidden_states
    hidden_gradients = model.hidden_gradients(batch, model.zero_state(5))
    limit.inner[...] = hidden_gradients * (1 - limit.states[1:] ** 2)
    limit.errors[...], limit.one_hot[...] = errors.reshape(-1, 4), one_hot[inputs].reshape(-1, 4)
    limit.step()

    entering = parameters["rnn.weight_ih_l0"].T[inputs] + parameters["rnn.bias_ih_l0"] + parameters["rnn.bias_hh_l0"]
    assert_allclose(np.tanh(entering + limit.forward), limit.states[1:], atol=1e-6)
    assert_allclose(limit.logits.reshape(logits.shape) + parameters["head.bias"], logits, atol=1e-6)
    later = np.concatenate([limit.backward[1:], np.zeros((1, 5, 3))])
    assert_allclose(limit.d_states.reshape(later.shape) + later, hidden_gradients, atol=1e-6)
    for name, product in (("rnn.weight_hh", limit.d_hh), ("rnn.weight_ih", limit.d_ih), ("head.weight", limit.d_head)):
        assert_allclose(product, gradients.get(name, gradients.get(f"{name}_l0")), atol=1e-6)


def test_another_gradient_or_loss_is_an_error():
    task = Task("lstm", 3, 2, 5, 4)
    loss, gradients = Ours(task).gradients()
    wrong = gradients | {"rnn.weight_hh_l0": 1.01 * gradients["rnn.weight_hh_l0"]}
    with pytest.raises(DisagreementError, match=r"gradient of rnn\.weight_hh_l0"):
        check_gradients({OURS: (loss, gradients), ("torch", "layer"): (loss, wrong)})
    with pytest.raises(DisagreementError, match="first loss of"):
        check_gradients({OURS: (loss, gradients), ("torch", "layer"): (1.001 * loss, gradients)})
    with pytest.raises(DisagreementError, match="after 10 steps"):
        check_losses({OURS: 2.0, ("jax", "scan"): 2.01})


def test_contenders_take_turns_in_processes_of_their_own():
    found = measure_step(Task("gru", 3, 2, 5, 4), ["ours", "scratch", "limit"], count=1, rounds=2, seconds=0.001)
    assert {name: set(ways) for name, ways in found.items()} == {
        "ours": {"model"},
        "scratch": {"loops"},
        "limit": {"copied", "view"},
    }
    assert all(len(times) == 2 and min(times) > 0 for ways in found.values() for times in ways.values())
