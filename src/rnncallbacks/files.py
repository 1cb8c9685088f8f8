"""Writing files so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

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
