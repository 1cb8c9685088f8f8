"""RNN502 of updates that shrink to nothing while most of the run remains, and decays that are none."""

import numpy as np
import pytest

from rnncallbacks.detectors.update.update_record import UpdateRecord
from rnncallbacks.detectors.update.vanished_rate import check_vanished_rate

BATCHES = np.arange(0, 200, 2)
PER_BATCH = 0.97**BATCHES


@pytest.mark.parametrize(
    ("sizes", "per_gradient", "loss", "planned", "found"),
    [
        (PER_BATCH, PER_BATCH, 0.5, 1000, True),
        (PER_BATCH, PER_BATCH, 0.5, 390, False),  # as at the end of a schedule
        (PER_BATCH, 0.99**BATCHES, 0.5, 1000, False),  # the gradient of a converged network is small
        (0.99**BATCHES, PER_BATCH, 0.5, 1000, False),
        (PER_BATCH, PER_BATCH, 0.04, 1000, False),  # it has learned
        (PER_BATCH, PER_BATCH, 1.2, 1000, False),  # it diverges
        (np.where(BATCHES < 150, 1.0, 0.01), np.where(BATCHES < 150, 1.0, 0.01), 0.5, 1000, False),  # a plateau
        (1.0 / (1.0 + BATCHES), 1.0 / (1.0 + BATCHES), 0.5, 1000, False),
    ],
)
def test_updates_that_shrink_geometrically_within_half_of_the_run(sizes, per_gradient, loss, planned, found):
    record = UpdateRecord()
    record.sizes = list(zip(BATCHES.tolist(), sizes.tolist(), per_gradient.tolist(), strict=True))
    for value in [1.0, *[loss] * 199]:
        record.add_loss(value, 1.0)
    assert (check_vanished_rate(record, planned).finding is not None) is found
