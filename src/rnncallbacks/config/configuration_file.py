"""The file of a configuration: its location and its content."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from rnncallbacks.errors import ConfigurationError

FILE = "rnncallbacks.toml"
PYPROJECT = "pyproject.toml"
MOST_BYTES = 1_000_000
"""Size of the largest configuration that is read. A configuration with every option of every plugin has 5,000."""
MOST_DOTS = 1000
"""Dots in the longest key that is read: Python's parser takes seconds for a key of some ten thousand parts."""
HINT = f"write a line [plugins.hidden_state_reset] into {FILE}, or pass plugins=recommended()"

Source = str | os.PathLike[str] | Mapping[str, Any] | None


@attrs.frozen
class ConfigurationFile:
    """The content of a configuration.

    Attributes
    ----------
    where:
        The path, relative to the working directory if it is below it, or a description if there is no file.
    prefix:
        The prefix of each key: ``tool.rnncallbacks.`` in a ``pyproject.toml``, else the empty string.
    content:
        The keys and tables.
    """

    where: str
    prefix: str
    content: Mapping[str, Any]


def read_source(source: Source, fallback: Mapping[str, Any] | None = None) -> ConfigurationFile:
    """The configuration of a path or a mapping, or for None that of the nearest file.

    Parameters
    ----------
    source:
        None: ``rnncallbacks.toml``, or a ``pyproject.toml`` that has ``[tool.rnncallbacks]``, in the working directory
        or the nearest directory above it. A path: that file. A mapping: the content of such a file.
    fallback:
        The content to use if ``source`` is None and there is no file.

    Raises
    ------
    ConfigurationError
        There is no configuration, or the file cannot be read.

    Example
    -------
    >>> read_source({"preset": "guards"}).content
    {'preset': 'guards'}
    """
    if isinstance(source, Mapping):
        return ConfigurationFile("configuration", "", source)
    if source is not None:
        found = _read_file(Path(source))
        if found is None:
            raise ConfigurationError([f"{source}: there is no table [tool.rnncallbacks]"], hint=HINT)
        return found
    here = Path.cwd()
    for directory in (here, *here.parents):
        for path in (directory / FILE, directory / PYPROJECT):
            if path.is_file() and (found := _read_file(path)) is not None:
                return found
    if fallback is not None:
        return ConfigurationFile("no configuration file", "", fallback)
    raise ConfigurationError(
        [f"no configuration: looked for {FILE}, and {PYPROJECT} with [tool.rnncallbacks], in {here} and above it"],
        hint=HINT,
    )


def _read_file(path: Path) -> ConfigurationFile | None:
    """The configuration in a file, or None for a ``pyproject.toml`` without one."""
    here = Path.cwd()
    where = str(path.relative_to(here) if path.is_relative_to(here) else path)
    try:
        _check_file(path, where)
        content = _parsed(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError([f"{where}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{where}: expected UTF-8 text: {error}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{where}: not valid TOML: {error}"]) from None
    if path.name != PYPROJECT:
        return ConfigurationFile(where, "", content)
    tool = content.get("tool", {})
    if not isinstance(tool, Mapping) or "rnncallbacks" not in tool:
        return None
    if not isinstance(tool["rnncallbacks"], Mapping):
        raise ConfigurationError([f"{where}: tool.rnncallbacks: expected a table, got {tool['rnncallbacks']!r}"])
    return ConfigurationFile(where, "tool.rnncallbacks.", tool["rnncallbacks"])


def _check_file(path: Path, where: str) -> None:
    """Refuse a path that is not a regular file of limited size; a missing file is an OSError."""
    try:
        status = path.stat()
    except ValueError:
        raise ConfigurationError([f"{where!r}: a path cannot contain a NUL or a surrogate"]) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
        raise ConfigurationError([f"{where}: expected a file, got {kind}"])
    if status.st_size > MOST_BYTES:
        raise ConfigurationError([f"{where}: expected at most {MOST_BYTES:,} bytes, got {status.st_size:,}"])


def _parsed(text: str) -> dict[str, Any]:
    if any(line.partition("=")[0].count(".") > MOST_DOTS for line in text.splitlines()):
        raise tomllib.TOMLDecodeError(f"a key has more than {MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("it is nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's limit for the digits of an integer
        raise tomllib.TOMLDecodeError("an integer has too many digits") from None
