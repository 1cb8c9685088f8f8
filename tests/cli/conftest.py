"""A place of its own for each test of the command line, and the command in another process."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "rnncallbacks"]

RunCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the configuration nor the environment of whoever runs the tests takes part."""
    monkeypatch.chdir(tmp_path)
    for variable in ("RNNCALLBACKS_PLUGINS", "RNNCALLBACKS_DISABLE", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    # For arrays this small, a second thread mostly waits for the first.
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def run_command() -> RunCommand:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | variables
        return subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, encoding="utf-8", env=environment, timeout=120
        )

    return run


@pytest.fixture
def on_a_terminal() -> Callable[..., str]:
    """What the command writes to a pseudo-terminal, with its escape sequences."""

    def run(*arguments: str, columns: int) -> str:
        leader, follower = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "40"}
        for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            environment.pop(name, None)
        process = subprocess.Popen([*COMMAND, *arguments], stdout=follower, stderr=follower, env=environment)
        os.close(follower)
        written = bytearray()
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not chunk:
                break
            written += chunk
        os.close(leader)
        assert process.wait() == 0, written.decode()
        return written.decode()

    return run
