"""Runs the Python examples of the documentation as tests, each page in a directory of its own."""

from collections.abc import Iterator

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

# Sphinx's own configuration: it is read by Sphinx alone.
collect_ignore = ["conf.py"]


@pytest.fixture(scope="module")
def page_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The working directory of a page's examples: one writes a configuration, and a later one reads it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(tmp_path_factory.mktemp("page"))
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["**/*.md"],
    excludes=["_build/**/*"],
    fixtures=["page_directory"],
).pytest()
