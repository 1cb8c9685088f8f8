"""Files that are open when a process forks: reads and writes of the fork must not move the parent's position."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs

from rnncallbacks.doctor.isolation.redirections import path_of_descriptor

try:
    import fcntl
except ImportError:  # Windows, which does not fork
    fcntl = None  # type: ignore[assignment]

STANDARD_STREAMS = (0, 1, 2)
DESCRIPTORS = "/dev/fd"


@attrs.frozen
class OpenFile:
    """A regular file that a process has open.

    Attributes
    ----------
    descriptor:
        Its number.
    flags:
        The flags with which it is open.
    place:
        Position of the next byte that is read or written.
    size:
        Its length in bytes.
    identity:
        Its device and inode.
    """

    descriptor: int
    flags: int
    place: int
    size: int
    identity: tuple[int, int]


def open_files() -> list[OpenFile]:
    """The regular open files of this process, without the standard streams. Call it before a fork."""
    found = []
    for descriptor in map(int, os.listdir(DESCRIPTORS)):
        try:
            status = os.fstat(descriptor)
        except OSError:  # that of the listing
            continue
        if descriptor not in STANDARD_STREAMS and stat.S_ISREG(status.st_mode):
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            place = os.lseek(descriptor, 0, os.SEEK_CUR)
            found.append(OpenFile(descriptor, flags, place, status.st_size, (status.st_dev, status.st_ino)))
    return found


def separate(files: list[OpenFile], folder: Path) -> None:
    """Open the files of the parent again, so that this process has its own position in each. Call it in a fork.

    A file that is open for writing becomes a copy, in ``folder`` and without a name. A file that the fork has already
    closed is left out.
    """
    for file in files:
        # Functions of os.register_at_fork run first, and may close files: Matplotlib closes its fonts.
        if not _is_open(file):
            continue
        source = _opened_again(file.descriptor)
        if file.flags & (os.O_WRONLY | os.O_RDWR):
            source = _copy(source, file, folder)
        os.lseek(source, file.place, os.SEEK_SET)
        os.dup2(source, file.descriptor, inheritable=os.get_inheritable(file.descriptor))
        os.close(source)


def _is_open(file: OpenFile) -> bool:
    try:
        status = os.fstat(file.descriptor)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == file.identity


def _opened_again(descriptor: int) -> int:
    # On Linux this finds files without a name too; on macOS /dev/fd would give the parent's place.
    own = f"/proc/self/fd/{descriptor}"
    return os.open(own if os.path.exists(own) else path_of_descriptor(descriptor), os.O_RDONLY | os.O_CLOEXEC)


def _copy(source: int, file: OpenFile, folder: Path) -> int:
    path = folder / f"open-{os.getpid()}-{file.descriptor}"
    copy = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    left = file.size  # without later writes of the parent
    while left > 0 and (block := os.read(source, min(left, 1 << 20))):
        left -= len(block)
        os.write(copy, block)
    os.close(source)
    if file.flags & os.O_APPEND:
        fcntl.fcntl(copy, fcntl.F_SETFL, os.O_APPEND)
    return copy
