import math

import attrs
import numpy as np
import pytest

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.growth_checks import GrowthChecks
from rnncallbacks.detectors.gradient.update_tracker import MeasuredUpdate
from rnncallbacks.detectors.reconstruction.script_network import ScriptNetwork
from rnncallbacks.detectors.training_batch import TrainingBatch

BATCH = Batch((np.zeros((5, 4)), np.zeros((5, 4))), "train", 1)


@pytest.mark.parametrize(("scale", "doubts"), [(0.1, False), (4.0, True)])
def test_without_a_network_the_recurrent_weights_leave_the_doubt(scale, doubts):
    params = {"Wh": scale * np.eye(4), "Wx": np.ones((4, 2)), "Wy": np.ones((3, 4))}
    checks, gradients = GrowthChecks(), Gradients({name: np.ones_like(array) for name, array in params.items()})
    results = list(checks.check(TrainingBatch(1, BATCH, 1.0, gradients, params), ScriptNetwork(), 5.0))
    assert all(result.finding is None for result in results)
    assert ("RNN401" in checks.doubt) is doubts


UNCLIPPED = MeasuredUpdate(gradient_norm=50.0, relative_size=0.1, clipped_size=0.1, cosine=1.0)


@pytest.mark.parametrize(
    ("update", "losses", "clips", "alarm", "found"),
    [
        (UNCLIPPED, [3.0] * 5, False, "", True),
        (UNCLIPPED, [2.4] * 5, False, "", False),
        (attrs.evolve(UNCLIPPED, scaled_down=True), [3.0] * 5, False, "", False),
        (attrs.evolve(UNCLIPPED, cosine=0.6), [3.0] * 5, False, "", False),
        (UNCLIPPED, [3.0] * 5, True, "", False),
        (UNCLIPPED, [math.nan] * 5, False, "", True),
        (attrs.evolve(UNCLIPPED, cosine=0.6), [1.2] * 60, False, "", True),
        (UNCLIPPED, [2.0] * 59, False, "", False),
        (UNCLIPPED, [0.4] * 80, False, "", False),
        (UNCLIPPED, [2.0] * 80, True, "", False),
        (UNCLIPPED, [2.0], False, "RNN602", True),
        (UNCLIPPED, [2.0], False, "RNN201", False),
    ],
)
def test_growth_through_time_is_reported_once_it_did_harm(update, losses, clips, alarm, found):
    checks = GrowthChecks()
    checks.hold(Finding("RNN401", "grows 60 times", {}), first_loss=2.0)
    checks.add_update(update, max_norm=5.0)
    checks.add_alarm(alarm)
    results = [checks.add_loss(loss, clips=clips) for loss in losses]
    assert [result.finding is not None for result in results] == [False] * (len(losses) - 1) + [found]
    assert checks.holds is not found


def test_an_update_of_usual_length_is_no_finding():
    update = MeasuredUpdate(gradient_norm=1.0, relative_size=0.1, clipped_size=0.1, cosine=1.0, is_first=True)
    assert GrowthChecks().add_update(update, max_norm=5.0).finding is None
