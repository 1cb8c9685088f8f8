"""``rnncallbacks doctor``: real scripts, healthy and sick, whole and broken."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.cli import loop_examination
from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.cli.script_modules import misplaced_options
from rnncallbacks.config.configuration import GUARDS
from rnncallbacks.core.run import Run
from rnncallbacks.doctor.script_findings import ScriptFindings

EXAMPLES = Path(__file__).parents[2] / "examples"

# A loop that does what it is told: its loss falls, and so do its parameters.
SCRIPT = """
    import sys
    import numpy as np
    from rnncallbacks import Run

    params = {"w": np.linspace(1.0, 2.0, 8)}
    with Run(params, learning_rate=0.1) as run:
        for epoch in run.epochs(EPOCHS):
            for target in run.batches([0.5] * BATCHES):
                loss = float(((params["w"] - target) ** 2).mean())
                grads = run.backward(loss, {"w": 2 * (params["w"] - target) / 8})
                if UPDATE:
                    params["w"] -= run.learning_rate * grads["w"]
    print("the script is done", run.stop_reason)
"""


def write(name="train.py", *, before="", after="", **values):
    """The script with its constants, and lines before and after it."""
    code = textwrap.dedent(SCRIPT)
    for constant, value in ({"EPOCHS": 3, "BATCHES": 10, "UPDATE": True} | values).items():
        code = code.replace(constant, repr(value))
    Path(name).write_text(f"{textwrap.dedent(before)}\n{code}\n{textwrap.dedent(after)}")
    return name


def examples(name, **changes):
    """A copy of an example in which each line that is named is another."""
    text = (EXAMPLES / name).read_text("utf-8")
    for old, new in changes.get("lines", {}).items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    Path("loop.py").write_text(text)
    return "loop.py"


@pytest.fixture
def doctor(run_command):
    """What a run was given decides: inferring the rest takes a second process."""
    return lambda *arguments, **variables: run_command("doctor", "--given-only", *arguments, **variables)


def document(done):
    return json.loads(done.stdout, parse_constant=pytest.fail)


# --- healthy and sick ---------------------------------------------------------------------------------------------


def test_a_healthy_script(doctor):
    done = doctor(str(EXAMPLES / "repaired_loop.py"))
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert "38 epochs begun, 300 training batches, then stopped by doctor" in " ".join(done.stdout.split())
    assert re.search(r"^verdict: nothing fired: \d+ checks passed", done.stdout, re.MULTILINE)
    assert "\nfired" not in done.stdout


LEAK = {
    "plugins=recommended(), ": "",
    "grads = run.backward(loss, grads)": "grads = run.backward(loss, grads)\n            run.carry(hiddens[-1])",
}
FAULTS = {
    "RNN102": {
        "    for _ in run.epochs(EPOCHS):": "    for _ in run.epochs(EPOCHS):\n        total = 0.0",
        "grads = run.backward(loss, grads)": (
            "grads = run.backward(loss, grads)\n"
            "            total += loss\n"
            "            run.log(train_loss=total / len(training_set))"
        ),
    },
    "RNN201": LEAK,
    "RNN503": {"        param -= lr * grad": "        param -= 0 * lr * grad"},
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_script_with_a_fault(doctor, code):
    done = doctor("--json", "--batches", "60", examples("repaired_loop.py", lines=FAULTS[code]))
    assert done.returncode == 1, done.stdout
    (run,) = document(done)["runs"]
    assert [alarm["code"] for alarm in run["alarms"] if alarm["explained_by"] is None] == [code]
    assert document(done)["verdict"].startswith(f"1 cause found: {code} ")


def test_a_rate_that_is_far_too_high(doctor):
    done = doctor(examples("repaired_loop.py", lines={"learning_rate=0.1)": "learning_rate=50.0)"}))
    assert done.returncode == 1, done.stdout
    assert re.search(r"^fired\n  RNN\d+ ", done.stdout, re.MULTILINE)
    assert "    remedy: " in done.stdout
    # Neither logged while it ran nor told twice: the diagnosis has it once.
    assert done.stderr == ""
    assert done.stdout.count("RNN602 divergence (") == 1


def test_what_was_repaired_is_told_once(doctor):
    script = Path(write(BATCHES=20))
    script.write_text(
        "from rnncallbacks.plugins import SelfRepair\n"
        + script.read_text().replace("learning_rate=0.1", "plugins=[SelfRepair()], learning_rate=100.0")
    )
    done = doctor(str(script))
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"^repaired\n  RNN501: ", done.stdout, re.MULTILINE)


def test_a_script_with_a_trainer(doctor):
    done = doctor("--json", "--batches", "40", str(EXAMPLES / "train_characters.py"))
    (run,) = document(done)["runs"]
    assert done.returncode == 0, done.stdout
    assert (run["batches"], run["cut_short"]) == (40, True)
    assert "RNN404" in run["passed"]  # the trainer gives a closure
    assert set(GUARDS) <= set(run["added"])


# --- what is done to the runs -------------------------------------------------------------------------------------


def test_runs_are_bounded_in_batches(doctor):
    done = doctor("--json", "--batches", "25", write(EPOCHS=None))
    (run,) = document(done)["runs"]
    assert (run["epochs"], run["batches"], run["cut_short"]) == (3, 25, True)
    assert run["stop_reason"] == "doctor: 25 batches are enough"
    assert "the script is done doctor: 25 batches are enough" in done.stderr


def test_the_epoch_in_which_a_run_ends_has_its_validation(doctor):
    validation = """
        seen = 0
        for target in run.batches([0.5] * 4, phase="val"):
            run.record(float(((params["w"] - target) ** 2).mean()))
            seen += 1
        run.log(share=1 / seen)
        print("validated", epoch, seen)
        for target in run.batches([0.5], phase="train"):
            print("trained again in", epoch)
            run.backward(float(((params["w"] - target) ** 2).mean()), {"w": 2 * (params["w"] - target) / 8})
            params["w"] *= 0.99
"""
    script = Path(write(EPOCHS=None))
    text = script.read_text()
    script.write_text(text.replace('print("the script', validation.strip("\n") + '\nprint("the script'))
    done = doctor("--json", "--batches", "25", str(script))
    (run,) = document(done)["runs"]
    assert (run["epochs"], run["batches"], run["cut_short"], document(done)["error"]) == (3, 25, True, None)
    assert "validated 3 4" in done.stderr
    assert "trained again in 2" in done.stderr
    assert "trained again in 3" not in done.stderr


def test_runs_without_a_training_batch_are_bounded_in_epochs(doctor):
    before = "from rnncallbacks import Run\nwith Run() as first:\n    for _ in first.epochs(None):\n        pass\n"
    (first, second) = document(doctor("--json", "--batches", "25", write(before=before)))["runs"]
    assert (first["epochs"], first["batches"], first["stop_reason"]) == (26, 0, "doctor: 25 epochs are enough")
    assert second["batches"] == 25


def test_a_run_that_ends_by_itself_is_not_cut(doctor):
    (run,) = document(doctor("--json", write()))["runs"]
    assert (run["epochs"], run["batches"], run["cut_short"], run["stop_reason"]) == (3, 30, False, None)


def test_guards_that_the_run_has_are_not_added_again(doctor):
    script = write().replace(".py", ".py")
    code = Path(script).read_text()
    plugins = "plugins=[DivergenceAlarm(action='stop'), UpdateGuard()], "
    Path(script).write_text(
        "from rnncallbacks.plugins import DivergenceAlarm, UpdateGuard\n"
        + code.replace("Run(params, ", f"Run(params, {plugins}")
    )
    (run,) = document(doctor("--json", script))["runs"]
    assert set(run["added"]) == set(GUARDS) - {"update_guard"}


def test_a_plugin_of_the_script_may_bear_the_name_of_a_guard(doctor):
    script = Path(write(UPDATE=False))
    named = "plugins={'update_guard': LossAveraging(), 'doctor': GradientClipping()}, "
    script.write_text(
        "from rnncallbacks.plugins import GradientClipping, LossAveraging\n"
        + script.read_text().replace("Run(params, ", f"Run(params, {named}")
    )
    (run,) = document(doctor("--json", str(script)))["runs"]
    assert "update_guard_" in run["added"]
    assert [alarm["code"] for alarm in run["alarms"] if alarm["explained_by"] is None] == ["RNN503"]


def test_plugins_that_write_files_are_left_out(doctor):
    script = Path(write())
    plugins = "plugins=[HistoryLog(directory='log'), Checkpoint(path='run.safetensors')], "
    script.write_text(
        "from rnncallbacks.plugins import Checkpoint, HistoryLog\n"
        + script.read_text().replace("Run(params, ", f"Run(params, {plugins}")
    )
    done = doctor(str(script))
    assert "left out, so that no file of a real run is touched: history_log, checkpoint" in " ".join(
        done.stdout.split()
    )
    assert {path.name for path in Path().iterdir()} == {"train.py"}


def test_progress_does_not_tell_the_diagnosis_before_doctor_does(doctor):
    script = Path(write(UPDATE=False))
    script.write_text(
        "from rnncallbacks.plugins import Progress\n"
        + script.read_text().replace("Run(params, ", "Run(params, plugins=[Progress()], ")
    )
    done = doctor(str(script))
    assert done.stdout.count("RNN503 parameters do not change (") == 1
    assert "epoch 3/3" in done.stdout


def test_a_guard_can_be_taken_out_and_a_plugin_put_in(doctor):
    done = doctor("--json", "-p", "no:update_guard", "-p", "gradient_clipping", write(UPDATE=False))
    (run,) = document(done)["runs"]
    assert done.returncode == 0
    assert "update_guard" not in run["added"]
    assert "gradient_clipping" in run["added"]
    assert run["alarms"] == []


def test_the_configuration_selects_codes_and_gives_options(doctor):
    Path("rnncallbacks.toml").write_text(
        '[plugins.alarm_selection]\nignore = ["RNN503"]\n[plugins.progress]\n[plugins.update_guard]\naction = "stop"\n'
    )
    (run,) = document(doctor("--json", write(UPDATE=False)))["runs"]
    assert run["alarms"] == []
    assert "alarm_selection" in run["added"]
    assert "progress" not in run["added"]
    Path("other.toml").touch()
    (run,) = document(doctor("--json", "--config", "other.toml", "train.py"))["runs"]
    assert [alarm["code"] for alarm in run["alarms"] if alarm["explained_by"] is None] == ["RNN503"]


ACME = """
    import attrs
    from rnncallbacks.bases.guard import Guard
    from rnncallbacks.core.hookspecs import hookimpl

    @attrs.define(eq=False, kw_only=True)
    class AcmeGuard(Guard):
        codes = ("ACME1",)

        @hookimpl
        def on_epoch_end(self, run):
            run.raise_alarm("ACME1", "always", cause="acme", remedy="none", severity="warning")
"""


@pytest.mark.parametrize("enabled", [True, False])
def test_guards_of_others_come_if_the_configuration_enables_them(install, doctor, tmp_path, enabled):
    site = install("acme", {"acme_guard": "acme_guard:AcmeGuard"}, acme_guard=ACME)
    Path("rnncallbacks.toml").write_text("[plugins.acme_guard]\n" if enabled else "")
    done = doctor("--json", write(), PYTHONPATH=str(site))
    (run,) = document(done)["runs"]
    assert [alarm["code"] for alarm in run["alarms"]] == ["ACME1"] * enabled
    assert done.returncode == int(enabled)


def test_a_broken_guard_of_others_is_left_out_and_said(install, doctor):
    site = install("acme", {"acme_guard": "acme_guard:AcmeGuard"}, acme_guard="import nowhere")
    Path("rnncallbacks.toml").write_text("[plugins.acme_guard]\n")
    done = doctor(write(), PYTHONPATH=str(site))
    assert done.returncode == 0
    assert done.stderr.startswith("left out: plugin 'acme_guard' of acme 1.0 cannot be loaded")


def test_several_runs_are_told_one_by_one(doctor):
    done = doctor(
        write(after=textwrap.dedent(SCRIPT).replace("EPOCHS", "3").replace("BATCHES", "30").replace("UPDATE", "0"))
    )
    assert "run 1 of 2 in train.py: 3 epochs begun, 30 training batches\n" in done.stdout
    assert "run 2 of 2 in train.py: 3 epochs begun, 90 training batches\n" in done.stdout
    assert done.returncode == 1
    assert "verdict: 1 cause found: RNN503" in done.stdout


def test_notes_are_told_and_do_not_count(doctor):
    Path("rnncallbacks.toml").write_text('[plugins.alarm_selection]\nseverity = { RNN503 = "info" }\n')
    done = doctor(write(UPDATE=False))
    assert done.returncode == 0
    assert "\nnoticed\n  RNN503" in done.stdout
    assert re.search(r"verdict: nothing fired: \d+ checks? passed, \d+ notes?", done.stdout)


# --- the script's own life ----------------------------------------------------------------------------------------


def test_the_script_sees_what_python_would_show_it(doctor):
    Path("below").mkdir()
    Path("below/neighbour.py").write_text("value = 3\n")
    before = "import sys, neighbour\nprint(__name__, __file__, sys.argv, sys.path[0], neighbour.value)\n"
    script = write("below/train.py", before=before)
    asked = subprocess.run([sys.executable, script, "--batches", "7", "-h"], capture_output=True, text=True)
    told = doctor(script, "--batches", "7", "-h")
    first = asked.stdout.splitlines()[0]
    # Python itself makes the path absolute.
    assert told.stdout.splitlines()[0] == first.replace(f"{os.getcwd()}/below/train.py", "below/train.py")
    assert told.returncode == 0


@pytest.mark.parametrize(
    ("leaving", "said"), [("sys.exit()", ""), ("sys.exit(3)", ""), ("sys.exit('enough')", "enough\n")]
)
def test_leaving_is_no_failure(doctor, leaving, said):
    done = doctor(write(after=leaving))
    assert (done.returncode, done.stderr) == (0, said)
    assert "verdict: nothing fired" in done.stdout


def test_a_script_that_raises_shows_its_own_frames_only(doctor):
    done = doctor(write(after="def fail():\n    raise ValueError('mine')\nfail()\n"))
    assert done.returncode == 2
    assert done.stderr.startswith('Traceback (most recent call last):\n  File "train.py", line ')
    assert done.stderr.endswith("ValueError: mine\n")
    assert "runpy" not in done.stderr
    assert "doctor" not in done.stderr
    assert "verdict: nothing fired" in done.stdout
    assert "may need the epochs" not in done.stdout


def test_a_script_that_raises_in_its_loop_is_still_diagnosed(doctor):
    script = Path(write(UPDATE=False))
    script.write_text(script.read_text().replace("loss = float", "if epoch == 3: 1 / 0\n            loss = float"))
    done = doctor("--json", str(script))
    assert done.returncode == 1
    assert document(done)["error"] == "ZeroDivisionError: division by zero"
    assert [alarm["code"] for alarm in document(done)["runs"][0]["alarms"] if not alarm["explained_by"]] == ["RNN503"]


def test_a_script_that_misses_the_epochs_that_were_cut_is_not_blamed(doctor):
    done = doctor("--batches", "15", write(EPOCHS=9, after="run.history.rows[8]"))
    assert "IndexError" in done.stderr
    assert "The script failed after doctor had stopped its run" in " ".join(done.stdout.split())
    assert done.returncode == 0


def test_a_script_that_cannot_be_read(doctor):
    Path("train.py").write_text("with Run( as run:\n")
    done = doctor("train.py")
    assert done.returncode == 2
    assert "SyntaxError" in done.stderr
    assert "runpy" not in done.stderr
    assert "no Run was entered" in done.stdout


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ("print('no training here')", "no training loop was found, so there is nothing to diagnose"),
        ("from rnncallbacks import Run\nwith Run() as run:\n    pass\n", "no training batch was seen"),
    ],
)
def test_a_script_without_training(doctor, script, verdict):
    Path("train.py").write_text(script)
    done = doctor("train.py", "--show-roles", "--seed=3")
    assert done.returncode == 2
    assert f"verdict: {verdict}" in done.stdout
    assert "doctor: --show-roles: passed to train.py, which has no such option; options of doctor" in done.stderr


def test_options_that_the_script_or_its_modules_name_are_theirs():
    Path("train.py").write_text("import settings\ndef main(loss='mse'): ...\n")
    Path("settings.py").write_text("parser.add_argument('--show-roles')\n")
    given = ["--loss", "l", "--show-roles", "--batches=3", "--epochs", "--", "-p"]
    options = {"--loss", "--show-roles", "--batches", "--json", "-p"}
    assert misplaced_options(Path("train.py"), given, options) == ["--batches=3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.pi"], "error: train.pi: there is no such file; did you mean 'train.py'?\n"),
        (["no/where.py"], "error: no/where.py: there is no such file\n"),
        (["."], "error: .: expected a script, got a directory\n"),
        (["-p", "no:update_gard", "train.py"], "no plugin 'update_gard' is installed; did you mean 'update_guard'?\n"),
        (["--batches", "0", "train.py"], "0 is not in the range"),
        (["--config", "none.toml", "train.py"], "error: none.toml: cannot be read"),
    ],
)
def test_bad_input_is_told_and_nothing_is_run(arguments, message):
    write(before="raise AssertionError('it was run')")
    done = CliRunner().invoke(rnncallbacks, ["doctor", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_in_json_mode_the_standard_output_is_one_document(doctor):
    before = """
        import os, subprocess, sys
        print("from python")
        sys.stdout.flush()
        os.system("echo from a child")
    """
    done = doctor("--json", write(before=before), "--seed", "3")
    told = document(done)
    assert told["script"] == "train.py"
    assert told["arguments"] == ["--seed", "3"]
    assert (told["exit_status"], told["error"], told["interrupted"]) == (0, None, False)
    assert "from python\nfrom a child\n" in done.stderr
    assert set(told["runs"][0]) == {
        *("epochs", "batches", "cut_short", "stop_reason", "added", "removed"),
        *("alarms", "passed", "cannot_tell", "not_checked", "repairs", "inferred"),
    }


def test_numbers_that_json_lacks_are_words(doctor):
    script = Path(write())
    script.write_text(script.read_text().replace("loss = float", "loss = float('nan') if epoch == 2 else float"))
    done = doctor("--json", str(script))
    assert done.returncode == 1
    (run,) = document(done)["runs"]
    assert '"NaN"' in done.stdout
    assert "RNN403" in [alarm["code"] for alarm in run["alarms"]]


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
@pytest.mark.parametrize(("update", "status"), [(True, 130), (False, 1)])
def test_ctrl_c_gives_the_diagnosis_so_far(update, status):
    script = Path(write(EPOCHS=None, UPDATE=update))
    slow = "import time; time.sleep(0.002); print(run.step, flush=True)\n            loss = float"
    script.write_text(script.read_text().replace("loss = float", slow))
    command = [sys.executable, "-m", "rnncallbacks", "doctor", "--given-only", "--batches", "100000"]
    process = subprocess.Popen([*command, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "40\n":
            process.send_signal(signal.SIGINT)
            break
    said, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "interrupted: this is the diagnosis so far" in said
    assert "verdict: " in said
    assert "Traceback" not in errors


def test_nothing_of_it_stays_behind():
    before = Run.__enter__, Run.batches, sys.argv, list(sys.path)
    CliRunner().invoke(rnncallbacks, ["doctor", "--given-only", write(after="raise ValueError")])
    assert (Run.__enter__, Run.batches, sys.argv, list(sys.path)) == before


def test_the_time_limit_includes_the_start_of_the_command(monkeypatch, tmp_path):
    given = []

    def examine(_script, _arguments, _plugins, options, _stage):
        given.append(options.seconds)
        return ScriptFindings()

    monkeypatch.setattr(loop_examination, "examine_script", examine)
    (tmp_path / "script.py").write_text("x = 1\n")
    for earlier in (20.0, 1000.0):
        began = time.monotonic() - earlier
        CliRunner().invoke(rnncallbacks, ["doctor", "--seconds", "100", "script.py"], obj=began)
    assert 50.0 < given[0] <= 77.0
    assert given[1] == 50.0


def findings_with(*codes):
    diagnosis = Diagnosis()
    for code in codes:
        told = {"cause": "a cause", "message": "numbers", "remedy": "a remedy", "severity": "warning"}
        diagnosis.add(Alarm(code=code, evidence={}, epoch=1, step=1, **told))
    return ScriptFindings(diagnosis=diagnosis, batches=80)


def test_with_several_seeds_only_what_all_of_them_show_is_told(monkeypatch, tmp_path):
    found = [ScriptFindings(), findings_with("RNN404", "RNN501"), findings_with("RNN404")]
    seeds = []

    def examine(_script, _arguments, _plugins, options, _stage):
        seeds.append(options.seed)
        return found[len(seeds) - 1]

    monkeypatch.setattr(loop_examination, "examine_script", examine)
    (tmp_path / "script.py").write_text("x = 1\n")
    done = CliRunner().invoke(rnncallbacks, ["doctor", "--json", "--seeds", "3", "script.py"])
    document = json.loads(done.stdout)
    assert seeds == [0, 1, 2]
    assert [alarm["code"] for alarm in document["diagnosis"]["alarms"]] == ["RNN404"]
    assert document["not_with_every_seed"] == {"RNN501": "1 of 2"}
