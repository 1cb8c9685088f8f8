"""The tests of this folder are about the programs in it: they run where the marker ``benchmarks`` is asked for."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("benchmarks")
