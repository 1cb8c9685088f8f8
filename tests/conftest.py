"""What several tests need: no property is timed, and plugins can be installed."""

import importlib
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

# Workers share the processors: two threads of linear algebra each would wait for one another. Before NumPy is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

# Before any module's own examples are collected, so that each module of the package exists once.
import rnncallbacks  # noqa: F401

# No profile has a deadline: a busy machine is not a bug. "gate" draws the same examples in each run; at home they vary,
# and those that failed are saved in .hypothesis and tried first the next time.
FAILED_EXAMPLES = DirectoryBasedExampleDatabase(Path(__file__).parents[1] / ".hypothesis" / "examples")
settings.register_profile("home", deadline=None, derandomize=False, database=FAILED_EXAMPLES)
settings.register_profile("gate", deadline=None, derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "home"))

Install = Callable[..., Path]


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
