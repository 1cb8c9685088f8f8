"""A place of its own for each test of the command line, and the command in another process."""

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

RunCommand = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = "from rnncallbacks.cli import main; main()"


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the configuration nor the environment of whoever runs the tests takes part."""
    monkeypatch.chdir(tmp_path)
    for variable in ("RNNCALLBACKS_PLUGINS", "RNNCALLBACKS_DISABLE", "RNNCALLBACKS_OVERRIDE", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    # For arrays this small, a second thread mostly waits for the first.
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def run_command(run_python: RunCommand) -> RunCommand:
    return partial(run_python, COMMAND)


@pytest.fixture
def on_a_terminal(run_python_on_a_terminal: Callable[..., str]) -> Callable[..., str]:
    """What the command writes to a pseudo-terminal, with its escape sequences."""
    return partial(run_python_on_a_terminal, COMMAND)
