"""Refuses actions of a script that no redirection covers, as the last line of defense."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rnncallbacks.doctor.isolation.overlay import WRITE_FLAGS
from rnncallbacks.errors import SandboxError

FILE_EVENTS = {
    "open": (0,),
    "os.chflags": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.removexattr": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.setxattr": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "sqlite3.connect": (0,),
}
"""Audit events of changed files, and the positions of paths that must be in the scratch folder."""
PROCESSES = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
    "webbrowser.open",
}
SIGNALS = {"os.kill", "os.killpg"}
NETWORK = {
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.sendmsg",
    "socket.sendto",
}
WINDOWS = {"_tkinter"}
"""Modules that always open windows."""
WATCHED = {*FILE_EVENTS, *PROCESSES, *SIGNALS, *NETWORK, "import"}

_watching: list[Refusals] = []
_hooks: list[Callable[[str, tuple[Any, ...]], None]] = []  # at most one: Python cannot remove a hook


class Refusals:
    """Refuses side effects of a script outside of the scratch folder, by Python's audit events.

    Parameters
    ----------
    is_scratch:
        Whether a path, as given to a function of ``os``, may be changed.

    Attributes
    ----------
    refused:
        The refused actions, each once, in order.
    """

    def __init__(self, is_scratch: Callable[[Any], bool]) -> None:
        self._is_scratch = is_scratch
        self._own = threading.local()
        self.refused: list[str] = []

    def start(self) -> None:
        _watching.append(self)
        if not _hooks:
            _hooks.append(_audit)
            sys.addaudithook(_audit)

    def stop(self) -> None:
        _watching.remove(self)

    @property
    def suspended(self) -> bool:
        """Whether the code that runs in this thread is the doctor's own."""
        return getattr(self._own, "depth", 0) > 0

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """Let the calls in the body through, in this thread."""
        self._own.depth = getattr(self._own, "depth", 0) + 1
        try:
            yield
        finally:
            self._own.depth -= 1

    @contextmanager
    def resume(self) -> Iterator[None]:
        """Refuse again in the body, for a call from the doctor's own code back into the script."""
        depth, self._own.depth = getattr(self._own, "depth", 0), 0
        try:
            yield
        finally:
            self._own.depth = depth

    def refuse(self, what: str, hint: str) -> SandboxError:
        """The error to raise, which is recorded."""
        if what not in self.refused:
            self.refused.append(what)
        return SandboxError(f"the doctor runs a script without {what}", hint=hint)

    def check(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse an audit event that reaches outside of the scratch folder.

        Raises
        ------
        SandboxError
            The script may not do that.
        ImportError
            The module would open a window.
        """
        if self.suspended:
            return
        if event == "import":
            if arguments[0] in WINDOWS:
                self.refuse("windows", "")
                raise ImportError(f"the doctor runs a script without windows: no {arguments[0]}")
        elif event in FILE_EVENTS:
            if event == "open" and not arguments[2] & WRITE_FLAGS:
                return
            with self.suspend():
                outside = [arguments[k] for k in FILE_EVENTS[event] if not self._is_scratch(arguments[k])]
            if outside:
                raise self.refuse(f"writing to {os.fsdecode(outside[0])}", "write files with open, os or pathlib")
        elif event in NETWORK:
            address = arguments[0] if event.startswith("socket.get") else arguments[1]
            raise self.refuse(
                f"the network (it asked for {_readable(address)})", "put what it downloads on the disk before"
            )
        elif event in SIGNALS:
            if event == "os.killpg" or arguments[0] != os.getpid():
                raise self.refuse("signals to other processes", "leave the call out")
        else:
            raise self.refuse(f"other processes (it called {event})", "leave the call out, or run it before")


def _readable(address: Any) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        return f"{address[0]}:{address[1]}"
    return os.fsdecode(address) if isinstance(address, bytes) else str(address)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in WATCHED:
        _watching[-1].check(event, arguments)
