"""RNN701: each order of updates and calls, without a run around it."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors import protocol
from rnncallbacks.detectors.protocol import ProtocolDetector, ProtocolThresholds


class Loop:
    """A loop whose parameters change at the given times of each batch."""

    def __init__(self, *changes, backward=True, phase="train"):
        self.detector = ProtocolDetector()
        self.params = {"w": np.ones(3)}
        self.changes, self.backward, self.phase = changes, backward, phase
        self.repairs, self.checked = 0, False
        self.detector.start_run(self.repairs)

    def at(self, time):
        if time in self.changes:
            self.params["w"] += 0.1

    def batch(self, index=1, loss=1.0):
        batch = Batch(None, self.phase, index, loss=loss)
        self.at("loader")
        inspected = self.detector.open_batch(self.phase, self.params)
        self.at("plugin")
        if inspected:
            self.detector.start_batch(self.phase, self.params)
        self.at("before")
        if self.backward:
            self.detector.call_backward(self.phase, self.params)
        self.at("after")
        missing = self.detector.count_backward(batch)
        result = self.detector.end_batch(batch, self.params, self.repairs)
        self.checked |= tuple(result.checked) == ("RNN701",)
        return missing.finding, result.finding

    def end_epoch(self):
        return [found for result in self.detector.end_epoch(self.params) if (found := result.finding) is not None]

    def findings(self, count):
        return [found for index in range(1, count + 1) for found in self.batch(index) if found is not None]

    def messages(self, count):
        return [found.message for found in self.findings(count)]


@pytest.mark.parametrize("changes", [(), ("after",), ("plugin",), ("loader", "after"), ("before", "after")])
def test_healthy_orders(changes):
    loop = Loop(*changes)
    assert loop.findings(30) == []
    # Without a change after run.backward, nothing shows when the update is made.
    assert loop.checked == ("after" in changes)


ORDERS = [
    (("before",), True, "parameters changed before run.backward and never after it: in 3 of 3 training batches, "),
    (("loader",), True, "parameters changed between training batches, in the loader: 3 times, and never after"),
    (("after",), False, "parameters changed without run.backward: in 3 training batches that did not call run.bac"),
]


@pytest.mark.parametrize(("changes", "backward", "message"), ORDERS)
def test_each_violation_is_reported_once_an_epoch(monkeypatch, changes, backward, message):
    monkeypatch.setattr(protocol, "PROTOCOL", ProtocolThresholds(first_batches=20))
    loop = Loop(*changes, backward=backward)
    for _ in range(2):
        loop.detector.start_epoch()
        (found,) = loop.findings(6)
        assert found.code == "RNN701"
        assert found.message.startswith(message)
        assert len(found.message.partition(":")[0]) <= 80


def test_an_update_that_came_late_at_first_is_no_fault_later():
    loop = Loop("after")
    assert loop.findings(3) == []
    loop.changes = ("before",)
    assert loop.findings(20) == []


def test_two_batches_of_validation_are_enough_and_one_at_the_epochs_end():
    loop = Loop("after", backward=False, phase="val")
    expected = (
        "parameters changed in the phase val: in {0} of {0} batches of val; update them in the phase 'train' only"
    )
    assert loop.messages(2) == [expected.format(2)]
    short = Loop("after", backward=False, phase="val")
    assert short.findings(1) == []
    assert [found.message for found in short.end_epoch()] == [expected.format(1)]
    assert Loop(backward=False, phase="val").findings(9) == []


def test_some_batches_of_validation_that_train_are_told_from_parameters_that_are_swapped():
    values = {"trains": [1.0, 1.0, 2.0, 2.0, 3.0], "swapped": [2.0, 2.0, 2.0, 1.0, 1.0]}
    messages = {}
    for name, after in values.items():
        loop, weights = Loop(backward=False, phase="val"), iter(after)

        def at(time, loop=loop, weights=weights):
            if time == "after":
                loop.params["w"].fill(next(weights))

        loop.at = at
        messages[name] = loop.messages(5) + [found.message for found in loop.end_epoch()]
    assert messages["swapped"] == []
    assert [one.partition(":")[2] for one in messages["trains"]] == [
        " in 2 of 5 batches of val; update them in the phase 'train' only"
    ]


def test_a_repair_is_no_violation():
    loop = Loop("after", backward=False, phase="val")
    assert loop.findings(1) == []
    loop.repairs = 1
    assert loop.findings(2) == []
    assert len(loop.findings(1)) == 1  # two after the repair


@pytest.mark.parametrize(("loss", "severity"), [(None, None), (1.0, "info")])
def test_training_without_run_backward(loss, severity):
    loop = Loop(backward=False)
    found = [one for index in range(1, 21) for one in loop.batch(index, loss) if one is not None]
    (missing,) = found
    assert (missing.severity, missing.evidence) == (severity, {"batches": 20, "with_backward": 0})
    assert missing.message == "no training batch called run.backward: 0 of 20 batches, so no plugin sees a gradient"
    short = Loop(backward=False)
    assert short.findings(2) == []
    assert len(short.end_epoch()) == 1
    single = Loop(backward=False)
    assert single.findings(1) == []
    assert single.end_epoch() == []


def test_which_batches_are_inspected(monkeypatch):
    monkeypatch.setattr(protocol, "PROTOCOL", ProtocolThresholds(first_batches=2, period=5))
    loop = Loop()
    loop.batch()  # from here on run.backward was called
    opened = [loop.detector.open_batch("train", loop.params) for _ in range(10)]
    assert [number for number, inspected in enumerate(opened, start=2) if inspected] == [2, 5, 6, 10, 11]


@pytest.mark.parametrize("params", [None, {"w": "no array"}])
def test_parameters_that_cannot_be_compared_are_no_fault(params):
    loop = Loop()
    loop.params = params
    assert loop.findings(9) == []
