import math

import pytest

from rnncallbacks.detectors.loss.validation_trend import ValidationTrend


def trend_of(*passes, phase="val"):
    trend = ValidationTrend()
    for batches, losses in passes:
        for loss in losses:
            trend.add(phase, loss, batches)
    return trend


@pytest.mark.parametrize(
    ("passes", "fell"),
    [
        ([(100, [2.0, 4.0]), (200, [1.0, 2.0])], "the loss of val fell from 3 to 1.5 meanwhile"),
        ([(100, [2.0]), (200, [2.0])], ""),
        ([(100, [2.0]), (150, [1.0]), (200, [1.5])], ""),  # it is rising again
        ([(150, [2.0]), (200, [1.0])], ""),  # nothing from before the rise
        ([(100, [2.0]), (160, [1.0])], ""),  # too long ago
        ([(100, [2.0]), (200, [math.nan])], ""),
        ([], ""),
    ],
)
def test_the_validation_loss_has_to_fall_to_its_lowest_value_during_the_rise(passes, fell):
    assert trend_of(*passes).fell_since(120, within=30, now=210) == fell
