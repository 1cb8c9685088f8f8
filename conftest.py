"""What every test needs, wherever it lies: examples in Markdown are tests, and no property is timed."""

from pathlib import Path

import pytest
from hypothesis import settings
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

# A busy machine is not a bug: only what a property says may fail it. The rest stays as Hypothesis has it, which on a
# continuous-integration machine means the same examples each time.
settings.register_profile("rnncallbacks", deadline=None)
settings.load_profile("rnncallbacks")


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples read a configuration from the working directory, and write beside it."""
    monkeypatch.chdir(tmp_path)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/**/*.md"],
    excludes=["docs/_build/**/*"],
    fixtures=["in_tmp_path"],
).pytest()
