"""Parameters that never change are found beside those that do, under any name of these."""

import math

import attrs
import numpy as np
import pytest

from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.frozen_siblings import find_frozen_siblings
from rnncallbacks.doctor.watch_messages import ReplayRequest

LOSS = ("end", "__main__", "loss")


def key(name):
    return "end", "__main__", name


@attrs.define
class Replay:
    """Iterations of two layers, whose loss is the sum of the products of weights and gradients."""

    record: IterationRecord

    def replay(self, request):
        weights = {**self.record.start, **request.pushes}
        loss = sum(np.sum(weights[key(f"net[{k}].w[0]")] * self.record.end[key(f"net[{k}].g[0]")]) for k in range(2))
        return attrs.evolve(self.record, end={**self.record.end, **weights, LOSS: loss})


@pytest.mark.parametrize(("identity", "found"), [(2, ["net[1].w[0]"]), (3, [])])
def test_an_item_beside_another_name_of_a_parameter_may_be_a_parameter(identity, found):
    draws = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    trained, frozen = np.ones((3, 4)), np.full((3, 4), 2.0)
    records = []
    for number, gradients in enumerate(draws):
        start = {key("net[1].w[0]"): frozen} | {key(name): trained - number for name in ("net[0].w[0]", "pairs[0][0]")}
        identities = {key("net[1].w[0]"): 1, key("net[0].w[0]"): 2, key("pairs[0][0]"): identity}
        end = {key(f"net[{k}].g[0]"): one for k, one in enumerate(gradients)} | {key("net[1].w[0]"): frozen}
        end |= {name: value - 1.0 for name, value in start.items() if name not in end}
        records.append(IterationRecord(number + 1, 1, start=start, end=end, start_identities=identities))
        records[-1] = Replay(records[-1]).replay(ReplayRequest())
        records[-1].identities = identities
    replays = [Replay(record) for record in records]
    siblings = find_frozen_siblings(records, *replays, math.inf, {key("pairs[0][0]"): []})
    assert [push.key[2] for push, _ in siblings] == found
