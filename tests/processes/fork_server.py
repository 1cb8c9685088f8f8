"""Runs Python programs in processes of their own that have imported the library already.

A new interpreter takes half a second of processor time to import what a command needs. This program imports it once,
then reads jobs from its standard input, one JSON object a line, and forks for each. The child becomes the program as if
it had been started by ``python -c``: with its arguments, environment, directory and files; the parent writes its exit
code.
"""

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

from module_server import ForkedProcess

SECONDS = 120
"""A program that runs for longer is stuck, and is ended by SIGALRM."""


def import_all() -> None:
    """Import what the command line imports when it is asked for something."""
    import matplotlib.figure  # noqa: F401
    import rich.live
    import rich.markdown  # noqa: F401

    import rnncallbacks.rnn  # noqa: F401
    from rnncallbacks.cli.commands import rnncallbacks as group
    from rnncallbacks.config.discovery import find_plugins

    assert dict(group.commands)  # which imports them all
    for found in find_plugins():
        if found.distribution == "rnncallbacks":
            found.load()
    # A garbage collection in a child would write to the memory of every object imported so far, and so copy it.
    gc.collect()
    gc.freeze()


def serve() -> dict[str, Any] | None:
    """Answer jobs until the input ends. Returns a job in the child that shall run it, and None in the parent."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            job: dict[str, Any] = json.loads(line)
            return job
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def become(job: dict[str, Any]) -> None:
    """Give this process the files, environment, directory and arguments of a job."""
    signal.alarm(SECONDS)
    for number, path in enumerate(job["files"]):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOCTTY)
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    if job["modules"]:
        ForkedProcess.path = job["modules"]
        subprocess.Popen = ForkedProcess  # type: ignore[misc]
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["directory"])
    sys.argv = ["-c", *job["arguments"]]
    sys.path[0] = ""
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def end(status: int) -> None:
    """Leave as the interpreter does, but for taking apart what was imported, which would copy all of it."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    import_all()
    if (job := serve()) is not None:
        become(job)
        code = compile(job["code"], "<string>", "exec")
        status: object = 0
        try:
            exec(code, {"__name__": "__main__"})  # an error ends this process as it would end another
        except SystemExit as leaving:
            status = leaving.code or 0
            if not isinstance(status, int):
                raise
        end(status)
