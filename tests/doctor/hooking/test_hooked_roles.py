"""From a script to the hooked script without a word from the user: the diagnosis stays the same."""

import shutil
from pathlib import Path

import pytest
from doctor_cases import stranger_scripts
from doctor_hooked import compare, compare_case

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "doctor_scripts"
EXAMPLES = Path(__file__).parents[3] / "examples"
COMMAND = "from rnncallbacks.cli import main; main()"

# Where the loss and the gradients have names: in the loop, in a function that the loop calls, and in both.
NAMED = {
    "in_the_loop": EXAMPLES / "broken_loop.py",
    "in_the_loop_and_of_another_number_than_the_loss": SCRIPTS / "binadd.py",
    "in_a_function": SCRIPTS / "willow.py",
    "the_loss_in_the_loop_as_a_sum_in_place": SCRIPTS / "selftaught.py",
    "as_the_value_of_a_call": SCRIPTS / "parityfit.py",
    "in_a_function_that_is_called_twice": SCRIPTS / "turnaround.py",
    "in_a_function_within_a_function": SCRIPTS / "thermostat.py",
    "in_a_function_that_each_step_calls_and_in_the_loop": SCRIPTS / "cellsteps.py",
}
LONG = ("in_the_loop_and_of_another_number_than_the_loss", "in_a_function_that_is_called_twice")
LONG += ("in_a_function_within_a_function", "in_a_function_that_each_step_calls_and_in_the_loop")
LONG += ("the_loss_in_the_loop_as_a_sum_in_place",)
"""Seconds each: the gate runs them with the benchmarks."""
WITH_ARGUMENTS = """\
import sys
assert sys.argv[1:] == ["--steps", "7"]
"""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.benchmarks) if name in LONG else name for name in NAMED]
)
def test_a_hooked_script_gets_the_diagnosis_of_the_script(tmp_path, monkeypatch, run_python, name):
    """All scripts of the benchmark: python tests/benchmarks/doctor_hooked.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    Path("script.py").write_text(WITH_ARGUMENTS + NAMED[name].read_text("utf-8"), "utf-8")
    shutil.copy(SCRIPTS / "river.txt", "river.txt")
    before = Path("script.py").read_bytes()
    arguments = "--steps", "7"
    found = compare(tmp_path / "script.py", arguments, 12, lambda *given, cwd: run_python(COMMAND, "doctor", *given))
    assert found.problem == ""
    assert Path("script.py").read_bytes() == before
    # The validation of the hooked script is seen. A sum of losses rises within an epoch: RNN602 depends on its batches.
    only_here = {"in_the_loop": {"RNN102"}, "the_loss_in_the_loop_as_a_sum_in_place": {"RNN602"}}.get(name, set())
    assert set(found.causes) - only_here == set(found.hooked_causes) - only_here
    assert {"RNN404", "RNN405", "RNN503"}.isdisjoint(found.lost)


def test_a_script_whose_loop_is_in_a_module(monkeypatch, run_python):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")

    def doctor(*arguments, cwd):
        monkeypatch.chdir(cwd)
        return run_python(COMMAND, "doctor", *arguments)

    found = compare_case(stranger_scripts()["kestrel"], 12, doctor)
    monkeypatch.undo()  # the folder is gone
    assert found.same, found
    assert {"RNN404", "RNN405", "RNN503"}.isdisjoint(found.lost)


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
