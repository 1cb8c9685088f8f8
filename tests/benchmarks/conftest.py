"""The tests of this folder are about the programs in it: they run where the marker ``benchmarks`` is asked for."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import them either where the marker is excluded, as it is without ``-m``."""
    return True if config.option.markexpr == "not benchmarks" else None


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("benchmarks")
