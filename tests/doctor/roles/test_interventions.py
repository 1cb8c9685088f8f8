import time

import attrs
import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.interventions import (
    Push,
    computed_values,
    is_exact,
    moves_arrays,
    push_arrays,
    slopes_along_update,
)

WEIGHTS, SAMPLE = ("end", "__main__", "W"), ("end", "__main__", "drawn")
RAW = ("raw", "script.py:3", "h[t]")


class Replay:
    """A frozen iteration that answers with a given record."""

    def __init__(self, again):
        self.again = again

    def replay(self, request):
        return self.again


@pytest.mark.parametrize(("number", "exact"), [(1, True), (2, False)])
def test_what_the_first_iteration_draws_need_not_be_drawn_again(number, exact):
    record = IterationRecord(number, 1, start={WEIGHTS: np.ones(2)}, end={WEIGHTS: np.zeros(2), SAMPLE: np.ones(3)})
    again = attrs.evolve(record, end={WEIGHTS: np.zeros(2), SAMPLE: np.zeros(3)})
    assert is_exact(record, Replay(again)) is exact
    assert not is_exact(record, Replay(attrs.evolve(record, end={WEIGHTS: np.ones(2), SAMPLE: np.ones(3)})))


def test_uninitialized_memory_need_not_be_the_same_again():
    record = IterationRecord(2, 1, end={WEIGHTS: np.zeros(2)}, inside={RAW: np.array(6e-310)})
    assert is_exact(record, Replay(attrs.evolve(record, inside={RAW: np.array(0.0)})))


def test_an_array_that_the_first_iteration_makes_has_no_update_along_which_a_loss_moves():
    loss = ("end", "__main__", "loss")
    record = IterationRecord(
        1, 1, start={WEIGHTS: np.ones(2)}, end={WEIGHTS: np.zeros(2), SAMPLE: np.ones(3), loss: 2.0}
    )
    assert slopes_along_update([WEIGHTS, SAMPLE], record, Replay(record)) == {loss: 0.0}


@pytest.mark.parametrize(("dtype", "gradient", "expected"), [("f4", 2.0, True), ("f4", 1.0, False), ("f8", 2.0, True)])
def test_a_parameter_moves_the_gradients_of_others_and_an_array_of_the_optimizer_does_not(dtype, gradient, expected):
    other = ("local", "backward", "dV")
    record = IterationRecord(1, 1, start={WEIGHTS: np.ones(2, dtype)}, inside={other: np.ones(2, dtype)})
    again = attrs.evolve(record, inside={other: np.full(2, gradient, dtype)})
    push = Push(WEIGHTS, record, np.ones(2, dtype), 1.0, {})
    assert moves_arrays(push, Replay(again), frozenset([other])) is expected


def test_a_value_that_the_parameters_change_in_one_of_two_iterations_is_computed():
    zero, state = ("local", "sigmoid", "x"), ("end", "__main__", "h")
    records = [IterationRecord(n, 1, start={WEIGHTS: np.ones(2)}, end={state: 1.0, zero: 0.0}) for n in (2, 3)]
    changed = [
        attrs.evolve(records[0], end={state: 1.0, zero: 0.5}),
        attrs.evolve(records[1], end={state: 2.0, zero: 0.0}),
    ]
    assert computed_values([WEIGHTS], records, [Replay(one) for one in changed]) == {zero, state}


@pytest.mark.parametrize(("moved", "replays"), [(0.0, 1), (1e-3, 2)])
def test_an_array_that_keeps_its_push_and_moves_no_number_is_pushed_once(moved, replays):
    loss, requests = ("end", "__main__", "loss"), []
    record = IterationRecord(1, 1, start={WEIGHTS: np.ones(4)}, end={WEIGHTS: np.full(4, 2.0), loss: 1.0})

    class Frozen:
        def replay(self, request):
            requests.append(request)
            step = request.pushes[WEIGHTS] - 1.0
            return attrs.evolve(record, end={WEIGHTS: 2.0 + 0.9 * step, loss: 1.0 + moved * float(step.sum())})

    (push,) = push_arrays([WEIGHTS], record, Frozen(), time.monotonic() + 60.0, {})
    assert len(requests) == replays
    assert push.kept == pytest.approx(0.9)
    assert bool(push.derivatives) is bool(moved)


@pytest.mark.parametrize(("moved", "replays"), [(0.0, 2), (1e-3, 7)])
def test_items_of_a_container_are_pushed_at_once_if_they_move_no_number(moved, replays):
    loss, requests = ("end", "__main__", "loss"), []
    keys = [("end", "__main__", f"m[{number}]") for number in range(4)]
    start = {key: np.ones(4) for key in keys}
    record = IterationRecord(1, 1, start=start, end={**start, loss: 1.0})

    class Frozen:
        def replay(self, request):
            requests.append(request)
            end = {key: 1.0 + 0.9 * (request.pushes.get(key, 1.0) - 1.0) * np.ones(4) for key in keys}
            change = sum(abs(float(end[key].sum()) - 4.0) for key in keys[2:])
            return attrs.evolve(record, end={**end, loss: 1.0 + moved * change})

    pushes = push_arrays(keys, record, Frozen(), time.monotonic() + 60.0, {})
    assert len(requests) == replays
    assert [push.key for push in pushes] == keys
    assert all(push.kept == pytest.approx(0.9) for push in pushes)
