"""Installs a distribution for one test: its metadata, from which entry points are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from rnncallbacks.alarms.registered_codes import CODE_GROUP
from rnncallbacks.config.discovery import GROUP
from rnncallbacks.core.plugin_checks import snake_case
from rnncallbacks.errors import PluginError, short_repr

INSTALLED_VERSION = "0.0.0"
"""The version of the distributions, which no index has."""


def install_plugin(
    factory: Callable[..., object] | str,
    name: str | None,
    *,
    folder: Path,
    distribution: str,
    codes: Mapping[str, str],
) -> str:
    """Write the metadata of a distribution with one plugin into a folder, and return the name of the plugin.

    Parameters
    ----------
    factory:
        The class of the plugin, or a function that makes it, which is defined in a module; or ``"module:Class"``.
    name:
        The name of the entry point; None for that of the class in snake_case.
    folder:
        A folder to be put on ``sys.path``.
    distribution:
        The name of the distribution.
    codes:
        The alarm codes that it registers, and their entries as ``"module:ENTRY"``.

    Raises
    ------
    PluginError
        The class cannot be imported by its name, or the folder has a distribution of this name.
    """
    value = factory if isinstance(factory, str) else _value_of(factory)
    name = name or snake_case(value.rpartition(":")[2])
    lines = [f"[{GROUP}]", f"{name} = {value}", f"[{CODE_GROUP}]", *(f"{code} = {codes[code]}" for code in codes)]
    info = folder / f"{re.sub('[-_.]+', '_', distribution)}-{INSTALLED_VERSION}.dist-info"
    if info.exists():
        raise PluginError(
            f"installed_plugin: {distribution!r} is installed already", hint="pass another name as distribution="
        )
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {INSTALLED_VERSION}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return name


def _value_of(factory: Callable[..., object]) -> str:
    name = getattr(factory, "__qualname__", "")
    if not name or "<" in name or not getattr(factory, "__module__", None):
        raise PluginError(
            f"installed_plugin: expected the class of a plugin that a module defines, got {short_repr(factory)}",
            hint="define it outside of the test function, and pass the class, not an object",
        )
    return f"{factory.__module__}:{name}"
