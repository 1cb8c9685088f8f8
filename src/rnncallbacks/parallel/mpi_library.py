"""Finds MPI: the library that mpi4py loads, and the program that starts the ranks."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from rnncallbacks.errors import RankError

LAUNCHER_VARIABLES = ("PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE")
"""Environment variables of a process that MPICH, Open MPI or a batch system has started."""
SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
"""Variables with the number of processes that MPICH or Open MPI has started."""
SINGLE_COPY_SETTING, SINGLE_COPY_BYTES = "MPIR_CVAR_CH4_IPC_CMA_P2P_THRESHOLD", 2**18
"""MPICH's variable for the size in bytes from which a rank reads a message from the memory of another by a system call.
Smaller ones are copied twice, which took 12 instead of 17 microseconds for 50 KB, and 23 instead of 33 for 130 KB."""
INSTALL_HINT = "pip install 'rnncallbacks[mpi]' installs mpi4py and the mpich wheel"


def started_by_mpi() -> bool:
    """Whether an MPI launcher has started this process."""
    return any(name in os.environ for name in LAUNCHER_VARIABLES)


def load_mpi() -> Any:
    """The module ``mpi4py.MPI``, which starts MPI.

    Raises
    ------
    RankError
        mpi4py is not installed, or finds no MPI library.
    """
    library = _file_of_mpich("libmpi.so.12")
    if library is not None:  # mpi4py only looks for it in the environment of the interpreter
        os.environ.setdefault("MPI4PY_LIBMPI", str(library))
    os.environ.setdefault(SINGLE_COPY_SETTING, str(SINGLE_COPY_BYTES))
    try:
        settings = import_module("mpi4py").rc
        settings.thread_level = "funneled"  # only the main thread calls MPI, which then needs no locks
        settings.finalize = False  # a rank that failed could not finalize: it would wait for the others
        settings.initialize = False
        mpi = import_module("mpi4py.MPI")
        if not mpi.Is_initialized():
            _start(mpi, library)
        return mpi
    except (ImportError, RuntimeError) as error:
        raise RankError(
            f"data_parallel: an MPI launcher started this process, but MPI cannot be loaded: {error}",
            hint=INSTALL_HINT,
        ) from error


def _start(mpi: Any, library: Path | None) -> None:
    """Start MPI: if possible without the interpreter's lock, so that another thread can watch."""
    try:
        loaded = ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    except OSError:  # mpi4py has loaded another library
        mpi.Init_thread(mpi.THREAD_FUNNELED)
        return
    loaded.MPI_Init_thread(None, None, int(mpi.THREAD_FUNNELED), ctypes.byref(ctypes.c_int()))


def check_launcher(ranks: int) -> None:
    """Check that the launcher belongs to the library, which otherwise takes each process for the only one.

    Raises
    ------
    RankError
        The launcher started several processes, and the library finds one.
    """
    started = max(int(os.environ.get(name, "1")) for name in SIZE_VARIABLES)
    if started > 1 and ranks == 1:
        raise RankError(
            f"data_parallel: mpiexec started {started} processes, and the MPI library of this one finds no other: "
            "mpiexec belongs to another MPI",
            hint=f"start the script with {find_mpiexec()}, or set MPI4PY_LIBMPI to the library of the other MPI",
        )


def find_mpiexec() -> Path:
    """The program ``mpiexec``: next to the interpreter, else that of the mpich wheel, else the first on the PATH.

    Raises
    ------
    RankError
        It was not found.
    """
    next_to_python = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    found = next_to_python or _file_of_mpich("mpiexec") or shutil.which("mpiexec")
    if found is None:
        raise RankError("mpiexec was not found", hint=INSTALL_HINT)
    return Path(found)


def command_on_ranks(ranks: int, arguments: Sequence[str]) -> list[str]:
    """The command that runs a Python program on several processes of this machine.

    Parameters
    ----------
    ranks:
        The number of processes.
    arguments:
        A script and its arguments, or ``-m``, a module and its arguments.

    Raises
    ------
    RankError
        There is no mpiexec.
    """
    # With its cleanup, mpiexec would kill the remaining ranks before they report the killed one and write their files.
    launcher = [str(find_mpiexec()), "-disable-auto-cleanup", "-n", str(ranks)]
    return [*launcher, sys.executable, "-m", "rnncallbacks.parallel.supervised_rank", *arguments]


def _file_of_mpich(name: str) -> Path | None:
    """A file of the mpich wheel, or None if the wheel or the file is not installed."""
    try:
        listed = files("mpich") or []
    except PackageNotFoundError:
        return None
    paths = (Path(str(one.locate())).resolve() for one in listed if one.name == name)
    return next((path for path in paths if path.is_file()), None)
