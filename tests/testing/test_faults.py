"""Each fault and trap is one: it changes the training, in every loop that it names, and the healthy training works."""

import math

import attrs
import pytest

from rnncallbacks.catalogue import CATALOGUE
from rnncallbacks.testing import CELLS, FAULTS, HEALTHY, OPTIMISERS, TASKS, THROUGH, TRAPS, run_case
from rnncallbacks.testing.setups import healthy

EVERY = {**FAULTS, **TRAPS}


@pytest.mark.parametrize("fault", EVERY.values(), ids=lambda fault: fault.name)
def test_where_it_applies_exists(fault):
    assert set(fault.codes) <= set(CATALOGUE)
    assert bool(fault.codes) == (fault.kind == "fault")
    assert set(fault.tasks) <= set(TASKS)
    assert set(fault.cells) <= set(CELLS)
    assert set(fault.optimisers) <= set(OPTIMISERS)
    assert set(fault.through) <= set(THROUGH)
    assert all((fault.tasks, fault.cells, fault.optimisers, fault.through))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_it_changes_the_setup(fault):
    before, after = (healthy(fault.tasks[0], fault.cells[0], fault.optimisers[0], 0, "loop") for _ in range(2))
    fault.change(after)
    same = {"train", "validation"}  # loaders, which are never equal
    changed = [
        field.name
        for field in attrs.fields(type(before))
        if field.name not in same and getattr(before, field.name) != getattr(after, field.name)
    ]
    assert changed or type(after.train) is not type(before.train)


@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("task", ["characters", "stream", "echo", "recall", "anbn", "anbn_single", "waves"])
def test_healthy_trainings_learn(task, through):
    outcome = run_case(HEALTHY, task, "tanh", "adam", 1, through, plugins=[])
    assert outcome.true_loss < 0.75 * outcome.first_loss
    if not TASKS[task].regression:
        assert outcome.first_loss == pytest.approx(math.log(TASKS[task].vocab_size), rel=0.15)


def test_the_long_plateau_is_long_and_heals():
    losses = run_case("long_plateau", "parity", "tanh", "sgd", 1, "trainer", plugins=[])
    assert losses.batches == 1200
    assert losses.true_loss < 0.2
