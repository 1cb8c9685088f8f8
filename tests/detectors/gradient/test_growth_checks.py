import numpy as np
import pytest

from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.gradient.growth_checks import GrowthChecks
from rnncallbacks.detectors.gradient.update_tracker import MeasuredUpdate
from rnncallbacks.detectors.reconstruction.script_network import ScriptNetwork

BATCH = Batch((np.zeros((5, 4)), np.zeros((5, 4))), "train", 1)


@pytest.mark.parametrize(("scale", "doubts"), [(0.1, False), (4.0, True)])
def test_without_a_network_the_recurrent_weights_leave_the_doubt(scale, doubts):
    params = {"Wh": scale * np.eye(4), "Wx": np.ones((4, 2)), "Wy": np.ones((3, 4))}
    checks, gradients = GrowthChecks(), Gradients({name: np.ones_like(array) for name, array in params.items()})
    results = list(checks.check(1, BATCH, 1.0, gradients, params, ScriptNetwork(), 5.0))
    assert all(result.finding is None for result in results)
    assert ("RNN401" in checks.doubt) is doubts


def test_an_update_of_usual_length_is_no_finding():
    update = MeasuredUpdate(gradient_norm=1.0, relative_size=0.1, clipped_size=0.1, cosine=1.0, is_first=True)
    assert GrowthChecks().add_update(update, max_norm=5.0).finding is None
