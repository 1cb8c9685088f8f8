"""Runs on real ranks: ``mpiexec`` starts 2 or 4 processes, and each has a time limit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rnncallbacks.parallel.mpi_library import command_on_ranks, find_mpiexec

pytest.importorskip("mpi4py", reason="needs the extra mpi")
pytestmark = pytest.mark.extras

PROGRAM = Path(__file__).with_name("rank_program.py")
SECONDS = 60
"""A program takes a second or two on an idle machine."""
EXACT = 1e-12


def start(ranks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = command_on_ranks(ranks, [str(PROGRAM), *arguments])
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment)


def result_of(ranks: int, *arguments: str) -> dict[str, Any]:
    done = start(ranks, *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


GOING_ON: list[tuple[str, int, str | None, int]] = [
    ("stop", 1, "enough (rank 1)", 4),
    ("stop", 0, "enough", 4),
    ("stop in a hook", 1, "enough (rank 1)", 4),
    ("stop between batches", 1, "enough (rank 1)", 7),
    ("skip", 1, None, 18),
    ("slow rank", 1, None, 18),
    ("NaN and a stop", 1, "RNN403", 4),
]
"""Faults of a rank, the rank, the reason why all stop, and the steps of all."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """The results of many programs, from one start of 4 ranks and one of 2, by the number of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    on_four = result_of(4, "several", "equal", f"half,{folder}/half.safetensors")
    faults = [f"faulty,{fault},{rank},4" for fault, rank, *_ in GOING_ON]
    more = ["again", "decided", f"resumed,{folder}", f"other_half,{folder}/half.safetensors", *faults]
    on_two = result_of(2, "several", "equal", *more)
    found = {2: on_two, 4: on_four}
    return {
        ranks: {call.replace(str(folder), ""): one for call, one in calls.items()} for ranks, calls in found.items()
    }


@pytest.mark.parametrize("ranks", [2, 4])
def test_runs_are_those_of_one_process(results: dict[int, dict[str, Any]], ranks: int) -> None:
    differences = results[ranks]["equal"]
    assert len(differences) == 8
    assert {name: found for name, found in differences.items() if not found < EXACT} == {}


def test_rank_0_decides(results: dict[int, dict[str, Any]]) -> None:
    found = results[2]["decided"]
    assert found["alarms"] == []
    assert found["checked"] > 12
    assert found["repairs"]
    assert found["same"]
    assert found["same decisions"]
    assert found["rows"]
    assert found["passes differ"]


def test_a_run_resumes_bit_for_bit_on_as_many_ranks(results: dict[int, dict[str, Any]]) -> None:
    assert results[2]["resumed,"]["difference"] == 0.0


def test_a_run_resumes_on_another_number_of_ranks(results: dict[int, dict[str, Any]]) -> None:
    assert results[2]["other_half,/half.safetensors"]["difference"] < EXACT


def test_a_script_that_catches_an_error_on_all_ranks_can_train_again(results: dict[int, dict[str, Any]]) -> None:
    found = results[2]["again"]
    assert found["caught"] == [["ValueError", "RankError"], ["RankError", "ValueError"]]
    assert found["step"] == 18
    assert found["same"]


@pytest.mark.parametrize(
    ("fault", "rank", "message"),
    [
        ("error", 1, "ValueError: bad data\non rank 1 of 2"),
        ("error in a hook", 0, "ValueError: a plugin"),
        ("caught error", 1, "ValueError: bad data\non rank 1 of 2"),
        ("error after the run", 1, "ValueError: after the run\non rank 1 of 2"),
        ("kill", 1, "RankError: rank 1 of 2 does not exist any more"),
        ("kill", 0, "RankError: rank 0 of 2 does not exist any more"),
        ("interrupt", 1, "KeyboardInterrupt"),
        ("exit", 1, "RankError: rank 1 of 2 failed: SystemExit: 3"),
        ("no backward", 1, "RankError: the ranks are not at the same place of the loop: rank 0 calls run.backward"),
        ("error before MPI", 1, "RankError: rank 1 of 2 has ended before it started MPI"),
        ("other batches", 1, "RankError: expected the same batch on all ranks, got different batches: rank 0"),
        ("hidden state of all rows", 0, "run.hidden got batch_size=6, which is not the number of rows of this rank"),
        ("unequal shards", 1, "rank 1 ends a batch, epoch 1, batch 1 of val"),
    ],
)
def test_a_rank_that_fails_ends_all_with_one_message(fault: str, rank: int, message: str) -> None:
    done = start(2, "faulty", fault, str(rank), "4")
    assert done.returncode
    assert message in done.stderr
    assert done.stderr.count("Traceback (most recent call last)") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs the process of the launcher in /proc")
def test_a_rank_that_is_killed_before_the_launcher_has_answered_it_is_named() -> None:
    done = start(2, "unanswered")
    assert done.returncode
    assert "RankError: rank 1 of 2 has ended before it started MPI" in done.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_is_named_under_a_launcher_that_kills_the_others(rank: int) -> None:
    command = [str(find_mpiexec()), "-n", "2", sys.executable, str(PROGRAM), "faulty", "kill", str(rank), "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode
    assert done.stderr.count(f"RankError: rank {rank} of 2 does not exist any more") == 1


@pytest.mark.parametrize(("fault", "rank", "stop", "steps"), GOING_ON)
def test_what_one_rank_decides_holds_for_all(
    results: dict[int, dict[str, Any]], fault: str, rank: int, stop: str | None, steps: int
) -> None:
    found = results[2][f"faulty,{fault},{rank},4"]
    assert found["stop"] == stop or found["stop"].startswith("RNN403")
    assert found["step"] == steps
    assert found["same"]
    assert found["finite"]


def test_an_error_on_the_command_line_has_the_exit_code_of_one_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rnncallbacks", "train", "missing.txt", "--ranks", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("missing.txt: there is no such file") == 1


def test_the_command_trains_on_ranks(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the old fox sleeps under a tree. " * 60)
    command = [sys.executable, "-m", "rnncallbacks", "train", "text.txt", "--epochs", "1", "--hidden-size", "8"]
    command += ["--sample", "0", "--run-dir", "run"]
    limits: dict[str, Any] = {"capture_output": True, "text": True, "timeout": SECONDS, "cwd": tmp_path}
    done = subprocess.run([*command, "--ranks", "2"], **limits)
    assert "this network" in done.stdout, done.stderr
    assert done.stdout.count("run folder") == 1
    row = json.loads((tmp_path / "run" / "history.jsonl").read_text())
    assert row["ranks"] == 2
    assert row["reduction_seconds"] > 0
    assert row["imbalance"] >= 0
