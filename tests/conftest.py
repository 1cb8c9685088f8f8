"""What several tests need: no property is timed, plugins can be installed, and programs run in other processes."""

import gc
import importlib
import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from _pytest.doctest import DoctestItem, DoctestModule
from _pytest.runner import runtestprotocol

# Workers share the processors: two threads of linear algebra each would wait for one another. Before NumPy is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase
from module_server import ForkedProcess

# Before any module's own examples are collected, so that each module of the package exists once.
import rnncallbacks  # noqa: F401

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""The name of the process with ``-n``, as "gw0"."""
TOLD_SECONDS = 0.01
"""A setup or a teardown of a worker that takes longer is reported, for ``--durations``. Chosen by eye."""

# No profile has a deadline: a busy machine is not a bug. "gate" draws the same examples in each run; at home they vary,
# and those that failed are saved in .hypothesis and tried first the next time. "thorough" is for a run by hand after a
# change of what a property is about: HYPOTHESIS_PROFILE=thorough pytest tests/...
FAILED_EXAMPLES = DirectoryBasedExampleDatabase(Path(__file__).parents[1] / ".hypothesis" / "examples")
settings.register_profile("home", max_examples=20, deadline=None, derandomize=False, database=FAILED_EXAMPLES)
settings.register_profile("gate", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=300, deadline=None, derandomize=False, database=FAILED_EXAMPLES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "home"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Look for no garbage among thousands of tests, neither while they are collected nor when they run.

    When they run, a test that makes many objects, such as the syntax trees of all modules, has them looked through less
    often: with Python's own thresholds that takes twice as long as making them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Iterator[Any]:
    """Look for examples in docstrings where there are some: not in modules of tests, nor in those without a prompt."""
    collected = yield
    if file_path.suffix != ".py" or (not file_path.name.startswith("test_") and b">>>" in file_path.read_bytes()):
        return collected
    return [one for one in collected if not isinstance(one, DoctestModule)]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[Any]:
    """Collect the files in the opposite order in every other worker.

    In a new checkout, each worker then compiles about half of the modules and finds the others compiled.
    """
    report = yield
    if isinstance(collector, pytest.Directory) and WORKER and int(WORKER.removeprefix("gw")) % 2:
        report.result.reverse()
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files into one order, as workers must have the same. Within a file, the order stays.

    The examples of docstrings are last: with many short tests at the end, all workers are done at about the same time.
    """
    if WORKER:
        items.sort(key=lambda item: (isinstance(item, DoctestItem), item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Send one report a test to the process that prints them, in place of three.

    A setup or a teardown that passed at once tells nothing, and thousands of them take seconds to send.
    """
    if not WORKER:
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed or report.duration > TOLD_SECONDS:
            item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Iterator[Any]:
    """Let ``os.fsync`` do nothing: no test cuts the power, and hundreds of files would wait for the disk in turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses what is no open file, too
        return (yield)


Install = Callable[..., Path]
FORK_SERVER = Path(__file__).parent / "processes" / "fork_server.py"
MODULE_SERVER = FORK_SERVER.with_name("module_server.py")


@attrs.frozen
class ForkServer:
    """The program that starts processes, and where it puts what they write."""

    process: subprocess.Popen[str]
    folder: Path
    modules: str

    def start(self, code: str, arguments: tuple[str, ...], environment: Mapping[str, str], files: list[str]) -> None:
        """Start a program on these standard files."""
        job = {"code": code, "arguments": arguments, "environment": environment, "files": files}
        job |= {"modules": self.modules}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job | {"directory": os.getcwd()}) + "\n")
        self.process.stdin.flush()

    def exit_code(self) -> int:
        """Wait for the program."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="session")
def module_server() -> Iterator[str]:
    """The socket of the program that starts the doctor's processes; empty where the system cannot pass files to it."""
    if not hasattr(os, "pidfd_open"):
        yield ""
        return
    with tempfile.TemporaryDirectory() as folder:  # the paths of sockets are short
        path = os.path.join(folder, "modules")
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, str(MODULE_SERVER), path]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield path
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture
def forked_modules(module_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor's processes are forked, where a test is not about how they are started."""
    if module_server:
        monkeypatch.setattr(ForkedProcess, "path", module_server)
        monkeypatch.setattr(subprocess, "Popen", ForkedProcess)


@pytest.fixture(scope="session")
def fork_server(module_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    # With one thread, nothing else runs in the process that forks.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(FORK_SERVER)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield ForkServer(process, tmp_path_factory.mktemp("fork_server"), module_server)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def run_python(fork_server: ForkServer) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs code in another process, with arguments and environment variables."""

    def run(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        written = [fork_server.folder / name for name in ("stdout", "stderr")]
        for path in written:
            path.unlink(missing_ok=True)
        fork_server.start(code, arguments, os.environ | variables, [os.devnull, *map(str, written)])
        status = fork_server.exit_code()
        return subprocess.CompletedProcess([code, *arguments], status, *(path.read_text("utf-8") for path in written))

    return run


@pytest.fixture
def run_python_on_a_terminal(fork_server: ForkServer) -> Callable[..., str]:
    """What code writes to a pseudo-terminal of this width, with its escape sequences."""
    import pty  # which not every system has

    def run(code: str, *arguments: str, columns: int, **variables: str) -> str:
        leader, follower = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "40"}
        for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            environment.pop(name, None)
        fork_server.start(code, arguments, environment | variables, [os.ttyname(follower)] * 3)
        written = bytearray()
        while leader in select.select([leader, fork_server.process.stdout], [], [])[0]:
            written += os.read(leader, 65536)
        os.close(follower)
        os.close(leader)
        assert fork_server.exit_code() == 0, written.decode()
        return written.decode()

    return run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution on the path as an installer would: its metadata, its entry points and its modules."""
    before = set(sys.modules)

    def put(
        name: str, entry_points: Mapping[str, str] | str, version: str = "1.0", folder: str = "site", **sources: str
    ) -> Path:
        site = tmp_path / folder
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if not isinstance(entry_points, str):
            lines = [f"{key} = {value}" for key, value in entry_points.items()]
            entry_points = "\n".join(["[rnncallbacks.plugins]", *lines, ""])
        (info / "entry_points.txt").write_text(entry_points)
        for module, source in sources.items():
            (site / f"{module}.py").write_text(textwrap.dedent(source))
        if str(site) not in sys.path:
            monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        return site

    yield put
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
