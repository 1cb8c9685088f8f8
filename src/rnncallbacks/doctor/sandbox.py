"""Runs a script so that it changes nothing but a scratch folder."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rnncallbacks.doctor.isolation.headless import headless
from rnncallbacks.doctor.isolation.landlock import confine_writes
from rnncallbacks.doctor.isolation.open_files import open_files, separate
from rnncallbacks.doctor.isolation.overlay import Overlay
from rnncallbacks.doctor.isolation.redirections import Redirections, path_of_descriptor
from rnncallbacks.doctor.isolation.refusals import Refusals

CACHES = ("__pycache__", ".cache", ".config", ".matplotlib", ".ipython", "Caches")
"""Cache directories of libraries, which contain no files of the user."""
REFUSED = "refused.txt"
NOT_SEPARATE = 70
"""Exit code of a fork whose open files could not be separated from its parent's."""


class ScratchFolder:
    """The folder for the files that scripts write, owned by the process that starts them.

    It is removed at the end, unless a script wrote files of its own.

    >>> with ScratchFolder() as scratch, Sandbox(scratch.new_place()) as sandbox:
    ...     with open("weights.txt", "w") as file:
    ...         _ = file.write("0.5")
    ...     sandbox.written
    ['...weights.txt']
    >>> scratch.kept
    True
    >>> scratch.remove()
    """

    def __init__(self) -> None:
        self.path = Path(os.path.realpath(tempfile.mkdtemp(prefix="rnncallbacks-doctor-")))
        self._places = 0

    def __enter__(self) -> ScratchFolder:
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._place_paths():
            for forks in (place / "forks", place / "temporary"):
                shutil.rmtree(forks, ignore_errors=True)
        if not self.written():
            self.remove()

    @property
    def kept(self) -> bool:
        return self.path.exists()

    def new_place(self) -> Path:
        """A new folder in it, for one run of a script."""
        self._places += 1
        place = self.path / f"run-{self._places}"
        place.mkdir()
        return place

    def written(self) -> list[str]:
        """The files that scripts wrote, under the paths that they gave, sorted."""
        return sorted({path for place in self._place_paths() for path in _own_files(Overlay(str(place)))})

    def refused(self) -> list[str]:
        """The actions that the sandbox refused, in order."""
        notes = (place / REFUSED for place in self._place_paths())
        lines = [line for note in notes if note.exists() for line in note.read_text("utf-8").splitlines()]
        return list(dict.fromkeys(lines))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def _place_paths(self) -> list[Path]:
        return sorted(self.path.glob("run-*"))


class Sandbox(AbstractContextManager["Sandbox"]):
    """Isolates a script from the user's files, the network, other processes and the screen.

    Writes go to ``folder``, where reads find them. Other actions raise :class:`~rnncallbacks.errors.SandboxError`.

    Parameters
    ----------
    folder:
        An empty directory.
    for_good:
        Also restrict the process by the kernel, on Linux with Landlock. This includes compiled code and cannot be
        undone, so it is for a process that ends with the script.
    """

    def __init__(self, folder: Path, *, for_good: bool = False) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._temporary = self.folder / "temporary"
        self._for_good = for_good
        self.confined = False
        self._overlay = Overlay(str(self.folder))
        self._refusals = Refusals(self._is_scratch)
        self._redirections = Redirections(self._overlay, self._refusals)
        self._stack = ExitStack()

    def __enter__(self) -> Sandbox:
        self._temporary.mkdir()
        with ExitStack() as stack:
            stack.enter_context(_settings(str(self._temporary)))
            stack.enter_context(headless())
            if self._for_good:
                self.confined = confine_writes(str(self.folder))
            self._redirections.install()
            stack.callback(self._redirections.remove)
            self._refusals.start()
            stack.callback(self._refusals.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        here = os.getcwd()  # as the script sees it
        self._stack.close()
        if os.getcwd() != here and os.path.isdir(here):
            os.chdir(here)
        self.note_refused()

    def own_calls(self) -> AbstractContextManager[None]:
        """Let the doctor's own code write, fork and signal in the body, in this thread."""
        return self._refusals.suspend()

    def fork(self) -> int:
        """Fork the script like ``os.fork``, with separate files and file positions."""
        with self.own_calls():
            files = open_files()
            drawn = random.getstate()  # the module gives its generator a new seed in a fork
            child = os.fork()
            if not child:
                try:
                    random.setstate(drawn)
                    separate(files, self._temporary)
                except BaseException:
                    os._exit(NOT_SEPARATE)
                self._overlay.add_layer()
            return child

    def clear(self) -> None:
        """Remove the files that the script has written.

        Raises
        ------
        OSError
            The system removes no file that is open.
        """
        with self.own_calls():
            self._overlay.clear()
            if any(self._temporary.iterdir()):
                shutil.rmtree(self._temporary)
                self._temporary.mkdir()

    @property
    def written(self) -> list[str]:
        """The files that the script has written, under the paths that it gave, sorted."""
        with self.own_calls():
            return sorted(_own_files(self._overlay))

    @property
    def refused(self) -> list[str]:
        """The refused actions of the script, in order."""
        return list(self._refusals.refused)

    def note_refused(self) -> None:
        """Write the refused actions into the folder, for the process that owns it."""
        if self._refusals.refused:
            with self.own_calls():
                (self.folder / REFUSED).write_text("\n".join(self._refusals.refused), "utf-8")

    def _is_scratch(self, path: Any) -> bool:
        if isinstance(path, int):
            path = path_of_descriptor(path)
        if path in ("", ":memory:"):  # of SQLite
            return True
        return self._overlay.passes(os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(path))))


def _own_files(overlay: Overlay) -> Iterator[str]:
    return (path for path in overlay.written() if not set(Path(path).parts) & set(CACHES))


@contextmanager
def _settings(temporary: str) -> Iterator[None]:
    """Temporary files in the folder, no compiled modules, and paths in place of descriptors where ``shutil`` walks."""
    before = tempfile.tempdir, sys.dont_write_bytecode, getattr(shutil, "_use_fd_functions", False)
    tempfile.tempdir, sys.dont_write_bytecode, shutil._use_fd_functions = temporary, True, False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        tempfile.tempdir, sys.dont_write_bytecode, shutil._use_fd_functions = before  # type: ignore[attr-defined]
