"""Each fault changes the setup in every loop that it names, and healthy runs learn."""

import math

import attrs
import numpy as np
import pytest

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.testing import CELLS, FAULTS, HEALTHY, LOOPS, OPTIMIZERS, TASKS, TRAPS, run_case
from rnncallbacks.testing.scoring import harmful
from rnncallbacks.testing.setup_changes import NON_FINITE_BATCH
from rnncallbacks.testing.setups import UNLEARNED, healthy

EVERY = {**FAULTS, **TRAPS}


@pytest.mark.parametrize("fault", EVERY.values(), ids=lambda fault: fault.name)
def test_where_it_applies_exists(fault):
    assert set(fault.codes) <= set(CATALOGUE)
    assert bool(fault.codes) == (fault.kind == "fault")
    assert set(fault.tasks) <= set(TASKS)
    assert set(fault.cells) <= set(CELLS)
    assert set(fault.optimizers) <= set(OPTIMIZERS)
    assert set(fault.loops) <= set(LOOPS)
    assert all((fault.tasks, fault.cells, fault.optimizers, fault.loops))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_it_changes_the_setup(fault):
    before, after = (healthy(fault.tasks[0], fault.cells[0], fault.optimizers[0], 0, "loop") for _ in range(2))
    fault.change(after)
    same = {"train", "validation"}  # loaders, which are never equal
    changed = [
        field.name
        for field in attrs.fields(type(before))
        if field.name not in same and getattr(before, field.name) != getattr(after, field.name)
    ]
    assert changed or type(after.train) is not type(before.train)


LEARNED = ["characters", "stream", "echo", "recall", "anbn", "anbn_single", "waves"]


@pytest.mark.parametrize(
    ("task", "loop"),
    [  # Each task in one loop, in turn; the gate runs the others with the benchmarks.
        pytest.param(task, loop, marks=() if number % len(LOOPS) == place else pytest.mark.benchmarks)
        for number, task in enumerate(LEARNED)
        for place, loop in enumerate(LOOPS)
    ],
)
def test_healthy_runs_learn(task, loop):
    outcome = run_case(HEALTHY, task, "tanh", "adam", 1, loop, plugins=[], max_epochs=5)
    assert outcome.true_loss < 0.75 * outcome.first_loss
    if not TASKS[task].regression:
        assert outcome.first_loss == pytest.approx(math.log(TASKS[task].vocab_size), rel=0.15)


def test_combinations_that_learn_nothing_are_left_out():
    combinations = FAULTS["state_leak"].combinations("loop")
    assert ("echo", "tanh", "sgd") in combinations
    assert not set(combinations) & UNLEARNED


def test_gated_cells_run_in_the_trainer_with_faults_of_all_cells():
    assert ("echo", "lstm", "adam") in FAULTS["state_leak"].combinations("trainer")
    assert ("echo", "gru", "sgd") not in FAULTS["state_leak"].combinations("trainer")
    assert not any("lstm" in one for one in FAULTS["state_leak"].combinations("loop"))
    assert not any("lstm" in one for one in FAULTS["saturated"].combinations("trainer"))


def test_big_steps_are_healthy():
    case = ("words", "tanh", "sgd", 1, "trainer", [])
    outcome = run_case("big_steps", *case)
    assert not harmful(TRAPS["big_steps"], outcome, run_case(HEALTHY, *case))


@pytest.mark.parametrize(("fault", "optimizer"), [("explosion", "sgd"), ("explosion_momentum", "momentum")])
def test_an_explosion_is_harmful_and_clipping_repairs_it(fault, optimizer):
    case = ("characters", "relu", optimizer, 3, "trainer", [])
    twin = run_case(HEALTHY, *case)
    assert harmful(FAULTS[fault], run_case(FAULTS[fault], *case), twin)

    def clipped(setup):
        FAULTS[fault].change(setup)
        setup.max_norm = 5.0

    cured = attrs.evolve(FAULTS[fault], change=clipped)
    assert not harmful(cured, run_case(cured, *case), twin)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_infinite_loss_comes_with_non_finite_gradients(loop):
    seen = []

    class FinitenessRecorder:
        @hookimpl(tryfirst=True)
        def on_backward(self, batch, grads):
            finite = all(np.isfinite(array).all() for array in grads.arrays)
            seen.append((np.isfinite(batch.loss), finite))

    run_case("infinite_loss", "anbn", "tanh", "adam", 1, loop, plugins=[FinitenessRecorder()], max_epochs=2)
    assert seen.index((False, False)) == NON_FINITE_BATCH - 1
    assert set(seen[: NON_FINITE_BATCH - 1]) == {(True, True)}
