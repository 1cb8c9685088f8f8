"""Atomic writes, temporary files, text in UTF-8, JSON with non-finite numbers, and text made safe to show."""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rnncallbacks.errors import DataError, OptionError

TEMPORARY = ".tmp"
"""Suffix of temporary files."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a text that a spreadsheet interprets as a formula (OWASP, "CSV injection")."""
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


def write_atomically(path: Path, content: str | bytes, *, fsync: bool = False) -> None:
    """Replace ``path`` by a file with this content, text as UTF-8.

    The content is written to a temporary file in the same directory, which is then renamed. A reader sees the old file
    or the new one, never a part. A symbolic link stays, and the file that it points to is replaced. A new file has the
    permissions that the umask allows, a replaced one those of the old file.

    Parameters
    ----------
    path:
        The file.
    content:
        Its content.
    fsync:
        Whether file and directory are flushed to the disk before the function returns, so that the file is
        there after a power failure too.

    Raises
    ------
    OSError
        The directory does not exist or is not writable, or the disk is full; ``path`` is unchanged.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY}")
    try:
        with open(temporary, "xb") as file:
            if target.exists():
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            file.write(data)
            if fsync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        _remove(temporary)
        raise _about(path, error) from None  # the temporary name would mean nothing to the user
    except BaseException:
        _remove(temporary)  # it is gone if the interrupt came after the replacement
        raise
    if fsync:
        _flush_directory(target.parent)


def append_text(path: Path, text: str) -> None:
    """Append text as UTF-8, or nothing: after an error the file has the size that it had.

    Raises
    ------
    OSError
        The file cannot be written, or the disk is full; the error names the file.
    """
    data = memoryview(text.encode("utf-8"))
    try:
        with open(path, "ab", buffering=0) as file:
            size = file.tell()
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(size)
                raise
    except OSError as error:
        raise _about(path, error) from None


def _about(path: Path, error: OSError) -> OSError:
    """The error with the name of this file."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left when they wrote ``path``.

    The caller must own the directory, so that no other process writes there.
    """
    target = Path(os.path.realpath(path))
    remove_temporary_files(target.parent, lambda name: name == target.name)


def remove_temporary_files(directory: Path, of: Callable[[str], bool]) -> None:
    """Remove the temporary files in a directory of the files whose names ``of`` accepts.

    The caller must own these files, so that no other process writes them.
    """
    for leftover in directory.glob(f".*.*-*{TEMPORARY}"):
        if of(leftover.name[1:].rpartition(".")[0].rpartition(".")[0]):
            _remove(leftover)


def text_of_file(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises
    ------
    DataError
        It cannot be read, or is no UTF-8; the message names the file.
    """
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text: {error}") from None


def _flush_directory(directory: Path) -> None:
    if os.name != "posix":  # elsewhere a directory cannot be opened
        return
    # Some file systems cannot flush a directory. The file itself was flushed.
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Plain values as JSON; the strings "NaN", "Infinity" and "-Infinity" stand for the non-finite numbers.

    Raises
    ------
    DataError
        A value is neither a number nor text, a truth value, None, or a list or mapping of these.

    Example
    -------
    >>> json_text({"loss": [float("nan"), 0.5]})
    '{"loss": ["NaN", 0.5]}'
    """
    try:
        return json.dumps(json_values(value), allow_nan=False, indent=indent)
    except TypeError as error:
        raise DataError(f"expected numbers, text, lists and mappings: {error}") from error


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
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return _NON_FINITE.get(value) if type(value) is str else None


def printable(text: str) -> str:
    r"""The text with escapes for characters that are not printable: control characters, lone surrogates, noncharacters.

    Newlines and tabs are kept.

    Example
    -------
    >>> print(printable("loss\x1b[2J fell"))
    loss\x1b[2J fell
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode("ascii") for one in text
    )


def spreadsheet_cell(value: object) -> object:
    """A value for a CSV file: a text that a spreadsheet would interpret as a formula gets an apostrophe in front.

    Example
    -------
    >>> spreadsheet_cell("=cmd"), spreadsheet_cell(-1.5), spreadsheet_cell("-Infinity")
    ("'=cmd", -1.5, '-Infinity')
    """
    harmless = not isinstance(value, str) or value == "-Infinity" or not value.startswith(FORMULA)
    return value if harmless else f"'{value}"
