"""Running a script in this process."""

import sys
from pathlib import Path

import pytest

from rnncallbacks.cli.script_runner import run_script
from rnncallbacks.errors import DataError


def write(text: str) -> Path:
    Path("script.py").write_text(text)
    return Path("script.py")


def test_a_script_gets_its_arguments_and_leaves_no_trace(capsys):
    before = list(sys.argv), list(sys.path)
    outcome = run_script(write("import sys\nprint(__name__, sys.argv)"), ["--seed", "3"])
    assert (outcome.error_line, outcome.interrupted) == (None, False)
    assert capsys.readouterr().out == "__main__ ['script.py', '--seed', '3']\n"
    assert (sys.argv, sys.path) == before


def test_an_error_is_one_line_without_its_notes(capsys):
    outcome = run_script(write("e = ValueError('mine')\ne.add_note('a note')\nraise e"), [])
    assert outcome.error_line == "ValueError: mine"
    assert "runpy" not in capsys.readouterr().err


def test_ctrl_c_is_no_error():
    outcome = run_script(write("raise KeyboardInterrupt"), [])
    assert (outcome.error_line, outcome.interrupted) == (None, True)


def test_a_script_that_is_not_there():
    write("")
    with pytest.raises(DataError, match=r"scirpt.py: there is no such file\n.*did you mean 'script.py'"):
        run_script(Path("scirpt.py"), [])
