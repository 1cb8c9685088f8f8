import math

import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.gradient_sources import GradientCandidate
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.loss_choice import LOSS_CHOICE, accumulates, predicted_share, rank_losses

LOSS = ("end", "__main__", "loss")


def test_a_gradient_of_another_shape_predicts_nothing():
    weights = ("end", "__main__", "w")
    push = Push(weights, IterationRecord(3, 1), step=np.ones(2), kept=1.0, derivatives={LOSS: 6.0})
    assert predicted_share(push, LOSS, np.array([1.0, 2.0])) == 2.0
    assert math.isnan(predicted_share(push, LOSS, np.array([1.0])))


def test_the_gradient_of_a_bias_of_one_entry_is_no_loss_and_neither_is_the_bias_by_another_name():
    bias, gradient, alias = (("end", "__main__", name) for name in ("net.b", "net.grad_b", "net.layers[0].b"))
    end = {LOSS: 2.0, bias: np.ones(1), alias: np.ones(1), gradient: np.ones(1)}
    record = IterationRecord(1, 1, start={bias: np.zeros(1)}, end=end, identities={bias: 7, alias: 7})
    push = Push(bias, record, np.ones(1), kept=1.0, derivatives=dict.fromkeys(end, 0.5))
    assert [one.key for one in rank_losses([push], {}, [record], {})] == [LOSS]


def test_that_all_losses_rise_along_the_update_speaks_against_none():
    weights, other = ("end", "__main__", "w"), ("end", "__main__", "nll")
    record = IterationRecord(1, 1, start={weights: np.zeros(2)}, end={LOSS: 2.0, other: 3.0}, identities={weights: 7})
    push = Push(weights, record, np.ones(2), kept=1.0, derivatives={LOSS: 0.5, other: 0.7})
    sources = {weights: [GradientCandidate(("end", "__main__", "dw"), 1.0, 1.0, 1)]}

    def score(nll):
        ranked = rank_losses([push], sources, [record], {LOSS: 0.1, other: nll})
        return next(one.score for one in ranked if one.key == LOSS)

    assert score(nll=0.2) == score(nll=-0.2) + LOSS_CHOICE.falls


@pytest.mark.filterwarnings("error")
def test_the_best_loss_before_any_validation_accumulates_nothing():
    best = ("end", "__main__", "best")
    records = [IterationRecord(number, 1, start={best: np.inf}, end={best: np.inf}) for number in (1, 2, 3)]
    assert not accumulates(best, records)
