import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from rnncallbacks import hookimpl, load_plugins
from rnncallbacks.cli.findings_output import role_rows
from rnncallbacks.doctor import loops_in_turn, script_examination
from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.roles.role_table import ParameterRole, Roles
from rnncallbacks.doctor.script_examination import ExaminationOptions, examine_script, is_doubtful
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.doctor.watched_script import ScriptTimeoutError

pytestmark = pytest.mark.usefixtures("forked_modules")

SCRIPTS = Path(__file__).parent / "scripts"


def examine(path, **options):
    return examine_script(path, [], load_plugins({"preset": "guards"}), ExaminationOptions(**options))


def codes(findings):
    return [cause.code for cause in findings.diagnosis.causes if cause.severity != "info"]


def patched(tmp_path, name, old, new):
    source = (SCRIPTS / name).read_text()
    assert source.count(old) == 1
    path = tmp_path / name
    path.write_text(source.replace(old, new))
    return path


def names(keys):
    return [key and key[2] for key in keys]


def test_a_flat_script():
    findings = examine(SCRIPTS / "flat_characters.py", max_batches=30)
    roles = findings.roles
    assert findings.loop.site.source == "while True:"
    assert (roles.loss[2], roles.loss_confidence) == ("loss", "certain")
    assert {one.name for one in roles.parameters} == {"Wxh", "Whh", "Why", "bh", "by"}
    assert {one.fallback[2] for one in roles.parameters} == {"dWxh", "dWhh", "dWhy", "dbh", "dby"}
    assert set(names(roles.optimizer_state)) == {"mWxh", "mWhh", "mWhy", "mbh", "mby"}
    assert names([roles.inputs, roles.targets, roles.hidden]) == ["inputs", "targets", "hs"]
    assert findings.batches == 30
    assert codes(findings) == []
    assert "RNN404" in findings.diagnosis.passed


def test_a_class_that_fits():
    findings = examine(SCRIPTS / "class_with_fit.py", max_batches=45)  # enough to judge its learning rate
    roles = findings.roles
    assert findings.loop.site.scope == "LSTM.fit"
    assert roles.loss_confidence == "certain"
    assert {one.name for one in roles.parameters} == {f"net.params['{name}']" for name in "WbVc"}
    assert len(roles.optimizer_state) == 8
    assert (roles.inputs[2], roles.targets[2]) == ("X", "Y")
    assert codes(findings) == []


def test_a_wrong_gradient_is_found(tmp_path):
    script = patched(tmp_path, "flat_characters.py", "(1 - hs[t] * hs[t]) * dh", "(1 - hs[t]) * dh")
    smaller = script.read_text().replace("hidden_size = 32", "hidden_size = 16")
    script.write_text(smaller.replace("seq_length = 25", "seq_length = 8"))
    findings = examine(script, max_batches=12)
    sources = [one.source for one in findings.lines["RNN404"]]
    assert "dhraw = (1 - hs[t]) * dh" in sources
    assert codes(findings)[:1] == ["RNN404"], (findings.batches, findings.stopped_by, str(findings.diagnosis))


def test_show_roles_judges_nothing():
    findings = examine(SCRIPTS / "flat_characters.py", roles_only=True)
    assert findings.diagnosis is None
    assert findings.roles.parameters


class FailingGuard:
    """Raises an error in the fifth batch."""

    @hookimpl
    def on_batch_end(self, run):
        if run.step == 5:
            raise ZeroDivisionError("division by zero")


def test_a_guard_that_fails_ends_the_examination_with_what_the_others_found():
    plugins = load_plugins({"preset": "guards"}) | {"failing": FailingGuard()}
    findings = examine_script(SCRIPTS / "flat_characters.py", [], plugins, ExaminationOptions(loop="53"))
    assert findings.failure.startswith("ZeroDivisionError: division by zero; in plugin 'failing', hook on_batch_end")
    assert findings.batches == 5
    assert "RNN403" in findings.diagnosis.passed


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_ctrl_c_before_the_roles_are_known_shows_the_loop_and_what_names_tell(monkeypatch):
    monkeypatch.setattr(script_examination, "infer_roles", interrupt)
    findings = examine(SCRIPTS / "flat_characters.py", loop="53")
    assert findings.interrupted
    assert findings.diagnosis is None
    rows = dict(role_rows(findings))
    assert rows["trains in"].endswith("flat_characters.py:53  while True:")
    assert (rows["loss"], rows["parameters"]) == ("loss   likely", "Wxh Whh Why bh by")
    assert rows["replay"].startswith("none")


def test_the_loop_of_a_notebook_is_named_by_its_cell(tmp_path):
    path = tmp_path / "rnn.ipynb"
    cells = [{"cell_type": "code", "source": text} for text in ("x = 1\ny = 2\n", "z = 3\nfor n in data:\n    pass\n")]
    path.write_text(json.dumps({"nbformat": 4, "cells": cells}))
    second = read_script(path).cells[1]
    loop = SimpleNamespace(site=Site("loop", str(path), second + 1, "for n in data:", "<module>"))
    findings = SimpleNamespace(loop=loop, batches=0, seconds=0.0, roles=None, interrupted=False)
    (row,) = role_rows(findings)
    assert row == ("trains in", f"{path}, code cell 2, line 2  for n in data:")


@pytest.mark.parametrize(
    ("module", "interrupted", "options", "row"),
    [
        (loops_in_turn, "search_loop", {}, ("trains in", "interrupted while searching the training loop")),
        (script_examination, "watched_script", {"loop": "53"}, ("", "interrupted while waiting for the loop ")),
    ],
)
def test_ctrl_c_while_the_script_has_not_reached_its_loop(monkeypatch, module, interrupted, options, row):
    monkeypatch.setattr(module, interrupted, interrupt)
    name, value = role_rows(examine(SCRIPTS / "flat_characters.py", **options))[-1]
    assert name == row[0]
    assert value.startswith(row[1])


ENDED = "no training loop was found: the script ended, and "
NO_LOOP = {
    "print('no training here')\n": f"{ENDED}its file has no loop",
    "for i in range(9):\n    x = i\n": f"{ENDED}no loop changed the same arrays in each iteration; see that",
}


@pytest.mark.parametrize("text", NO_LOOP)
def test_a_script_without_a_training_loop(tmp_path, text):
    (tmp_path / "script.py").write_text(text)
    findings = examine(tmp_path / "script.py")
    assert (findings.loop, findings.diagnosis) == (None, None)
    assert findings.no_loop.startswith(NO_LOOP[text])


def test_a_script_that_stays_in_one_statement_is_searched_once(monkeypatch, tmp_path):
    searched = []

    def search(assignment, _until, **_):
        searched.append(assignment.search)
        raise ScriptTimeoutError

    monkeypatch.setattr(loops_in_turn, "search_loop", search)
    (tmp_path / "script.py").write_text("import time\ntime.sleep(1000)\n")
    findings = examine(tmp_path / "script.py")
    assert searched == ["changing"]
    assert "raise --seconds, or name the loop" in findings.no_loop


@pytest.mark.parametrize(
    ("arrays", "confidence", "expected"), [(1, "unsure", True), (2, "unsure", False), (1, "likely", False)]
)
def test_a_loop_with_one_array_and_no_clear_loss_is_not_the_last(arrays, confidence, expected):
    parameters = tuple(ParameterRole(("end", "__main__", f"w{number}"), 1.0) for number in range(arrays))
    assert is_doubtful(Roles(loss=None, loss_confidence=confidence, parameters=parameters)) == expected
