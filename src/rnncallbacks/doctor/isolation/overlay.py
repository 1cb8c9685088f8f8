"""A view of the file system in which all writes go to a folder, where reads find them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import PurePath

WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
"""The flags of ``os.open`` with which a file can change."""
LARGEST_COPY = 2**30
"""Largest file, in bytes, that is copied because a script opens it to change a part of it. Chosen by eye."""
UNTOUCHED = ("/dev/", "/proc/")
"""Paths that are not files and are opened directly. /dev/shm, which holds files, is the exception."""


class Overlay:
    """A view of the file system whose changes are in a folder.

    The folder mirrors the file system: what a script writes as ``/home/me/model.npz`` is ``files/home/me/model.npz`` in
    it. A file that is changed in part is copied first. Deleted paths are recorded and no longer found. Paths as
    the script knows them are called visible; :meth:`find` returns the place of their content.

    Each fork of the script calls :meth:`add_layer` once. From then on, its changes are its own.

    The methods use the functions of ``os`` and ``shutil``, so call them while these are not redirected.

    Parameters
    ----------
    folder:
        An existing directory, with links resolved.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._layers = [os.path.join(folder, "files")]
        self._hidden: list[set[str]] = [set()]  # deleted paths: they hide files of the layers below

    def add_layer(self) -> None:
        """Separate later changes from earlier ones, which stay visible."""
        self._layers.insert(0, os.path.join(self.folder, "forks", str(os.getpid())))
        self._hidden.insert(0, set())

    def clear(self) -> None:
        """Forget all changes, as in a new folder; no file in it may be open on Windows."""
        for layer, hidden in zip(self._layers, self._hidden, strict=True):
            hidden.clear()
            if os.path.isdir(layer):
                shutil.rmtree(layer)

    # --- paths -------------------------------------------------------------------------------------------------------

    def visible(self, path: str | bytes | os.PathLike[str], *, follow: bool = True) -> str:
        """The absolute path under which the script sees a file, with links resolved."""
        whole = self.unmapped(os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(path))))
        if self.passes(whole):
            return whole
        if follow:
            return self.unmapped(os.path.realpath(whole))
        head, tail = os.path.split(whole)
        return os.path.join(self.unmapped(os.path.realpath(head)), tail)

    def unmapped(self, path: str) -> str:
        """The visible path of a path that may be within the folder."""
        for layer in self._layers:
            if path == layer or path.startswith(layer + os.sep):
                rest = path[len(layer) :].lstrip(os.sep)
                return f"{rest[0]}:{os.sep}{rest[2:]}" if os.name == "nt" else os.sep + rest
        return path

    def passes(self, visible: str) -> bool:
        """Whether a path is used directly: a device, or a path in the folder."""
        inside = visible == self.folder or visible.startswith(self.folder + os.sep)
        return inside or (visible.startswith(UNTOUCHED) and not visible.startswith("/dev/shm"))

    def find(self, visible: str) -> str | None:
        """The place of the content of a visible path, or None if no such file is visible."""
        if self.passes(visible):
            return visible if os.path.lexists(visible) else None
        for layer, hidden in zip(self._layers, self._hidden, strict=True):
            place = _place(layer, visible)
            if os.path.lexists(place):
                return place
            if _is_within(visible, hidden):
                return None
        return visible if os.path.lexists(visible) else None

    def existing(self, visible: str) -> str:
        """The place of the content of a visible path.

        Raises
        ------
        FileNotFoundError
            No such file is visible.
        """
        place = self.find(visible)
        if place is None:
            raise _os_error(errno.ENOENT, visible)
        return place

    def directory_to_enter(self, visible: str) -> str:
        """The new current directory: the user's own, unless the script made or deleted it."""
        place = self.existing(visible)
        hidden = any(_is_within(visible, paths) for paths in self._hidden)
        return visible if os.path.isdir(visible) and not hidden else place

    def differs(self, visible: str) -> bool:
        """Whether anything in a directory was changed."""
        return any(
            os.path.isdir(_place(layer, visible))
            or visible in hidden
            or any(_is_within(one, {visible}) for one in hidden)
            for layer, hidden in zip(self._layers, self._hidden, strict=True)
        )

    def names(self, visible: str) -> list[str]:
        """The names in a directory, sorted.

        Raises
        ------
        FileNotFoundError, NotADirectoryError
            No such directory is visible.
        """
        if not os.path.isdir(self.existing(visible)):
            raise _os_error(errno.ENOTDIR, visible)
        candidates: set[str] = set()
        for directory in [*(_place(layer, visible) for layer in self._layers), visible]:
            if os.path.isdir(directory):
                candidates.update(os.listdir(directory))
        return sorted(name for name in candidates if self.find(os.path.join(visible, name)) is not None)

    # --- changes -----------------------------------------------------------------------------------------------------

    def file_to_open(self, visible: str, flags: int) -> str:
        """The file to open in place of a visible path; it is copied into the folder if it can change.

        Raises
        ------
        OSError
            As ``os.open`` for this path and these flags, or the file is too large to be copied.
        """
        place = self.find(visible)
        if not flags & WRITE_FLAGS or self.passes(visible):
            return visible if place is None and not os.path.lexists(visible) else self.existing(visible)
        if place is None:
            if not flags & os.O_CREAT:
                raise _os_error(errno.ENOENT, visible)
            return self._new(visible)
        if flags & os.O_CREAT and flags & os.O_EXCL:
            raise _os_error(errno.EEXIST, visible)
        mode = os.stat(place).st_mode
        if stat.S_ISDIR(mode):
            raise _os_error(errno.EISDIR, visible)
        if not stat.S_ISREG(mode) or not os.access(place, os.W_OK):
            raise _os_error(errno.EACCES, visible)
        return self._own_copy(visible, place, empty=bool(flags & os.O_TRUNC))

    def file_to_change(self, visible: str) -> str:
        """The file or directory, in the folder, whose attributes are changed in place of a visible path's."""
        place = self.existing(visible)
        return self._own_directory(visible) if os.path.isdir(place) else self._own_copy(visible, place)

    def make_directory(self, visible: str) -> None:
        if self.find(visible) is not None:
            raise _os_error(errno.EEXIST, visible)
        os.mkdir(self._new(visible))

    def remove(self, visible: str) -> None:
        place = self.existing(visible)
        if os.path.isdir(place) and not os.path.islink(place):
            raise _os_error(errno.EISDIR, visible)
        if place == self._own_place(visible):
            os.unlink(place)
        self._hidden[0].add(visible)

    def remove_directory(self, visible: str) -> None:
        if self.names(visible):
            raise _os_error(errno.ENOTEMPTY, visible)
        place = self._own_place(visible)
        if os.path.isdir(place):
            os.rmdir(place)
        self._hidden[0].add(visible)

    def rename(self, source: str, target: str) -> None:
        """Move a file or a directory; a file at the target is replaced."""
        place, there = self.existing(source), self.find(target)
        if source == target:
            return
        if there is not None and os.path.isdir(there):
            if not os.path.isdir(place):
                raise _os_error(errno.EISDIR, target)
            self.remove_directory(target)
        self.copy(source, target)
        self._remove_tree(source)

    def copy(self, source: str, target: str) -> None:
        """Copy a file, or a directory with its content."""
        place = self.existing(source)
        if os.path.isdir(place):
            self.make_directory(target)
            for name in self.names(source):
                self.copy(os.path.join(source, name), os.path.join(target, name))
        else:
            shutil.copy2(place, self._new(target))

    def _remove_tree(self, visible: str) -> None:
        if os.path.isdir(self.existing(visible)):
            for name in self.names(visible):
                self._remove_tree(os.path.join(visible, name))
            self.remove_directory(visible)
        else:
            self.remove(visible)

    def _new(self, visible: str) -> str:
        """The place of a new file, whose directory is one that the script may write to."""
        parent = os.path.dirname(visible)
        directory = self.existing(parent)
        if not os.path.isdir(directory):
            raise _os_error(errno.ENOTDIR, visible)
        if not os.access(directory, os.W_OK):
            raise _os_error(errno.EACCES, visible)
        self._own_directory(parent)
        return self._own_place(visible)

    def _own_place(self, visible: str) -> str:
        return visible if self.passes(visible) else _place(self._layers[0], visible)

    def _own_directory(self, visible: str) -> str:
        place = self._own_place(visible)
        os.makedirs(place, exist_ok=True)
        return place

    def _own_copy(self, visible: str, place: str, *, empty: bool = False) -> str:
        own = self._own_place(visible)
        if place != own:
            if not empty and os.path.getsize(place) > LARGEST_COPY:
                raise _os_error(errno.EFBIG, visible)
            self._own_directory(os.path.dirname(visible))
            if not empty:
                shutil.copyfile(place, own)
        return own

    # --- what was written --------------------------------------------------------------------------------------------

    def written(self) -> Iterator[str]:
        """The visible paths of the files in the folder, without those of forks."""
        for directory, _, names in os.walk(self._layers[-1]):
            yield from (self.unmapped(os.path.join(directory, name)) for name in names)


def _place(layer: str, visible: str) -> str:
    path = PurePath(visible)
    return os.path.join(layer, path.drive.rstrip(":"), *path.parts[1:])


def _is_within(visible: str, directories: set[str]) -> bool:
    return visible in directories or any(visible.startswith(one + os.sep) for one in directories)


def _os_error(number: int, visible: str) -> OSError:
    return OSError(number, os.strerror(number), visible)  # Python makes it FileNotFoundError and the like
