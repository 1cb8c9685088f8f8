"""Redirects functions of ``os``, ``io`` and ``sqlite3`` that take paths to an overlay."""

from __future__ import annotations

import builtins
import errno
import functools
import glob
import io
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import attrs

from rnncallbacks.doctor.isolation.overlay import Overlay
from rnncallbacks.doctor.isolation.refusals import Refusals

NOT_FOUND = 127 << 8
"""Result of ``os.system`` for a command that the shell does not find."""
GET_PATH = 50
"""``F_GETPATH`` of macOS, which is missing in ``fcntl`` of Python 3.11."""


def path_of_descriptor(descriptor: int) -> str:
    """The path of an open file.

    Raises
    ------
    OSError
        The system does not provide it.
    """
    if sys.platform == "darwin":
        import fcntl

        return os.fsdecode(fcntl.fcntl(descriptor, GET_PATH, bytes(1024)).split(b"\0")[0])
    return os.readlink(f"/proc/self/fd/{descriptor}")


class Redirections:
    """Replaces functions by versions that work on an overlay, until :meth:`remove`.

    References to these functions that modules keep remain valid: without a script, they call the originals.
    """

    def __init__(self, overlay: Overlay, refusals: Refusals) -> None:
        self.overlay = overlay
        self.refusals = refusals
        self._active = False
        self._before: list[tuple[Any, str, Any]] = []
        self._os_open = os.open

    def install(self) -> None:
        self._active = True
        for name in ("stat", "access", "listdir", "scandir", "chdir", "mkdir", "rmdir", "rename", "link", "symlink"):
            self._replace(os, name, getattr(self, f"_{name}"))
        for name in ("getxattr", "listxattr"):
            self._replace(os, name, self._attributes)
        for name in ("lstat", "readlink"):
            self._replace(os, name, self._of_link)
        for name in ("remove", "unlink"):
            self._replace(os, name, self._remove)
        for name in ("truncate", "chmod", "chown", "utime", "setxattr", "removexattr"):
            self._replace(os, name, self._change)
        for name in ("mkfifo", "mknod"):
            self._replace(os, name, self._no_pipe)
        self._replace(os, "open", self._open_descriptor)
        self._replace(os, "replace", self._rename)
        self._replace(os, "getcwd", lambda real: self.overlay.unmapped(real()))
        self._replace(os, "system", self._system)
        self._replace(builtins, "open", self._open)
        self._replace(io, "open", self._open)
        openers = getattr(sys.modules.get("numpy.lib._datasource"), "_file_openers", None)
        if openers is not None and openers[".gz"]:  # its table of openers is made on first use
            self._before.append((openers, "_file_openers", dict(openers._file_openers)))
            openers._file_openers[None] = io.open
        globbers: list[Any] = [getattr(glob, name, None) for name in ("_StringGlobber", "_Globber")]
        for globber in globbers:
            if "scandir" in vars(globber or object):  # since Python 3.13, pathlib keeps the function there
                self._before.append((globber, "scandir", vars(globber)["scandir"]))
                globber.scandir = staticmethod(os.scandir)
        self._replace(sqlite3, "connect", self._connect)
        self._replace(signal, "pidfd_send_signal", self._no_signal)  # which has no audit event
        self._replace(sys.modules.get("_posixsubprocess"), "fork_exec", self._fork_exec)

    def remove(self) -> None:
        self._active = False
        for module, name, real in reversed(self._before):
            setattr(module, name, real)
        self._before.clear()

    def _replace(self, module: Any, name: str, replacement: Callable[..., Any]) -> None:
        real = getattr(module, name, None)
        if real is None:  # not on this system
            return

        @functools.wraps(real)
        def redirected(*arguments: Any, **options: Any) -> Any:
            if not self._active or self.refusals.suspended:
                return real(*arguments, **options)
            with self.refusals.suspend():
                try:
                    return replacement(real, *arguments, **options)
                except OSError as error:
                    _name_as_given(error, arguments)
                    raise

        self._before.append((module, name, real))
        setattr(module, name, redirected)

    def _visible(self, path: Any, dir_fd: int | None = None, *, follow: bool = True) -> str:
        if dir_fd is not None:
            path = os.path.join(self.overlay.unmapped(path_of_descriptor(dir_fd)), os.fsdecode(path))
        return self.overlay.visible(path, follow=follow)

    def _found(self, path: Any, dir_fd: int | None = None, *, follow: bool = True) -> str:
        return self.overlay.existing(self._visible(path, dir_fd, follow=follow))

    # --- reading -----------------------------------------------------------------------------------------------------

    def _stat(self, real: Any, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        place = path if isinstance(path, int) else self._found(path, dir_fd, follow=follow_symlinks)
        return real(place, follow_symlinks=follow_symlinks)  # type: ignore[no-any-return]

    def _of_link(self, real: Any, path: Any, *, dir_fd: int | None = None) -> Any:
        return real(self._found(path, dir_fd, follow=False))

    def _attributes(self, real: Any, path: Any = ".", *arguments: Any, follow_symlinks: bool = True) -> Any:
        place = path if isinstance(path, int) else self._found(path, follow=follow_symlinks)
        return real(place, *arguments, follow_symlinks=follow_symlinks)

    def _access(self, real: Any, path: Any, mode: int, *, dir_fd: int | None = None, **options: Any) -> bool:
        if isinstance(path, int):
            return bool(real(path, mode, **options))
        place = self.overlay.find(self._visible(path, dir_fd))
        return place is not None and bool(real(place, mode, **options))

    def _listdir(self, real: Any, path: Any = ".") -> list[Any]:
        if isinstance(path, int):
            return list(real(path))
        names = self.overlay.names(self._visible(path if path is not None else "."))
        return [os.fsencode(name) for name in names] if isinstance(os.fspath(path or "."), bytes) else names

    def _scandir(self, real: Any, path: Any = ".") -> Any:
        path = "." if path is None else path
        if isinstance(path, int) or not self.overlay.differs(self._visible(path)):
            return real(path)
        return DirectoryEntries(os.fspath(path), self._listdir(None, path))

    def _chdir(self, real: Any, path: Any) -> None:
        real(path if isinstance(path, int) else self.overlay.directory_to_enter(self._visible(path)))

    # --- opening -----------------------------------------------------------------------------------------------------

    def _open_descriptor(
        self, real: Any, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        return int(real(self.overlay.file_to_open(self._visible(path, dir_fd), flags), flags, mode))

    def _open(
        self,
        real: Any,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Callable[[Any, int], int] | None = None,
    ) -> Any:
        def led(path: Any, flags: int) -> int:
            if opener is None:
                return self._os_open(self.overlay.file_to_open(self._visible(path), flags), flags, 0o666)
            with self.refusals.resume():
                return opener(path, flags)

        # An opener, so that the file's name is the one that the script gave.
        return real(file, mode, buffering, encoding, errors, newline, closefd, opener if isinstance(file, int) else led)

    def _connect(self, real: Any, database: Any, *arguments: Any, **options: Any) -> Any:
        if options.get("uri") or database in ("", ":memory:"):
            with self.refusals.resume():
                return real(database, *arguments, **options)
        place = self.overlay.file_to_open(self._visible(database), os.O_RDWR | os.O_CREAT)
        return real(place, *arguments, **options)

    # --- changing ----------------------------------------------------------------------------------------------------

    def _change(self, real: Any, path: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(path, int):
            with self.refusals.resume():  # the descriptor may be of a file that was opened to read it
                return real(path, *arguments, **options)
        visible = self._visible(path, options.pop("dir_fd", None))
        return real(self.overlay.file_to_change(visible), *arguments, **options)

    def _mkdir(self, _real: Any, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self.overlay.make_directory(self._visible(path, dir_fd))

    def _rmdir(self, _real: Any, path: Any, *, dir_fd: int | None = None) -> None:
        self.overlay.remove_directory(self._visible(path, dir_fd, follow=False))

    def _remove(self, _real: Any, path: Any, *, dir_fd: int | None = None) -> None:
        self.overlay.remove(self._visible(path, dir_fd, follow=False))

    def _rename(
        self, _real: Any, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        self.overlay.rename(self._visible(src, src_dir_fd, follow=False), self._visible(dst, dst_dir_fd, follow=False))

    def _link(
        self, _real: Any, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None, **_: Any
    ) -> None:
        self._copy(self._visible(src, src_dir_fd), self._visible(dst, dst_dir_fd, follow=False))

    def _symlink(
        self, _real: Any, src: Any, dst: Any, target_is_directory: bool = False, *, dir_fd: int | None = None
    ) -> None:
        target = self._visible(dst, dir_fd, follow=False)
        self._copy(self._visible(os.path.join(os.path.dirname(target), os.fspath(src))), target)

    def _copy(self, source: str, target: str) -> None:
        """Replaces a link: later writes under one name are not visible under the other."""
        if self.overlay.find(target) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        self.overlay.copy(source, target)

    def _no_pipe(self, _real: Any, path: Any, *_arguments: Any, **_options: Any) -> None:
        raise self.refusals.refuse(f"named pipes and devices ({os.fsdecode(path)})", "leave the call out")

    # --- processes ---------------------------------------------------------------------------------------------------

    def _system(self, _real: Any, command: Any) -> int:
        self.refusals.refuse(f"other processes (it called os.system({os.fsdecode(command)!r}))", "")
        return NOT_FOUND

    def _no_signal(self, _real: Any, *_arguments: Any) -> None:
        raise self.refusals.refuse("signals to other processes", "leave the call out")

    def _fork_exec(self, _real: Any, *_arguments: Any) -> int:
        raise self.refusals.refuse("other processes", "leave them out, or set the number of workers to 0")


def _name_as_given(error: OSError, arguments: tuple[Any, ...]) -> None:
    """Let an error name the paths that the script gave."""
    if isinstance(error.filename, str | bytes) and arguments and not isinstance(arguments[0], int):
        error.filename = os.fspath(arguments[0])
    if error.filename2 is not None and len(arguments) > 1:
        error.filename2 = os.fspath(arguments[1])


@attrs.frozen
class DirectoryEntry(os.PathLike[Any]):
    """A file in a directory, with the methods of ``os.DirEntry``."""

    name: Any
    path: Any

    def __fspath__(self) -> Any:
        return self.path

    def inode(self) -> int:
        return self.stat(follow_symlinks=False).st_ino

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return os.path.isdir(self.path) and (follow_symlinks or not self.is_symlink())

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return os.path.isfile(self.path) and (follow_symlinks or not self.is_symlink())

    def is_symlink(self) -> bool:
        return os.path.islink(self.path)

    def is_junction(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(self.path, follow_symlinks=follow_symlinks)


class DirectoryEntries:
    """The files in a directory, as ``os.scandir`` returns them."""

    def __init__(self, directory: Any, names: list[Any]) -> None:
        self._rest = iter([DirectoryEntry(name, os.path.join(directory, name)) for name in names])

    def __iter__(self) -> Iterator[DirectoryEntry]:
        return self

    def __next__(self) -> DirectoryEntry:
        return next(self._rest)

    def __enter__(self) -> DirectoryEntries:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._rest = iter(())
