import numpy as np
import pytest

from rnncallbacks.detectors.update.recovery import check_recovery
from rnncallbacks.detectors.update.update_record import UpdateRecord


def record_of(losses, constant_loss=0.0):
    record = UpdateRecord()
    if constant_loss:
        record.add_targets(np.full(4, np.sqrt(constant_loss)))
    for loss in losses:
        record.add_loss(loss, 1.0)
    return record


@pytest.mark.parametrize(
    ("losses", "constant_loss", "recovered"),
    [
        ([8.0, *[0.3] * 20], 0.0, True),
        ([8.0, *[0.5] * 20], 0.0, False),
        ([8.0, *[0.3] * 17], 0.0, False),  # too few
        ([8.0, *[0.3] * 20], 0.5, False),  # what a constant prediction has is known
        ([8.0, *[0.02] * 20], 0.5, True),
    ],
)
def test_a_run_has_recovered_once_its_losses_are_a_small_share_of_a_constant_predictions(
    losses, constant_loss, recovered
):
    finding = check_recovery(record_of(losses, constant_loss), losses[0])
    assert (finding is not None) == recovered
    assert finding is None or (finding.code, finding.severity) == ("RNN501", "info")
