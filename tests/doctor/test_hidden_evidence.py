"""What the doctor reads of states, tokens and losses where a script does not show them in the usual form."""

import numpy as np
import pytest

from rnncallbacks.doctor.driving import observed_values
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.entering_state import find_entering
from rnncallbacks.doctor.roles.given_roles import GivenRoles
from rnncallbacks.doctor.roles.nonfinite_roles import roles_of_nonfinite_loss
from rnncallbacks.doctor.roles.role_table import Roles
from rnncallbacks.doctor.roles.shifted_sequence import find_shifted_sequence
from rnncallbacks.doctor.value_walk import Steps

RNG = np.random.default_rng(0)


def key(name):
    return "end", "__main__", name


def step_calls(number, *, entering):
    """The first two calls of a step function and of its backward pass."""
    made = IterationRecord(number, 1)
    first, second = entering, RNG.standard_normal((4, 1))
    made.inside = {
        ("local", "Cell.forward", "h_prev"): first,
        ("local", "Cell.forward", "h"): second,
        ("local", "Cell.forward#2", "h_prev"): second,
        ("local", "Cell.backward", "dh_next"): np.zeros((4, 1)),
        ("local", "Cell.backward", "dh"): second,
        ("local", "Cell.backward#2", "dh_next"): second,
    }
    return made


def test_zeros_that_enter_the_first_step_of_each_iteration_are_the_entering_state():
    records = [step_calls(number, entering=np.zeros((4, 1))) for number in (1, 2, 3)]
    assert find_entering(records, []) == ("local", "Cell.forward", "h_prev")


def test_a_gradient_that_enters_the_last_step_is_no_state():
    assert find_entering([step_calls(number, entering=np.ones((4, 1))) for number in (1, 2)], []) is None


def test_of_carried_states_the_bounded_one_is_taken():
    last = IterationRecord(2, 1, end={key("c"): np.array([3.0]), key("h"): np.array([0.5])})
    assert find_entering([last, last], [key("c"), key("h")]) == key("h")


def test_a_carried_state_is_shown_as_what_enters_and_what_leaves():
    record = IterationRecord(2, 1, start={key("h"): np.zeros(2)}, end={key("h"): np.ones(2)})
    roles = Roles(loss=None, loss_confidence="unsure", carried=(key("h"),), entering=key("h"))
    shown = observed_values(record, roles)
    assert [value.tolist() for value in (shown["entering_state"], *shown["hidden_states"])] == [[0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def step(seq):\n    for t in range(9):\n        x, y = seq[t], seq[t + 1]\n", True),
        ("def step(seq):\n    for t in range(9):\n        x = seq[t]\n", False),
        ("def step(seq, other):\n    for t in range(9):\n        x, y = seq[t], other[t + 1]\n", False),
    ],
)
def test_one_array_is_inputs_and_targets_if_it_is_read_at_t_and_at_t_plus_one(tmp_path, source, found):
    path = tmp_path / "script.py"
    path.write_text(source)
    name = ("local", "step", "seq")
    records = [IterationRecord(number, 1, inside={name: RNG.integers(0, 9, 10)}) for number in (1, 2)]
    assert find_shifted_sequence([str(path)], records) == ((name, 0) if found else None)
    roles = Roles(loss=None, loss_confidence="unsure", inputs=name, targets=name, shifted_axis=0)
    shown = observed_values(records[0], roles)
    assert np.array_equal(shown["inputs"][1:], shown["targets"][:-1])


def test_columns_of_one_hot_vectors_are_tokens_where_targets_are():
    columns, targets = np.eye(5)[[1, 4, 2, 0]][:, :, None], np.array([4.0, 2.0, 0.0, 3.0])
    record = IterationRecord(1, 1, end={key("x"): Steps(columns), key("y"): targets})
    shown = observed_values(record, Roles(loss=None, loss_confidence="unsure", inputs=key("x"), targets=key("y")))
    assert (shown["inputs"].tolist(), shown["targets"].tolist()) == ([1, 4, 2, 0], [4, 2, 0, 3])


@pytest.mark.parametrize("gradient", [np.nan, 2.0])
def test_a_loss_that_is_never_finite_is_found_by_its_name(gradient):
    weights, gradients = np.ones((2, 3)), np.full((2, 3), gradient) + np.arange(3)
    records = []
    for number in (1, 2):
        after = weights - 0.1 * gradients
        end = {key("w"): after, key("loss"): np.nan, key("steps"): float(number), key("dw"): gradients}
        made = IterationRecord(number, 1, {key("w"): weights}, end)
        made.start_identities = {key("w"): 1}
        made.identities = {key("w"): 1, key("dw"): 2}
        records.append(made)
        weights = after
    roles = roles_of_nonfinite_loss(records, GivenRoles())
    assert (roles.loss, [(one.name, one.gradient) for one in roles.parameters]) == (key("loss"), [("w", key("dw"))])
    records[1].end[key("loss")] = 1.0
    assert roles_of_nonfinite_loss(records, GivenRoles()) is None
