"""The tree of errors: each is caught by its root and by the built-in that a reader expects, and says what to do."""

import pytest

from rnncallbacks import errors
from rnncallbacks.alarms.alarm import Alarm, AlarmRaised


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.RunStateError, RuntimeError),
        (errors.ContainerError, TypeError),
        (errors.LossError, TypeError),
        (errors.ShapeError, ValueError),
        (errors.DataError, ValueError),
        (errors.OptionError, ValueError),
        (errors.PluginError, TypeError),
        (errors.CheckpointError, ValueError),
    ],
)
def test_an_error_is_one_of_the_library_and_one_of_pythons(kind, builtin):
    error = kind("expected 3, got 4", hint="write 3")
    assert isinstance(error, errors.RnnCallbacksError)
    assert isinstance(error, builtin)
    assert str(error) == "expected 3, got 4\n  hint: write 3"
    assert (error.message, error.hint) == ("expected 3, got 4", "write 3")


def test_without_a_hint_the_message_stands_alone():
    assert str(errors.ShapeError("shapes (2,) and (3,)")) == "shapes (2,) and (3,)"


def test_a_configuration_error_lists_every_problem():
    error = errors.ConfigurationError(["a: unknown", "b: below 0"], hint="see the reference")
    assert isinstance(error, ValueError)
    assert error.problems == ["a: unknown", "b: below 0"]
    assert str(error).splitlines() == ["a: unknown", "b: below 0", "  hint: see the reference"]


def test_a_raised_alarm_carries_the_alarm_and_its_remedy():
    alarm = Alarm(
        code="RNN602",
        cause="divergence",
        message="it rose",
        evidence={},
        remedy="lower it",
        severity="error",
        epoch=1,
        step=2,
    )
    error = AlarmRaised(alarm)
    assert isinstance(error, errors.RnnCallbacksError)
    assert error.alarm is alarm
    assert str(error) == "RNN602 it rose\n  hint: lower it"


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("on_epoch_ends", ["on_epoch_end", "on_fit_end"], "did you mean 'on_epoch_end'?"),
        ("zzz", ["on_epoch_end"], ""),
        ("zzz", [], ""),
    ],
)
def test_closest_names_the_nearest_known_word_or_nothing(word, known, expected):
    assert errors.closest(word, known) == expected


def test_an_error_of_several_lines_becomes_one_with_its_hint():
    assert errors.one_line(errors.OptionError("first\n  second", hint="do this")) == "first; second; do this"
    assert errors.one_line(errors.OptionError("first")) == "first"
    assert errors.one_line(KeyError("x")) == "KeyError: 'x'"
    assert errors.one_line(ValueError("expected 1", "field", 2)) == "expected 1"
