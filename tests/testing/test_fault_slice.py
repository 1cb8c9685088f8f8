"""A slice of the fault benchmark: guards name every fault, and raise no alarm in traps and healthy runs.

Each fault runs in a combination in which it is harmful, and in the loops in which it can be detected. The seeds are of
the half on which thresholds were set. If a case fails, a guard has become worse.
"""

import pytest

from rnncallbacks.testing import FAULTS, TRAPS, run_case

LOOPS = ("loop", "plain_loop")
ALL = ("trainer", *LOOPS)
OBSERVED = ("trainer", "loop")
"""Loops with a closure. Without one, an incomplete gradient looks correct."""

HARMFUL = {
    "loss_by_samples": (ALL, "echo", "relu", "momentum"),
    "loss_by_nothing": (ALL, "characters", "tanh", "adam"),
    "loss_by_batch_size": (ALL, "stream", "relu", "adam"),
    "validation_by_samples": (ALL, "echo", "tanh", "adagrad"),
    "state_leak": (ALL, "echo", "tanh", "sgd"),
    "state_leak_own": (("loop",), "echo", "relu", "momentum"),
    "state_of_one_column": (("loop",), "echo", "relu", "rmsprop"),
    "stream_reset": (ALL, "recall", "relu", "momentum"),
    "sum_over_steps": (ALL, "stream", "tanh", "sgd"),
    "sum_over_batch": (ALL, "stream", "tanh", "sgd"),
    "sum_over_all": (ALL, "characters", "tanh", "sgd"),
    "squared_error": (ALL, "stream", "tanh", "sgd"),
    "huge_weights": (ALL, "stream", "tanh", "momentum"),
    "huge_output_weights": (OBSERVED, "echo", "relu", "momentum"),
    "explosion": (ALL, "stream", "relu", "sgd", 4),
    "explosion_momentum": (("loop",), "characters", "relu", "momentum", 0),
    "nan_input": (LOOPS, "stream", "relu", "rmsprop"),
    "infinite_loss": (ALL, "characters", "tanh", "adagrad"),
    "nan_gradient": (ALL, "characters", "tanh", "sgd"),
    "missing_transpose": (ALL, "echo", "tanh", "momentum", 2),
    "dropped_term": (OBSERVED, "echo", "tanh", "adagrad"),
    "sign_error": (ALL, "echo", "relu", "adam", 4),
    "zero_gradient": (ALL, "echo", "relu", "rmsprop"),
    "mean_reported_sum_descended": (OBSERVED, "characters", "tanh", "sgd"),
    "never_zeroed": (ALL, "stream", "relu", "sgd"),
    "saturated": (OBSERVED, "echo", "tanh", "adagrad"),
    "rate_x10": (ALL, "stream", "tanh", "sgd"),
    "rate_x30": (ALL, "characters", "tanh", "adagrad"),
    "rate_x100": (ALL, "stream", "relu", "adagrad"),
    "rate_x0.001": (ALL, "stream", "tanh", "adam"),
    "no_update": (ALL, "characters", "relu", "sgd"),
    "update_of_a_copy": (ALL, "characters", "tanh", "adam"),
    "updates_first": (LOOPS, "echo", "relu", "adam"),
    "records_only": (LOOPS, "stream", "relu", "adagrad"),
    "trains_in_validation": (LOOPS, "echo", "relu", "momentum"),
    "shuffled_labels": (ALL, "characters", "relu", "momentum"),
    "few_samples": (("trainer",), "characters", "relu", "adagrad"),
}
HARMLESS = {"zeros_of_one_column": (LOOPS, "echo", "relu", "rmsprop")}
"""Faults for which a note is enough: broadcast zeros are zeros."""

LATE = ("nan_input", "infinite_loss", "nan_gradient", "rate_x0.001", "no_update", "update_of_a_copy")
"""Faults that only the second epoch shows, in one of the loops at least."""
SLOW = ("few_samples",)
"""Faults that only a whole run shows."""
SCHEDULED = ("warmup", "one_cycle")
"""Traps whose learning rate changes until the end of a run."""


def reported(fault, *case):
    return codes_of(run_case(fault, *case, max_epochs=epochs_for(fault)))


def codes_of(outcome):
    return {alarm.code for alarm in outcome.reported}


def epochs_for(fault):
    """Most faults show in the first epoch. Healthy runs and traps are whole runs."""
    return {**dict.fromkeys(FAULTS, 1), **dict.fromkeys(LATE, 2), **dict.fromkeys(SLOW)}.get(fault)


def test_every_fault_is_in_the_slice():
    assert set(HARMFUL) | set(HARMLESS) == set(FAULTS)


def in_turn(loops_of_cases):
    """Each case in one of its loops, in turn; the gate runs the others with the benchmarks."""
    return [
        pytest.param(*case, loop, marks=() if place == number % len(loops) else pytest.mark.benchmarks)
        for number, (case, loops) in enumerate(loops_of_cases.items())
        for place, loop in enumerate(loops)
    ]


@pytest.mark.parametrize(("name", "loop"), in_turn({(name,): loops for name, (loops, *_) in HARMFUL.items()}))
def test_a_fault_is_named_exactly(name, loop):
    _, task, cell, optimizer, *seed = HARMFUL[name]
    codes = reported(name, task, cell, optimizer, *(seed or [0]), loop)
    assert codes & set(FAULTS[name].codes)
    assert len(codes) == 1


@pytest.mark.parametrize(
    ("name", "task", "cell", "optimizer"),
    [
        ("state_leak", "characters", "gru", "adagrad"),
        ("stream_reset", "stream", "lstm", "rmsprop"),
        ("squared_error", "stream", "lstm", "adam"),
        ("nan_gradient", "echo", "gru", "adagrad"),
        ("missing_transpose", "characters", "lstm", "adagrad"),
        ("sign_error", "stream", "gru", "adam"),
        ("never_zeroed", "stream", "gru", "adagrad"),
        ("rate_x100", "echo", "gru", "adam"),
        ("update_of_a_copy", "characters", "lstm", "adam"),
    ],
)
def test_the_cause_is_named_in_gated_cells_too(name, task, cell, optimizer):
    codes = reported(name, task, cell, optimizer, 0, "trainer")
    assert codes & set(FAULTS[name].codes)
    assert len(codes) == 1


@pytest.mark.parametrize(("task", "cell", "optimizer"), [("echo", "gru", "adam"), ("stream", "lstm", "adagrad")])
def test_a_healthy_gated_cell_raises_no_alarm(task, cell, optimizer):
    assert reported("healthy", task, cell, optimizer, 2, "trainer") == set()


@pytest.mark.parametrize(("name", "loop"), [(name, loop) for name in HARMLESS for loop in HARMLESS[name][0]])
def test_a_harmless_fault_raises_a_note(name, loop):
    outcome = run_case(name, *HARMLESS[name][1:], 0, loop, max_epochs=3)
    assert {alarm.code for alarm in outcome.causes} == set(FAULTS[name].codes)
    assert not outcome.reported


@pytest.mark.parametrize(
    ("number", "max_epochs"),
    [
        *(
            pytest.param(number, None if name in SCHEDULED else 4, id=name)
            for number, name in enumerate(TRAPS)
            if name != "long_plateau"
        ),
        # Whole runs: the gate has them with the benchmarks. The tests of progress_guard, which is the guard that the
        # end of a run could mislead, have whole runs too.
        *(
            pytest.param(number, None, id=f"{name}-whole", marks=pytest.mark.benchmarks)
            for number, name in enumerate(TRAPS)
            if name not in SCHEDULED
        ),
    ],
)
def test_a_trap_raises_no_alarm(number, max_epochs):
    trap = list(TRAPS.values())[number]
    loop = trap.loops[number % len(trap.loops)]
    combinations = trap.combinations(loop)
    task, cell, optimizer = combinations[7 * number % len(combinations)]
    outcome = run_case(trap.name, task, cell, optimizer, 2, loop, max_epochs=max_epochs)
    assert codes_of(outcome) == set()
    if trap.name == "long_plateau":  # is long, and ends
        assert outcome.batches == 1200
        assert outcome.true_loss < 0.2


HEALTHY_RUNS = [("characters", "tanh", "sgd"), ("echo", "tanh", "adam"), ("stream", "relu", "momentum")]


@pytest.mark.parametrize(("task", "cell", "optimizer", "loop"), in_turn(dict.fromkeys(HEALTHY_RUNS, ALL)))
def test_a_healthy_run_raises_no_alarm(task, cell, optimizer, loop):
    assert reported("healthy", task, cell, optimizer, 2, loop) == set()
