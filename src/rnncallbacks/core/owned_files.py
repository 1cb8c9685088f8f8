"""The files that a run writes, locked against other runs."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from rnncallbacks.errors import FileInUseError
from rnncallbacks.files import make_directory, remove_leftovers

if TYPE_CHECKING:
    import filelock

logger = logging.getLogger("rnncallbacks")


class OwnedFiles:
    """Locks on files. A lock ends when it is released or when its process ends.

    The lock of ``history.jsonl`` is the file ``.history.jsonl.lock`` in the same directory. It is never removed: two
    processes could own the file afterwards.

    Example
    -------
    >>> import tempfile
    >>> owned = OwnedFiles()
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     owned.own(Path(directory) / "history.jsonl")
    ...     owned.release()
    """

    def __init__(self) -> None:
        self._locks: dict[Path, filelock.BaseFileLock] = {}

    def own(self, path: Path) -> None:
        """Lock a file, which need not exist, and remove the temporary files of killed processes.

        The directory is made if it does not exist. Where the file system has no locks, a warning is logged.

        Raises
        ------
        OptionError
            The directory cannot be made.
        FileInUseError
            Another run owns the file.
        """
        import filelock  # slow to import, and few runs write files

        make_directory(path.parent)
        path = Path(os.path.realpath(path))
        if path in self._locks:
            return
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            if not Path(lock.lock_file).exists():
                logger.warning(
                    "%s cannot be locked, and another run could write it: no lock file can be made there", path
                )
                return
            raise FileInUseError(
                f"{path}: another run writes this file{_owner(path)}",
                hint="wait for its end, or choose another directory",
            ) from None
        except (NotImplementedError, OSError) as error:
            logger.warning("%s cannot be locked, and another run could write it: %s", path, error)
            return
        self._locks[path] = lock
        with contextlib.suppress(OSError):  # it is for the message of another run only
            _owner_file(path).write_text(f"process {os.getpid()} on {platform.node() or 'this machine'}", "utf-8")
        remove_leftovers(path)

    def release(self) -> None:
        """Release all locks."""
        while self._locks:
            path, lock = self._locks.popitem()
            with contextlib.suppress(OSError):
                _owner_file(path).unlink(missing_ok=True)
            lock.release()


def _owner_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.owner")


def _owner(path: Path) -> str:
    try:
        return f": {_owner_file(path).read_text('utf-8')}"
    except (OSError, ValueError):
        return ""
