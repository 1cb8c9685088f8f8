"""The diagnosis in the terminal, in full."""

import io
import os
import sys

import pytest
from rich.console import Console

from rnncallbacks.alarms.alarm import make_alarm
from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.alarms.diagnosis_content import Repair
from rnncallbacks.reporting.terminal import show_diagnosis, terminal_console, write_field, write_line


def alarm(code, message="seen", **changes):
    values = {"cause": None, "remedy": None, "severity": None, "action": "warn", "epoch": 1, "step": 2}
    return make_alarm(code, message, {"loss": 2.5}, **(values | changes))


def shown(diagnosis, width=200):
    out = io.StringIO()
    show_diagnosis(Console(file=out, width=width, highlight=False), diagnosis)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.fixture
def diagnosis():
    found = Diagnosis()
    found.add(alarm("RNN602", "it rose [bold]"))
    found.add(alarm("RNN501", "too far"))
    found.add(alarm("RNN402", "they vanish"))
    found.repairs.append(Repair(code="RNN501", what="learning rate x 0.5", epoch=1, step=2))
    found.check("RNN201", "3 of 3 batches")
    found.report_cannot_tell("RNN601", "the loss is noisy")
    for code in ("RNN404", "RNN405"):
        found.cannot_check(code, "pass closure= to run.backward")
    found.cannot_check("ACME1", "no idea")
    return found


def test_all_of_it(diagnosis):
    assert shown(diagnosis) == [
        "fired",
        "  RNN501 the learning rate is too high (epoch 1, step 2)",
        "    too far",
        "    loss = 2.5",
        f"    remedy: {CATALOGUE['RNN501'].remedy}",
        "    consequence: RNN602 divergence (epoch 1, step 2)",
        "      it rose [bold]",
        "    consequence: RNN402 gradients vanish through time (epoch 1, step 2)",
        "      they vanish",
        "repaired",
        "  RNN501: learning rate x 0.5 (epoch 1, step 2)",
        "passed: compared, and no fault found",
        "  RNN201 the hidden state leaks between unrelated sequences: 3 of 3 batches",
        "cannot tell: the evidence does not decide",
        "  RNN601 plateau: the loss is noisy",
        "not checked: evidence is missing",
        "  no idea",
        "    ACME1",
        "  pass closure= to run.backward",
        "    RNN404 the gradient does not match the loss",
        "    RNN405 the gradient is off by a constant factor",
    ]


def test_a_note_did_not_fire():
    found = Diagnosis()
    found.add(alarm("RNN402"))
    assert shown(found)[0] == "noticed"


def test_notes_come_behind_what_fired():
    found = Diagnosis()
    for code in ("RNN402", "RNN101", "RNN201"):
        found.add(alarm(code))
    heads = [line[:8] for line in shown(found) if not line.startswith("    ")]
    assert heads == ["fired", "  RNN101", "  RNN201", "noticed", "  RNN402"]


def test_nothing_is_shown_of_nothing():
    assert shown(Diagnosis()) == []


@pytest.mark.parametrize("width", [40, 80])
def test_it_fits_the_terminal(diagnosis, width):
    assert max(map(len, shown(diagnosis, width))) <= width


def test_a_pipe_that_its_reader_closed_ends_the_output_and_not_the_process(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        write_line(None, "nobody reads this")
        print("nor this", flush=True)


def test_without_a_console_lines_are_plain_and_whole(diagnosis, capsys):
    show_diagnosis(None, diagnosis)
    assert capsys.readouterr().out == f"{diagnosis}\n"


def test_passed_checks_can_be_counted_in_place_of_listed(diagnosis, capsys):
    show_diagnosis(None, diagnosis, list_passed=False)
    out = capsys.readouterr().out
    assert "checks passed: 1\n" in out
    assert "RNN201" not in out


def test_severities_have_styles():
    found = Diagnosis()
    found.add(alarm("RNN501"))
    out = io.StringIO()
    show_diagnosis(Console(file=out, width=200, force_terminal=True, color_system="standard"), found)
    assert "\x1b[1;31mRNN501 " in out.getvalue()


def test_a_field_continues_below_its_value():
    out = io.StringIO()
    write_field(Console(file=out, width=20), "name", "one two three four")
    assert [line.rstrip() for line in out.getvalue().splitlines()] == ["name one two three", "     four"]


def test_a_field_in_a_pipe_is_one_line(capsys):
    write_field(None, "name", "one two three four")
    assert capsys.readouterr().out == "name one two three four\n"


class Stream(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "term", "has_console"),
    [(True, "xterm", True), (True, "dumb", False), (True, None, True), (False, "xterm", False)],
)
def test_only_a_terminal_that_moves_its_cursor_gets_a_console(monkeypatch, is_terminal, term, has_console):
    monkeypatch.setattr("sys.stdout", Stream(is_terminal))
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert (terminal_console() is not None) is has_console


def test_without_rich_there_is_no_console(monkeypatch):
    monkeypatch.setattr("sys.stdout", Stream(True))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert terminal_console() is None


def test_control_characters_of_a_text_are_escaped(capsys):
    write_line(None, "the loss\x1b[2J rose", indent=2)
    write_field(None, "na\x07me", "val\x9bue")
    assert capsys.readouterr().out == "  the loss\\x1b[2J rose\nna\\x07me val\\x9bue\n"
