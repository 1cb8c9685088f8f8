"""Files that are written atomically, and JSON text with words for non-finite numbers."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnncallbacks.errors import OptionError


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, unless it is there already.

    Raises
    ------
    OptionError
        It cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot make the directory {directory}: {error.strerror}",
            hint="name another one, or take away the file that bears the name",
        ) from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace ``path`` by a file with this content, text as UTF-8.

    The content is written beside it first, and takes its name only when it is whole.

    Raises
    ------
    OSError
        The directory is not there or cannot be written to; ``path`` is then as it was.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        error.filename = str(path)  # the one that its user knows
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
    """Plain values as JSON; "NaN", "Infinity" and "-Infinity" stand for the numbers of these names.

    Example
    -------
    >>> json_text({"loss": [float("nan"), 0.5]})
    '{"loss": ["NaN", 0.5]}'
    """
    return json.dumps(worded(value), allow_nan=False, indent=indent)


def worded(value: Any) -> Any:
    """The same values with words for the numbers that are not finite.

    Example
    -------
    >>> worded({"best": float("-inf"), "epochs": (1, 2)})
    {'best': '-Infinity', 'epochs': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {key: worded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [worded(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def parse_number(value: Any) -> float | None:
    """The number that a value of such a text stands for, or None if it is none.

    Example
    -------
    >>> parse_number("-Infinity"), parse_number(3), parse_number("a note")
    (-inf, 3.0, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value) if type(value) is str else None
