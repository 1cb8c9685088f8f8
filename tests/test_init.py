"""The public names, and what importing them does not do."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import rnncallbacks

# What is slow to import, or is not to be imported before somebody enables it.
LEFT_OUT = ["click", "rich", "cattrs", "importlib.metadata", "rnncallbacks.cli", "rnncallbacks.plugins"]


def test_the_public_names_are_sorted_and_there() -> None:
    assert rnncallbacks.__all__ == sorted(rnncallbacks.__all__)
    assert all(hasattr(rnncallbacks, name) for name in rnncallbacks.__all__)


def test_the_version_is_that_of_the_installed_package() -> None:
    assert rnncallbacks.__version__ == version("rnncallbacks")


def test_other_names_are_refused_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match=r"module 'rnncallbacks' has no attribute 'Callback'"):
        rnncallbacks.Callback  # noqa: B018


def test_the_import_leaves_plugins_and_slow_modules_alone() -> None:
    """NumPy goes first, as it may import some of them itself."""
    code = (
        "import sys, json, numpy; before = set(sys.modules); import rnncallbacks; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = json.loads(run.stdout)
    assert "rnncallbacks.core.run" in imported
    assert [name for name in imported if any(f"{name}.".startswith(f"{one}.") for one in LEFT_OUT)] == []
