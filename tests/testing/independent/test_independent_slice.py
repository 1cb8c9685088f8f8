"""A slice of the independent benchmark: the guards name these faults, and raise no alarm in these healthy runs.

No case is of the split "report": they have styles or tasks of the split "tune".
"""

import functools

import pytest

from rnncallbacks.testing.independent import IndependentCase, named_fault, run_independent_case

NAMED = [
    IndependentCase("loss_over_nothing", "single", "parity", "tanh", "adam", 0, "bare"),
    IndependentCase("nan_gradient", "rows", "parity", "lstm", "rmsprop", 0, "bare"),
    IndependentCase("no_update", "lists", "depth", "lstm", "momentum", 0, "bare"),
    IndependentCase("rate_x0.001", "lists", "lagged", "gru", "momentum", 0, "bare"),
    IndependentCase("rate_x100", "lists", "copy", "gru", "adagrad", 0, "bare"),
    IndependentCase("sum_over_batch", "lists", "lagged", "tanh", "sgd", 0, "bare"),
    IndependentCase("validation_trains", "lists", "depth", "tanh", "sgd", 0, "bare"),
    IndependentCase("state_leak", "lists", "copy", "gru", "adam", 0, "states"),
    IndependentCase("stream_reset", "lists", "lagged", "lstm", "adagrad", 0, "states"),
    IndependentCase("missing_transpose", "lists", "copy", "gru", "momentum", 0, "closure"),
    IndependentCase("never_zeroed", "rows", "parity", "tanh", "sgd", 0, "closure"),
]
SILENT = [
    IndependentCase("healthy", "lists", "lagged", "gru", "adam", 0, "closure"),
    IndependentCase("healthy", "rows", "parity", "tanh", "sgd", 0, "states"),
    IndependentCase("healthy", "single", "depth", "tanh", "adagrad", 0, "bare"),
    IndependentCase("frozen_inputs", "lists", "sine", "lstm", "sgd", 0, "closure"),
    IndependentCase("accumulation", "rows", "copy", "tanh", "adam", 0, "states"),
    IndependentCase("closure_adds_gradients", "lists", "parity", "tanh", "adam", 0, "closure"),
]


def identifier(case):
    return "-".join([case.fault, case.style, case.task])


LONG = ("lagged", "depth", "sine")
"""Tasks whose whole runs take a second each; those of the others are whole."""


@functools.cache
def outcome_of(case):
    return run_independent_case(case, **({"max_epochs": 6} if case.task in LONG else {}))


@pytest.mark.parametrize("case", NAMED, ids=identifier)
def test_a_fault_is_named(case):
    outcome = run_independent_case(case, max_epochs=5)  # each is named within 60 batches
    assert outcome.named
    assert not outcome.passed_falsely
    assert {alarm.code for alarm in outcome.reported} <= set(named_fault(case.fault).codes)


@pytest.mark.parametrize("case", SILENT, ids=identifier)
def test_a_healthy_script_raises_no_alarm(case):
    outcome = outcome_of(case)
    assert [outcome.headlines[alarm.code] for alarm in outcome.reported] == []


def test_guards_do_not_change_a_run():
    case = SILENT[-1]
    assert outcome_of(case).clean_loss == case.twin_loss()
