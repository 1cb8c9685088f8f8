"""Atomic writes, and JSON text that holds non-finite numbers."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnncallbacks.errors import OptionError

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def make_directory(directory: Path) -> None:
    """Make a directory and its parents, unless they exist.

    Raises
    ------
    OptionError
        The directory cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot make the directory {directory}: {error.strerror}",
            hint="choose another directory, or remove the file of that name",
        ) from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace ``path`` by a file with this content, text as UTF-8.

    The content is written to a temporary file in the same directory, which is then renamed. A reader sees the old file
    or the new one, never a part.

    Raises
    ------
    OSError
        The directory does not exist or is not writable; ``path`` is unchanged.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        error.filename = str(path)  # the temporary name would mean nothing to the user
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Plain values as JSON; the strings "NaN", "Infinity" and "-Infinity" stand for the non-finite numbers.

    Example
    -------
    >>> json_text({"loss": [float("nan"), 0.5]})
    '{"loss": ["NaN", 0.5]}'
    """
    return json.dumps(json_values(value), allow_nan=False, indent=indent)


def json_values(value: Any) -> Any:
    """The same values with strings for the numbers that are not finite, and lists for tuples.

    Example
    -------
    >>> json_values({"best": float("-inf"), "epochs": (1, 2)})
    {'best': '-Infinity', 'epochs': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {key: json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def parse_number(value: Any) -> float | None:
    """The number that a value of :func:`json_text` stands for, or None if it stands for none.

    Example
    -------
    >>> parse_number("-Infinity"), parse_number(3), parse_number("a note")
    (-inf, 3.0, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return _NON_FINITE.get(value) if type(value) is str else None
