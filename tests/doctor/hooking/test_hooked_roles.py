"""From a script to the hooked script with no word from us: the roles are inferred, and the diagnosis is the same."""

import json
import shutil
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "doctor_scripts"
EXAMPLES = Path(__file__).parents[3] / "examples"
COMMAND = "from rnncallbacks.cli import main; main()"

# Where the loss and the gradients have names: in the loop, in a function that the loop calls, and in both.
NAMED = {
    "in_the_loop": EXAMPLES / "broken_loop.py",
    "in_a_function": SCRIPTS / "willow.py",
    "the_loss_in_the_loop": SCRIPTS / "selftaught.py",
    "as_the_value_of_a_call": SCRIPTS / "parityfit.py",
    "in_a_function_that_is_called_twice": SCRIPTS / "turnaround.py",
    "in_a_function_within_a_function": SCRIPTS / "thermostat.py",
    "in_a_function_that_each_step_calls_and_in_the_loop": SCRIPTS / "cellsteps.py",
}


@pytest.mark.parametrize("name", NAMED)
def test_a_script_is_hooked_by_its_roles(tmp_path, monkeypatch, run_python, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    shutil.copy(NAMED[name], "script.py")
    shutil.copy(SCRIPTS / "river.txt", "river.txt")
    before = Path("script.py").read_bytes()
    done = run_python(COMMAND, "doctor", "--batches", "12", "--write-hooked", "hooked.py", "script.py")
    assert "with Run around its loop: hooked.py" in done.stdout, done.stdout + done.stderr
    assert Path("script.py").read_bytes() == before
    done = run_python(COMMAND, "doctor", "--given-only", "--json", "--batches", "24", "hooked.py")
    (run,) = json.loads(done.stdout)["runs"]
    fired = {alarm["code"] for alarm in run["alarms"] if alarm["explained_by"] is None}
    assert "RNN404" in run["passed"]
    assert {"RNN404", "RNN405", "RNN701"}.isdisjoint(fired)
    assert ("RNN301" in fired) == (name in ("in_the_loop", "in_a_function"))


def test_the_script_is_not_overwritten(tmp_path, monkeypatch, run_python):
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "broken_loop.py", "script.py")
    done = run_python(COMMAND, "doctor", "--show-roles", "--write-hooked", "script.py", "script.py")
    assert done.returncode == 2
    assert "is the script itself" in done.stderr
    assert Path("script.py").read_bytes() == (EXAMPLES / "broken_loop.py").read_bytes()


def test_a_script_without_a_loop(tmp_path, monkeypatch, run_python):
    monkeypatch.chdir(tmp_path)
    Path("script.py").write_text("x = 1\n")
    done = run_python(COMMAND, "doctor", "--write-hooked", "hooked.py", "script.py")
    assert done.returncode == 2
    assert "no training loop was found" in done.stderr
    assert not Path("hooked.py").exists()
