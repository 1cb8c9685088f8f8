import math

import numpy as np

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.interventions import Push
from rnncallbacks.doctor.roles.loss_choice import predicted_share

LOSS = ("end", "__main__", "loss")


def test_a_gradient_of_another_shape_predicts_nothing():
    weights = ("end", "__main__", "w")
    push = Push(weights, IterationRecord(3, 1), step=np.ones(2), kept=1.0, derivatives={LOSS: 6.0}, rough={})
    assert predicted_share(push, LOSS, np.array([1.0, 2.0])) == 2.0
    assert math.isnan(predicted_share(push, LOSS, np.array([1.0])))
