"""Streams whose targets were rolled within each row: named, and not taken for a leak."""

import numpy as np
import pytest

from rnncallbacks import Run
from rnncallbacks.plugins import HiddenStateGuard, HiddenStateReset, SelfRepair

ROWS, STEPS, CHUNKS, UNITS = 4, 6, 12, 3


def trained(rolled, ahead=1):
    generator = np.random.default_rng(5)
    stream = generator.integers(0, 15, (STEPS * CHUNKS + 1, ROWS))
    batches = []
    for begin in range(0, STEPS * CHUNKS, STEPS):
        inputs = stream[begin : begin + STEPS]
        batches.append((inputs, np.roll(inputs, -ahead, axis=0) if rolled else stream[begin + 1 : begin + STEPS + 1]))
    plugins = [HiddenStateGuard(), HiddenStateReset(when="epoch"), SelfRepair()]
    params = {"w": np.ones(2)}
    with Run(params, plugins=plugins, hidden_size=UNITS) as run:
        for _ in run.epochs(1):
            for _inputs, _targets in run.batches(batches):
                run.hidden(ROWS)
                run.backward(1.0, {"w": np.ones(2)})
                run.carry(generator.normal(size=(UNITS, ROWS)))
    return run.diagnosis


@pytest.mark.parametrize(("rolled", "ahead", "codes"), [(False, 1, []), (True, 1, ["RNN603"]), (True, 2, ["RNN603"])])
def test_targets_that_wrap_around_are_named_and_the_stream_is_left_alone(rolled, ahead, codes):
    diagnosis = trained(rolled, ahead)
    assert [alarm.code for alarm in diagnosis.alarms] == codes
    assert diagnosis.repairs == []
    assert ("RNN201" in diagnosis.passed) is not rolled
    if rolled:
        assert diagnosis.alarms[0].cause == "targets wrap around at the end of each row"
        assert "in 12 of 12 rows" in diagnosis.alarms[0].message
        assert "RNN201" in diagnosis.cannot_tell
