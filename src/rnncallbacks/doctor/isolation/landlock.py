"""Landlock, by which the Linux kernel keeps a process from writing outside of a folder."""

from __future__ import annotations

import ctypes
import os
import sys

# From linux/landlock.h. System calls since Linux 5.13 have one number on all architectures.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GIVE_VERSION = 1
PATH_BENEATH = 1
NO_NEW_PRIVILEGES = 38  # of prctl
EXECUTE, WRITE_FILE = 1 << 0, 1 << 1
REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
REFER, TRUNCATE = 1 << 13, 1 << 14
BIND_AND_CONNECT_TCP = 0b11
ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
VERSION_OF_REFER, VERSION_OF_TRUNCATE, VERSION_OF_NETWORK, VERSION_OF_SCOPES = 2, 3, 4, 6
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/pts")
SHARED_MEMORY = "/dev/shm"
"""Folder of the C library for locks of ``multiprocessing``, which progress bars use."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def landlock_version() -> int:
    """The version of Landlock's interface, 0 if there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), GIVE_VERSION)))


def confine_writes(folder: str) -> bool:
    """Restrict writes of the calling thread, and of those that it starts, to ``folder``, permanently.

    Programs cannot be run. From version 4 of the interface, no TCP connection can be made. From version 6, no signal
    can be sent to a process that it has not started. This includes compiled code, but not running threads and open
    files.

    Returns
    -------
    bool
        Whether the kernel supports it. If not, nothing has changed.
    """
    version = landlock_version()
    if not version:
        return False
    changes = WRITE_FILE | REMOVE_AND_MAKE
    changes |= REFER if version >= VERSION_OF_REFER else 0
    changes |= TRUNCATE if version >= VERSION_OF_TRUNCATE else 0
    on_files = changes & (WRITE_FILE | TRUNCATE)
    ruleset = _Ruleset(changes | EXECUTE, BIND_AND_CONNECT_TCP, ABSTRACT_SOCKETS_AND_SIGNALS)
    fields = 3 if version >= VERSION_OF_SCOPES else 2 if version >= VERSION_OF_NETWORK else 1
    size = fields * ctypes.sizeof(ctypes.c_uint64)  # a kernel reads the fields that it knows
    libc = _libc()
    rules = libc.syscall(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    try:
        granted = {folder: changes, SHARED_MEMORY: changes} | dict.fromkeys(DEVICES, on_files)
        if not all(_grant(libc, rules, path, allowed) for path, allowed in granted.items()):
            return False
        if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            return False
        return bool(libc.syscall(RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _grant(libc: ctypes.CDLL, rules: int, path: str, allowed: int) -> bool:
    if not os.path.exists(path):
        return True
    descriptor = os.open(path, getattr(os, "O_PATH", 0) | os.O_CLOEXEC)
    try:
        beneath = _Beneath(allowed, descriptor)
        return bool(libc.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(beneath), 0) == 0)
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
