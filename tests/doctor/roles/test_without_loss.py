"""A loop that trains without a loss: its parameters and gradients are known by what depends on them."""

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.without_loss import roles_without_loss

W, B, TOTAL, DW, DB = (("end", "__main__", name) for name in ("W", "b", "total", "dW", "db"))


def record_of(values):
    """An iteration: each gradient depends on both parameters, the total adds up a gradient."""
    weights, bias, total = (values[key] for key in (W, B, TOTAL))
    gradients = {DW: weights * bias.sum() + 1.0, DB: weights.sum(0) - bias}
    end = {W: weights - 0.1 * gradients[DW], B: bias - 0.1 * gradients[DB], TOTAL: total + gradients[DW]}
    record = IterationRecord(1, 1, start=dict(values), end=end | gradients)
    record.start_identities = {key: number for number, key in enumerate(values)}
    record.identities = record.start_identities | {DW: 10, DB: 11}
    return record


class Frozen:
    def replay(self, request):
        return record_of(START | request.pushes)


START = {W: np.array([[1.0, -2.0], [0.5, 3.0]]), B: np.array([0.3, -0.7]), TOTAL: np.zeros((2, 2))}


def roles_of(keys):
    record = record_of(START)
    pushes = [Push(key, record, step=np.full(START[key].shape, 1e-4), kept=1.0, derivatives={}) for key in keys]
    return roles_without_loss(pushes, [record, record], Frozen(), ())


def test_parameters_and_gradients_are_found_without_a_loss():
    roles = roles_of([W, B, TOTAL])
    assert (roles.loss, roles.loss_confidence) == (None, "unsure")
    assert [(one.key, one.gradient) for one in roles.parameters] == [(W, DW), (B, DB)]
    assert (roles.learning_rate, roles.plain, roles.optimizer_state) == (0.1, True, (TOTAL,))


def test_sums_over_time_steps_do_not_train():
    assert roles_of([TOTAL]) is None
