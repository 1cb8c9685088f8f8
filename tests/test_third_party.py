"""Somebody else's package: built, installed beside the built library, enabled by configuration, at work in a run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import textwrap
import threading
import venv
import zipfile
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).parents[1]
PACKAGES = [ROOT / "examples" / f"rnncallbacks-{name}" for name in ("acme", "swa", "topk", "wandb-like")]

BROKEN_PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "rnncallbacks-broken"
version = "0.3"

[project.entry-points."rnncallbacks.plugins"]
broken_callback = "rnncallbacks_broken:BrokenCallback"
"""
BROKEN_MODULE = 'raise RuntimeError("libbroken.so is too old")\n'

CONFIGURATION = """
[plugins.acme]
patience = 2
action = "stop"

[plugins.loss_averaging]
"""

# In the second epoch the update is left out, so the loss does not change, which is what ACME001 is about.
SCRIPT = """
import json, sys
import numpy as np
import rnncallbacks
from rnncallbacks import Run, load_plugins

params = {"w": np.array([2.0])}
with Run(params, plugins=load_plugins(), learning_rate=0.25) as run:
    for epoch in run.epochs(5):
        for target in run.batches([1.0, 1.0]):
            error = params["w"] - target
            grads = run.backward((error**2).item(), {"w": 2 * error})
            if epoch == 1:
                params["w"] -= run.learning_rate * grads["w"]
modules = {name: module.__file__ for name, module in sys.modules.items() if name.startswith("rnncallbacks")}
print(json.dumps({
    "history": run.history.untimed(),
    "alarms": [alarm.code for alarm in run.alarms],
    "stop_reason": run.stop_reason,
    "modules": modules,
}))
"""


def call(command: list[str | Path], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as it would run outside of these tests: nothing of their settings reaches it."""
    ours = ("PYTHON", "PYTEST", "RNNCALLBACKS", "VIRTUAL_ENV", "COV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment | variables, capture_output=True, text=True, encoding="utf-8", timeout=300
    )


def succeed(command: list[str | Path], cwd: Path, **variables: str) -> str:
    done = call(command, cwd, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(projects: Iterable[Path], target: Path) -> list[Path]:
    """The wheels of projects, built without isolation and so without a network, by one process."""
    script = """
        import os, sys
        from hatchling.build import build_wheel
        for project in sys.argv[2:]:
            os.chdir(project)
            print(build_wheel(sys.argv[1]))
    """
    target.mkdir()
    printed = succeed([sys.executable, "-c", textwrap.dedent(script), target, *projects], target)
    return [target / name for name in printed.split()]


def requirements_of(wheel: Path) -> list[str]:
    (distribution,) = metadata.distributions(path=[str(wheel)])
    return distribution.requires or []


def link(requirements: Iterable[str], extras: Iterable[str], site_packages: Path) -> None:
    """Make distributions that these tests run on visible in another environment, with their metadata.

    Only those that the requirements name, directly or through each other, and never the library itself.
    """
    found: dict[str, metadata.Distribution] = {}
    remaining = [(Requirement(text), frozenset(extras)) for text in requirements]
    while remaining:
        requirement, wanted = remaining.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in wanted | {""}
        )
        if not applies or name in found or name == "rnncallbacks":
            continue
        found[name] = metadata.distribution(name)
        remaining += [(Requirement(text), frozenset(requirement.extras)) for text in found[name].requires or []]
    for distribution in found.values():
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            (site_packages / top).symlink_to(Path(str(distribution.locate_file(top))))


@attrs.frozen
class Environment:
    """A fresh virtual environment with the wheels of the library, of the examples and of the broken package in it."""

    path: Path
    wheel: Path
    examples: list[Path]

    @property
    def scripts(self) -> Path:
        return Path(sysconfig.get_path("scripts", "venv", vars={"base": str(self.path)}))

    @property
    def site_packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(self.path)}))

    @property
    def python(self) -> Path:
        return self.scripts / "python"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Dependencies are those that the wheels name, and no others; pip finds each requirement satisfied or fails."""
    work = tmp_path_factory.mktemp("third_party")
    broken = work / "broken"
    (broken / "rnncallbacks_broken").mkdir(parents=True)
    (broken / "pyproject.toml").write_text(BROKEN_PYPROJECT)
    (broken / "rnncallbacks_broken" / "__init__.py").write_text(BROKEN_MODULE)
    ours, theirs, *examples = build([ROOT, broken, *PACKAGES], work / "wheels")

    environment = Environment(work / "environment", ours, examples)
    venv.create(environment.path, with_pip=False, symlinks=os.name != "nt")
    required = [requirement for wheel in (ours, *examples) for requirement in requirements_of(wheel)]
    link(required, ["cli"], environment.site_packages)
    install: list[str | Path] = [sys.executable, "-m", "pip", "--python", environment.python, "install"]
    install += ["--quiet", "--no-index", "--no-cache-dir"]
    succeed([*install, f"rnncallbacks[cli] @ {ours.as_uri()}", *examples, theirs], work)
    return environment


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a training script, and a configuration that enables acme."""
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "rnncallbacks.toml").write_text(CONFIGURATION)
    return tmp_path


def test_the_wheel_holds_the_package_and_nothing_else(environment: Environment) -> None:
    files = [path for kind in ("py", "md", "css", "typed", "template") for path in (ROOT / "src").rglob(f"*.{kind}")]
    sources = {path.relative_to(ROOT / "src").as_posix() for path in files}
    assert "rnncallbacks/alarms/pages/RNN201.md" in sources
    with zipfile.ZipFile(environment.wheel) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == sources


def test_every_module_comes_from_the_wheel_and_finds_what_it_needs(environment: Environment, tmp_path: Path) -> None:
    script = """
        import importlib, pathlib, pkgutil, sys
        import rnncallbacks
        assert pathlib.Path(rnncallbacks.__file__).is_relative_to(sys.prefix), rnncallbacks.__file__
        for module in pkgutil.walk_packages(rnncallbacks.__path__, "rnncallbacks."):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                # The kernels, for which an extra of their own brings it.
                assert error.name == "numba", error
        print(rnncallbacks.__version__)
    """
    printed = succeed([environment.python, "-W", "error", "-c", textwrap.dedent(script)], tmp_path)
    assert f"rnncallbacks-{printed.strip()}-" in environment.wheel.name


def test_the_pages_of_codes_come_with_the_wheel(environment: Environment, tmp_path: Path) -> None:
    printed = succeed([environment.scripts / "rnncallbacks", "explain", "RNN201"], tmp_path)
    assert printed == (ROOT / "src" / "rnncallbacks" / "alarms" / "pages" / "RNN201.md").read_text("utf-8")


def test_acme_acts_in_a_run_when_the_configuration_enables_it(environment: Environment, project: Path) -> None:
    told = json.loads(succeed([environment.python, "train.py"], project))
    for name in ("rnncallbacks", "rnncallbacks_acme"):
        assert Path(told["modules"][name]).is_relative_to(environment.path)
    # The weight goes from 2 to 1.5 to 1.25, and stays there.
    assert [row["train_loss"] for row in told["history"]] == [(1.0 + 0.25) / 2, 0.0625]
    assert told["alarms"] == ["ACME001"]
    assert told["stop_reason"].startswith("ACME001")
    assert "rnncallbacks_broken" not in told["modules"]


def test_installed_is_not_enabled(environment: Environment, project: Path) -> None:
    (project / "rnncallbacks.toml").write_text("[plugins.loss_averaging]\n")
    told = json.loads(succeed([environment.python, "train.py"], project))
    assert len(told["history"]) == 5
    assert told["alarms"] == []
    assert "rnncallbacks_acme" not in told["modules"]


def test_a_user_can_take_it_out(environment: Environment, project: Path) -> None:
    told = json.loads(succeed([environment.python, "train.py"], project, RNNCALLBACKS_DISABLE="acme"))
    assert len(told["history"]) == 5
    assert "rnncallbacks_acme" not in told["modules"]


def test_the_broken_package_is_named_when_it_is_enabled(environment: Environment, project: Path) -> None:
    done = call([environment.python, "train.py"], project, RNNCALLBACKS_PLUGINS="broken_callback")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "ConfigurationError" in last
    assert "rnncallbacks-broken 0.3" in last
    assert "libbroken.so is too old" in last


def test_the_command_line_lists_them_all(environment: Environment, project: Path) -> None:
    listed = succeed([environment.scripts / "rnncallbacks", "plugins", "-v"], project)
    lines = listed.splitlines()

    def head(name: str) -> tuple[int, list[str]]:
        ((number, line),) = [(number, line) for number, line in enumerate(lines) if line.split()[:1] == [name]]
        return number, line.split()

    _, acme = head("acme")
    assert acme[1:4] == ["rnncallbacks-acme", "0.1.0", "enabled"]
    number, broken = head("broken_callback")
    assert broken[1:] == ["rnncallbacks-broken", "0.3", "failed"]
    assert "libbroken.so is too old" in lines[number + 1]
    assert head("loss_averaging")[1][3] == "enabled"
    assert head("warmup")[1][3:5] == ["not", "enabled"]


def test_the_command_line_checks_them(environment: Environment, project: Path) -> None:
    check = environment.scripts / "rnncallbacks"
    assert "Acme(action='stop', patience=2)" in succeed([check, "check"], project)
    (project / "rnncallbacks.toml").write_text(CONFIGURATION.replace("patience = 2", 'patience = "long"'))
    done = call([check, "check", "-p", "broken_callback"], project)
    assert done.returncode == 1
    assert "rnncallbacks-broken 0.3" in done.stderr
    assert "rnncallbacks.toml: [plugins.acme] patience: expected int, got 'long'" in done.stderr


THREE = """
import json, sys
import numpy as np
from rnncallbacks import Run, load_plugins
from rnncallbacks.alarms.registered_codes import find_page

params = {"w": np.zeros(2000)}
gradient = np.full(2000, 1e-6)
gradient[:3] = 1.0
configuration = {"plugins": {"swa": {}, "topk": {"k": 3, "batches": 2}, "wandb_like": {"url": sys.argv[1]}}}
with Run(params, plugins=load_plugins(configuration), learning_rate=1.0) as run:
    for epoch in run.epochs(2):
        for loss in run.batches([1.0, 0.5]):
            grads = run.backward(loss, {"w": gradient.copy()})
            params["w"] -= grads["w"]
print(json.dumps({"w": params["w"][0], "swa": run.history["swa_epochs"], "page": find_page("TOPK001")}))
"""


class Collector(BaseHTTPRequestHandler):
    """Answers the first request that the server is busy, and keeps the lines of the others."""

    answers: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answers.append(body)
        self.send_response(503 if len(self.answers) == 1 else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def test_three_packages_act_in_one_run(environment: Environment, tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        told = json.loads(succeed([environment.python, "-c", THREE, address], tmp_path))
        server.shutdown()
        thread.join()
    assert told["w"] == (-2.0 - 4.0) / 2
    assert told["swa"] == [1, 2]
    assert told["page"].startswith("# TOPK001: ")
    refused, *taken = Collector.answers
    assert taken[0].startswith(refused)
    lines = [json.loads(line) for line in "".join(taken).splitlines()]
    words = [line.get(name) for line in lines for name in ("alarm", "epoch/epoch", "outcome") if name in line]
    assert words == ["TOPK001", 1.0, 2.0, "finished"]


FEWER_BATCHES = """
import pytest
from rnncallbacks import testing

@pytest.fixture
def check_plugin():
    return lambda make: testing.check_plugin(make, budget_us=None, batches=100)
"""


def test_the_packages_pass_their_own_tests(environment: Environment, tmp_path: Path) -> None:
    # Beside the environment, so that nothing else is tested with pytest's own requirements at hand.
    link(requirements_of(environment.examples[0]), ["test"], tmp_path)
    (tmp_path / "fewer_batches.py").write_text(FEWER_BATCHES)
    command: list[str | Path] = [environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--assert=plain"]
    command += ["-c", PACKAGES[0] / "pyproject.toml", *(project / "tests" for project in PACKAGES)]
    printed = succeed(command, tmp_path, PYTHONPATH=str(tmp_path), PYTEST_PLUGINS="fewer_batches")
    assert " passed" in printed
    assert "skipped" not in printed


@pytest.mark.parametrize("project", PACKAGES, ids=lambda project: project.name)
def test_a_package_is_short(project: Path) -> None:
    trees = [ast.parse(path.read_text("utf-8")) for path in project.glob("src/*/*.py")]
    lines = {(id(tree), node.lineno) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.stmt)}
    assert 0 < len(lines) < 80
