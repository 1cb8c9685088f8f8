import attrs
import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.carried_state import is_carried_on
from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate
from rnncallbacks.doctor.roles.interventions import push_arrays
from rnncallbacks.doctor.roles.objective import find_objective
from rnncallbacks.doctor.roles.role_table import ParameterRole
from rnncallbacks.doctor.value_walk import Steps

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 3)), RNG.standard_normal(6)


def key(name):
    return "end", "__main__", name


@attrs.define
class Script:
    """A script with two arrays that descends half a squared error, and reports the number named here."""

    reported: str
    factor_of_w: float = 1.0
    number: int = 1

    def iterate(self, w, v):
        hidden = np.tanh(X @ w)
        error = hidden @ v - Y
        squared = float(error @ error)
        loss = {
            "absolute": float(np.abs(error).sum()),
            "root": squared**0.5,
            "exponential": float(np.exp(squared / 2)),
            "mean": squared / 12,
        }
        dw = self.factor_of_w * X.T @ (np.outer(error, v) * (1 - hidden**2))
        dv = hidden.T @ error
        made = IterationRecord(self.number, 1)
        made.start = {key("w"): w, key("v"): v}
        made.end = {key("w"): w - 0.1 * dw, key("v"): v - 0.1 * dv, key("loss"): loss[self.reported]}
        made.inside = {key("dw"): dw, key("dv"): dv}
        return made

    def replay(self, request):
        arrays = self.record.start | request.pushes
        return self.iterate(arrays[key("w")], arrays[key("v")])

    def begin(self, start=None):
        """The script itself, with the record of its iteration."""
        if start is None:
            generator = np.random.default_rng(1)
            start = {key("w"): generator.standard_normal((3, 4)), key("v"): generator.standard_normal(4)}
        self.record = self.iterate(start[key("w")], start[key("v")])
        return self

    record: IterationRecord | None = None


def objective_of(**options):
    first = Script(**options).begin()
    last = Script(**options).begin(first.record.end)
    pushes = push_arrays([key("w"), key("v")], first.record, first, np.inf, {})
    parameters = [ParameterRole(name, key(name), key(f"d{name}"), agrees=False) for name in "wv"]
    by_key = {push.key: push for push in pushes}
    return find_objective(key("loss"), parameters, by_key, [first.record, last.record], first, last)


@pytest.mark.parametrize(
    ("reported", "is_loss", "words"),
    [
        ("absolute", False, "another number"),
        ("root", True, "square root"),
        ("exponential", True, "exponential"),
        ("mean", True, ""),
    ],
)
def test_a_reported_number_is_compared_with_what_the_gradients_descend(reported, is_loss, words):
    objective = objective_of(reported=reported)
    assert objective.is_loss is is_loss
    assert words in objective.text
    assert bool(words) is bool(objective.text)


def test_gradients_that_are_those_of_no_function_may_be_wrong_gradients_of_the_loss():
    assert objective_of(reported="absolute", factor_of_w=2.0).is_loss


def test_a_cell_that_keeps_its_state_is_no_parameter_where_all_others_agree_with_the_loss():
    agreeing = "abcd"
    states = RNG.standard_normal((5, 2))
    records = []
    for number in (1, 2):
        start = {key(name): np.ones(2) * number for name in agreeing} | {key("cell"): states[2 * number - 2]}
        end = {key(name): np.ones(2) * (number + 1) for name in agreeing} | {key("cell"): states[2 * number]}
        gradients = {key(f"d{name}"): np.ones(2) for name in agreeing}
        sequence = {("local", "f", "cs"): Steps(states[2 * number - 2 : 2 * number + 1])}
        records.append(IterationRecord(number, 1, start, end | gradients, sequence))

    class Linear:
        """Adds up all arrays, so that the derivative of the loss is one in every entry."""

        def replay(self, request):
            arrays = records[0].start | request.pushes
            return IterationRecord(1, 1, arrays, arrays | {key("loss"): float(sum(map(np.sum, arrays.values())))})

    records[0].end[key("loss")] = 0.0
    pushes = push_arrays(list(records[0].start), records[0], Linear(), np.inf, {})
    sources = {key(name): [GradientCandidate(key(f"d{name}"), 1.0, 1.0, 1)] for name in agreeing}
    found = [push.key[2] for push in pushes if is_carried_on(push, pushes, sources, key("loss"), records)]
    assert found == ["cell"]
