"""The package of plugins: each class is there, for imports and for type checkers, and loads nothing but its module."""

import ast
import json
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from rnncallbacks import plugins

ENTRY_POINTS = [
    one
    for one in entry_points(group="rnncallbacks.plugins")
    if one.dist is not None and one.dist.name == "rnncallbacks"
]


@pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda one: one.name)
def test_the_class_of_every_entry_point_can_be_imported_from_the_package(entry_point: EntryPoint) -> None:
    assert getattr(plugins, entry_point.attr) is entry_point.load()


def test_a_notebook_completes_the_names_of_the_classes() -> None:
    assert plugins.__all__ == dir(plugins) == sorted(one.attr for one in ENTRY_POINTS)  # type: ignore[attr-defined]


def test_type_checkers_are_told_of_every_class() -> None:
    tree = ast.parse(Path(plugins.__file__).read_text("utf-8"))
    (for_types,) = (node for node in tree.body if isinstance(node, ast.If))
    told = [f"{node.module}:{node.names[0].name}" for node in for_types.body if isinstance(node, ast.ImportFrom)]
    assert sorted(told) == sorted(one.value for one in ENTRY_POINTS)


def test_a_class_loads_its_own_module_alone() -> None:
    code = (
        "import sys, json; from rnncallbacks.plugins import LossAveraging; "
        "print(json.dumps([name for name in sys.modules if name.startswith('rnncallbacks.plugins')]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = [name for name in json.loads(run.stdout) if name.count(".") > 2]  # the folders have no code
    assert modules == ["rnncallbacks.plugins.remedies.loss_averaging"]


@pytest.mark.parametrize("name", ["Callback", "warmup", "os", "__wrapped__"])
def test_other_names_are_refused_as_in_any_module(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'rnncallbacks.plugins' has no attribute '{name}'"):
        getattr(plugins, name)
