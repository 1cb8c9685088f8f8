"""Each fault and trap differs from a healthy script, applies somewhere in both splits, and has codes that exist."""

import functools

import numpy as np
import pytest

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.testing.independent import (
    INDEPENDENT_FAULTS,
    INDEPENDENT_TASKS,
    INDEPENDENT_TRAPS,
    STYLES,
    IndependentCase,
    IndependentScript,
    Knobs,
    named_fault,
    run_independent_case,
)
from rnncallbacks.testing.independent.independent_changes import (
    growing_values,
    longer_and_longer,
    rare_class,
    shuffled_targets,
    targets_one_step_late,
)

EVERY = {**INDEPENDENT_FAULTS, **INDEPENDENT_TRAPS}


WATCHED_EPOCHS = 4
"""The first batches show all that the watched runs are about; updates of four batches leave none over."""


class Watcher:
    """Keeps what the plugins of a run are shown."""

    def __init__(self):
        self.losses, self.observed, self.closures, self.norms = [], set(), 0, []

    @hookimpl
    def on_backward(self, batch, grads):
        self.losses.append(batch.loss)
        self.observed |= set(batch.observed)
        self.closures += batch.closure is not None
        self.norms.append(float(np.sqrt(sum(np.sum(array**2) for array in grads.arrays))))


def watch(knobs, style="lists", level="bare"):
    """A watcher of a run, and the script: the same for all tests that ask for the same run."""
    return watched_run(knobs, style, level)


@functools.cache
def watched_run(knobs, style, level):
    watcher = Watcher()
    script = IndependentScript(style, "parity", "tanh", "sgd", 0, level, knobs)
    script.train({"watcher": watcher}, max_epochs=WATCHED_EPOCHS)
    return watcher, script


@pytest.mark.parametrize("fault", EVERY.values(), ids=lambda fault: fault.name)
def test_codes_exist_and_the_script_differs(fault):
    assert set(fault.codes) <= set(CATALOGUE)
    assert fault.healthy == (fault.name in INDEPENDENT_TRAPS)
    assert fault.knobs != Knobs()
    assert named_fault(fault.name) is fault


@pytest.mark.parametrize("split", STYLES)
@pytest.mark.parametrize("fault", EVERY.values(), ids=lambda fault: fault.name)
def test_it_applies_in_both_splits(fault, split):
    combinations = list(fault.combinations(split))
    assert combinations or (fault.name, split) == ("small_weights", "tune")
    for style, task, _, _ in combinations:
        assert style in STYLES[split]
        assert INDEPENDENT_TASKS[task].for_tuning == (split == "tune")


@pytest.mark.parametrize(
    ("level", "observed", "closure"),
    [
        ("bare", set(), False),
        ("states", {"entering_state", "hidden_states", "logits"}, False),
        ("closure", {"entering_state", "hidden_states", "logits"}, True),
    ],
)
@pytest.mark.parametrize("style", ["lists", "rows", "single"])
def test_a_level_shows_what_it_says(level, observed, closure, style):
    watcher, _ = watch(Knobs(), style, level=level)
    assert watcher.observed == observed
    assert watcher.closures == (len(watcher.losses) if closure else 0)


def test_levels_and_watchers_leave_the_training_alone():
    losses = {level: watch(Knobs(), level=level)[0].losses for level in ("bare", "states", "closure")}
    assert losses["bare"] == losses["states"] == losses["closure"]
    bare, shown = (watch(Knobs(), level=level)[1] for level in ("bare", "closure"))
    assert bare.clean_loss() == shown.clean_loss()


def test_sums_multiply_loss_and_gradient():
    healthy, summed = watch(Knobs()), watch(INDEPENDENT_FAULTS["sum_over_all"].knobs)
    assert summed[0].losses[0] == pytest.approx(8 * 16 * healthy[0].losses[0])
    assert summed[0].norms[0] == pytest.approx(8 * 16 * healthy[0].norms[0])
    mean_reported = watch(INDEPENDENT_FAULTS["mean_reported_sum_descended"].knobs)
    assert mean_reported[0].losses[0] == healthy[0].losses[0]
    assert mean_reported[0].norms[0] == pytest.approx(8 * 16 * healthy[0].norms[0])


def test_accumulation_updates_once_for_four_batches():
    own, growing = (watch(INDEPENDENT_TRAPS[name].knobs)[1] for name in ("accumulation", "growing_accumulation"))
    assert own.clean_loss() == pytest.approx(growing.clean_loss(), rel=1e-9)
    plain = watch(Knobs())[1]
    assert own.optimizer.updates * 4 == plain.optimizer.updates


def test_an_update_is_forgotten_flipped_or_partial():
    def change(knobs):
        before = IndependentScript("lists", "parity", "tanh", "sgd", 0, "bare", knobs).net.params
        after = watch(knobs)[1].net.params
        return {name: float(np.abs(after[name] - before[name]).max()) for name in before}

    assert set(change(INDEPENDENT_FAULTS["no_update"].knobs).values()) == {0.0}
    assert set(change(INDEPENDENT_FAULTS["update_of_a_copy"].knobs).values()) == {0.0}
    forgotten = change(INDEPENDENT_FAULTS["forgotten_array"].knobs)
    assert [name for name, value in forgotten.items() if value == 0.0] == ["Wy"]
    assert change(INDEPENDENT_FAULTS["flipped_update"].knobs)["W"] > 0.0


def test_frozen_inputs_stay_and_the_state_learns():
    knobs = INDEPENDENT_TRAPS["frozen_inputs"].knobs
    before = IndependentScript("lists", "parity", "lstm", "sgd", 0, "bare", knobs).net.params["W"]
    script = IndependentScript("lists", "parity", "lstm", "sgd", 0, "bare", knobs)
    script.train({}, max_epochs=WATCHED_EPOCHS)
    moved = script.net.params["W"] != before
    assert moved[:, :24].all()
    assert not moved[:, 24:].any()


def test_data_changes():
    generator = np.random.default_rng(0)
    task = INDEPENDENT_TASKS["bag"]
    pairs = task.batches(1, 25, 1)
    shuffled = shuffled_targets(pairs, generator, task)
    assert sorted(int(y[0]) for _, y in shuffled) == sorted(int(y[0]) for _, y in pairs)
    assert any(one[1][0] != two[1][0] for one, two in zip(pairs, shuffled, strict=True))
    assert all(one[0] is two[0] for one, two in zip(pairs, shuffled, strict=True))
    assert {int(y[0]) for _, y in rare_class(pairs, generator, task)} == {0, 3}
    words = INDEPENDENT_TASKS["dyck"].batches(1, 4, 2)
    for (x, y), (later_x, later_y) in zip(words, targets_one_step_late(words, generator, task), strict=True):
        assert np.array_equal(later_x[2:], later_y[:-2])
        assert len(later_x) == len(x) - 1
        assert np.array_equal(later_y, y[1:])
    assert [len(x) for x, _ in longer_and_longer(words, generator, task)] == [4, 8, 12, 16]
    series = INDEPENDENT_TASKS["sine"].batches(1, 3, 2)
    grown = growing_values(series, generator, INDEPENDENT_TASKS["sine"])
    factors = [float((new / old).mean()) for (_, old), (_, new) in zip(series, grown, strict=True)]
    assert factors == pytest.approx([0.2, 1.1, 2.0])


def test_an_outcome_says_what_was_named_and_whether_it_harmed():
    case = IndependentCase("nan_gradient", "rows", "parity", "tanh", "adam", 0, "bare")
    outcome = run_independent_case(case)
    assert outcome.named
    assert not outcome.passed_falsely
    assert np.isnan(outcome.clean_loss)
    twin = case.twin_loss()
    assert outcome.harmed(twin)
    assert outcome.learned(twin)
    silent = run_independent_case(case, plugins={}, max_epochs=WATCHED_EPOCHS)
    assert silent.alarms == ()
    assert not silent.named


def test_a_wrong_report_harms_by_definition():
    case = IndependentCase("loss_over_nothing", "lists", "parity", "tanh", "adam", 0, "bare")
    outcome = run_independent_case(case, plugins={})
    twin = case.twin_loss()
    assert outcome.clean_loss == twin
    assert outcome.harmed(twin)
