from pathlib import Path

import pytest

from rnncallbacks import load_plugins
from rnncallbacks.doctor.script_examination import ExaminationOptions, examine_script

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parents[2]


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
    findings = examine(SCRIPTS / "flat_characters.py")
    roles = findings.roles
    assert findings.loop.site.source == "while True:"
    assert (roles.loss[2], roles.loss_confidence) == ("loss", "certain")
    assert {one.name for one in roles.parameters} == {"Wxh", "Whh", "Why", "bh", "by"}
    assert {one.fallback[2] for one in roles.parameters} == {"dWxh", "dWhh", "dWhy", "dbh", "dby"}
    assert set(names(roles.optimizer_state)) == {"mWxh", "mWhh", "mWhy", "mbh", "mby"}
    assert names([roles.inputs, roles.targets, roles.hidden]) == ["inputs", "targets", "hs"]
    assert findings.batches == 80
    assert codes(findings) == []
    assert "RNN404" in findings.diagnosis.passed


def test_a_class_that_fits():
    findings = examine(SCRIPTS / "class_with_fit.py")
    roles = findings.roles
    assert findings.loop.site.scope == "LSTM.fit"
    assert roles.loss_confidence == "certain"
    assert {one.name for one in roles.parameters} == {f"net.params['{name}']" for name in "WbVc"}
    assert len(roles.optimizer_state) == 8
    assert (roles.inputs[2], roles.targets[2]) == ("X", "Y")
    assert codes(findings) == []


def test_the_founding_script_is_told_what_the_wrapped_one_is_told():
    findings = examine(ROOT / "examples" / "broken_loop.py")
    assert findings.roles.learning_rate == pytest.approx(0.5)
    assert findings.roles.loss_confidence == "certain"
    assert {"RNN301", "RNN201"} <= set(codes(findings))
    assert findings.report[2] == "train_losses"


def test_a_wrong_gradient_is_found(tmp_path):
    script = patched(tmp_path, "flat_characters.py", "(1 - hs[t] * hs[t]) * dh", "(1 - hs[t]) * dh")
    findings = examine(script)
    sources = [one.source for one in findings.lines["RNN404"]]
    assert "dhraw = (1 - hs[t]) * dh" in sources
    assert codes(findings)[:1] == ["RNN404"], (findings.batches, findings.stopped_by, str(findings.diagnosis))


def test_show_roles_judges_nothing():
    findings = examine(SCRIPTS / "flat_characters.py", roles_only=True)
    assert findings.diagnosis is None
    assert findings.roles.parameters


def test_a_script_without_a_loop(tmp_path):
    script = tmp_path / "nothing.py"
    script.write_text("print('no training here')\n")
    findings = examine(script)
    assert findings.loop is None
    assert findings.diagnosis is None
