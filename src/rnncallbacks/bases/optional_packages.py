"""Imports optional packages that some plugins need."""

from __future__ import annotations

import importlib
from typing import Any

from rnncallbacks.errors import PluginError, one_line


def import_extra(package: str, plugin: str, extra: str) -> Any:
    """Import the optional package that a plugin of the library needs.

    Raises
    ------
    PluginError
        The package is not installed, or its import fails. The hint is the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:
        raise PluginError(
            f"{plugin} needs the package {package.partition('.')[0]}: {one_line(error)}",
            hint=f"pip install 'rnncallbacks[{extra}]'",
        ) from error
