"""The examples run as scripts and show what they claim."""

from __future__ import annotations

import difflib
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = {
    "broken_loop.py",
    "diagnosed_loop.py",
    "repaired_loop.py",
    "sklearn_estimator.py",
    "sweep.py",
    "torch_lstm.py",
    "train_characters.py",
}
EPOCH = re.compile(r"epoch +(\d+)(?:/\d+)?  train +(\S+)  val +(\S+)")


AS_A_SCRIPT = """
import runpy, sys, warnings
warnings.simplefilter("error")
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture
def output_of(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """What a script prints, run once, from a directory where there is nothing."""
    outputs: dict[str, str] = {}
    monkeypatch.chdir(tmp_path)

    def run(script: str) -> str:
        if script not in outputs:
            done = run_python(AS_A_SCRIPT, str(EXAMPLES / script))
            assert done.returncode == 0, done.stderr
            outputs[f"{script} stderr"] = done.stderr
            assert list(tmp_path.iterdir()) == []
            outputs[script] = done.stdout
        return outputs[script]

    return run


def quiet(output_of: Callable[[str], str], script: str) -> bool:
    output_of(script)
    return output_of(f"{script} stderr") == ""


def losses(output: str) -> tuple[list[float], list[float]]:
    found = EPOCH.findall(output)
    return [float(train) for _, train, _ in found], [float(val) for _, _, val in found]


def solved(output: str) -> int:
    match = re.search(r"counted right: (\d+) of 10", output)
    assert match is not None
    return int(match.group(1))


def test_every_script_has_its_test() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == SCRIPTS


def test_the_broken_loop_does_not_improve(output_of: Callable[[str], str]) -> None:
    output = output_of("broken_loop.py")
    assert quiet(output_of, "broken_loop.py")
    train, val = losses(output)
    assert len(train) == 5
    assert all(math.isfinite(loss) for loss in train + val)  # no crash and no NaN would give it away
    # Where it wanders to depends on the last bit of each product, and so on the machine. That it stays up does not.
    assert min(train) > 0.5 * train[0]
    assert min(val) == val[0]
    assert solved(output) <= 2


def test_the_repaired_loop_learns_the_task(output_of: Callable[[str], str]) -> None:
    output = output_of("repaired_loop.py")
    assert quiet(output_of, "repaired_loop.py")  # the guards are on, and have nothing to say
    train, val = losses(output)
    assert len(train) == 5
    # Before the first update a network knows nothing; after the last, only how often to write a is left to chance: one
    # choice among 8 in the 16 tokens of a sentence.
    assert val[0] == pytest.approx(math.log(4), rel=0.1)
    assert val[-1] == pytest.approx(math.log(8) / 16, abs=0.005)
    assert train[-1] == pytest.approx(math.log(8) / 16, abs=0.005)
    assert solved(output) == 10


def test_the_faults_of_the_broken_loop_are_named(output_of: Callable[[str], str]) -> None:
    output = output_of("diagnosed_loop.py")
    causes = re.findall(r"^  (RNN\d+) .* \(epoch \d+, step \d+", output, flags=re.MULTILINE)
    assert sorted(causes) == ["RNN101", "RNN201", "RNN301"]
    # Gradients that nothing clips and a rate that is too high follow from the sum, and would be cured with it.
    assert {"RNN401", "RNN501"} <= set(re.findall(r"^    consequence: (RNN\d+)", output, flags=re.MULTILINE))


def test_the_repair_is_about_a_dozen_lines() -> None:
    names = ("broken_loop.py", "repaired_loop.py")
    broken, repaired = ((EXAMPLES / name).read_text("utf-8").splitlines() for name in names)
    changes = list(difflib.unified_diff(broken, repaired, n=0, lineterm=""))[2:]
    for sign in "-+":
        assert 10 <= sum(line.startswith(sign) for line in changes) <= 16


def test_characters_are_learned_better_than_by_a_bigram_model(output_of: Callable[[str], str]) -> None:
    output = output_of("train_characters.py")
    assert quiet(output_of, "train_characters.py")
    _, val = losses(output)
    assert len(val) == 4
    assert val == sorted(val, reverse=True)
    match = re.search(r"bigram model: (\S+) nats", output)
    assert match is not None
    assert val[-1] < float(match.group(1))
    assert len(output.partition("nats per character\n")[2]) >= len("The ") + 200


@pytest.mark.extras
def test_the_sweep_prunes_in_two_processes_and_no_trial_fails(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    # An interpreter of its own: the workers are spawned from it.
    done = subprocess.run(
        [sys.executable, EXAMPLES / "sweep.py"], capture_output=True, text=True, cwd=tmp_path, timeout=240
    )
    assert done.returncode == 0, done.stderr
    *trials, best = done.stdout.splitlines()
    states = [line.split()[2] for line in trials]
    assert len(states) == 12
    assert set(states) == {"complete", "pruned"}
    assert best.startswith("best: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.extras
def test_an_lstm_of_pytorch_learns_and_its_gradients_are_found_right(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "torch_lstm.py"], capture_output=True, text=True, cwd=tmp_path, timeout=240
    )
    assert done.returncode == 0, done.stderr
    train = [float(loss) for loss in re.findall(r"loss (\S+)$", done.stdout, flags=re.MULTILINE)[:15]]
    assert train[0] == pytest.approx(math.log(8), rel=0.02)
    assert train[-1] < 0.5 * train[0]
    passed, _, rest = done.stdout.partition("cannot tell:")
    assert "alarms" not in passed
    assert re.search(r"^  RNN404 .*the gradient of 3 batches agrees", passed, flags=re.MULTILINE)
    assert rest


@pytest.mark.extras
def test_a_grid_search_of_scikit_learn_chooses_the_larger_network(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "sklearn_estimator.py"], capture_output=True, text=True, cwd=tmp_path, timeout=240
    )
    assert done.returncode == 0, done.stderr
    match = re.fullmatch(r"best: \{'hidden_size': 8\}, accuracy (\S+)", done.stdout.strip())
    assert match is not None
    assert float(match.group(1)) > 0.85
    assert list(tmp_path.iterdir()) == []
