"""The sign with which gradients predict a loss: one for a whole update, so that a single wrong one stays wrong."""

import attrs
import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.agreement import (
    agreeing_count,
    agreeing_source,
    are_proportional,
    is_in_rate,
    loss_of_loop,
    signs_of_gradients,
)
from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.loss_choice import OVER_ITERATIONS
from rnncallbacks.doctor.roles.role_table import LossCandidate

LOSS = ("end", "__main__", "loss")


def made(*signs):
    """A push for each sign, and the candidate for its gradient, which is the true one times the sign."""
    keepers, sources = [], {}
    for number, sign in enumerate(signs):
        weights, gradient = ("end", "__main__", f"w{number}"), ("inside", "__main__", f"g{number}")
        record = IterationRecord(3, 1)
        record.inside[gradient] = sign * np.array([1.0, 2.0])
        push = Push(weights, record, step=np.ones(2), kept=1.0, derivatives={LOSS: 3.0})
        keepers.append(push)
        sources[weights] = [GradientCandidate(gradient, alignment=1.0, sign=1.0, moment=0)]
    return keepers, sources


def test_one_gradient_with_the_wrong_sign_does_not_turn_the_others():
    keepers, sources = made(1.0, -1.0, 1.0)
    assert signs_of_gradients(LOSS, keepers, sources) == [1.0, -1.0, 1.0]
    assert [agreeing_source(push, sources[push.key], LOSS)[1] for push in keepers] == [1.0, -1.0, 1.0]


def test_a_script_that_adds_what_it_should_subtract_has_one_sign_for_all():
    keepers, sources = made(-1.0, -1.0)
    assert signs_of_gradients(LOSS, keepers, sources) == [-1.0, -1.0]
    assert agreeing_count(LOSS, keepers, sources) == 2


def test_without_a_gradient_that_agrees_the_sign_is_that_of_the_update():
    keepers, sources = made(3.0)
    assert signs_of_gradients(LOSS, keepers, sources) == []
    assert agreeing_count(LOSS, keepers, sources) == 0


def test_of_two_gradients_that_are_nearly_equal_the_closest_counts():
    (push,), sources = made(1.0005)
    true, (nearly,) = ("inside", "__main__", "true"), sources[push.key]
    push.record.inside[true] = np.array([1.0, 2.0])
    candidates = [nearly, GradientCandidate(true, alignment=1.0, sign=1.0, moment=1)]
    assert agreeing_source(push, candidates, LOSS)[0].key == true


def test_a_loss_and_its_sum_over_a_batch_are_no_rivals():
    keepers, _ = made(1.0, 1.0)
    for number, push in enumerate(keepers):
        push.derivatives.update({"loss": 3.0 + number, "sum": 96.0 + 32 * number, "other": 5.0})
    assert are_proportional("loss", "sum", keepers)
    assert not are_proportional("loss", "other", keepers)
    assert not are_proportional("other", "missing", keepers)


def test_the_mean_that_the_loop_has_is_the_loss_and_not_a_local_sum_of_its_function():
    keepers, _ = made(1.0, 1.0)
    keys = [("local", "f", "nll"), ("end", "__main__", "nll"), ("end", "__main__", "mean_nll")]
    for number, push in enumerate(keepers):
        push.derivatives.update({keys[0]: 20.0 + number, keys[1]: 1.0 + number / 20, keys[2]: 1.0 + number / 20})
    total, mean, average = (LossCandidate(key, key[2], score=7.0, reasons=()) for key in keys)
    assert loss_of_loop([total, average, mean], keepers) is mean
    assert loss_of_loop([mean, total], keepers) is mean
    assert loss_of_loop([total, average], keepers) is total
    smoothed = attrs.evolve(mean, reasons=(OVER_ITERATIONS,))
    assert loss_of_loop([total, smoothed], keepers) is total


def test_updates_that_divide_a_sum_by_a_count_besides_the_learning_rate():
    keepers, sources = made(8.0, 8.0)
    for push in keepers:
        push.record.start[push.key] = np.zeros(2)
        push.record.end |= {push.key: np.array([-0.8, -1.6]), ("end", "__main__", "LR"): 0.8}
        push.record.inside[sources[push.key][0].key] = np.array([8.0, 16.0])
    assert is_in_rate(1 / 8, keepers, sources, LOSS)
    keepers[0].record.end["end", "__main__", "LR"] = 0.1  # all of the change is the learning rate
    assert not is_in_rate(1 / 8, keepers, sources, LOSS)
