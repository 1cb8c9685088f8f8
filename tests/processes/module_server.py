"""Starts the processes of the doctor from one that has imported what they need.

The doctor runs a script in a new interpreter, which takes a quarter of a second of processor time to import NumPy and
the library, two or three times a run. This program imports both once. For each connection to its socket it forks a
process that becomes ``python -m MODULE``, with the arguments, environment, directory and files of the request, answers
with its number, and then with its exit status. Tests of :mod:`rnncallbacks.doctor` in their own process start real
interpreters.
"""

import gc
import inspect
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import traceback
from typing import Any

MODULES = ("rnncallbacks.doctor.script_process", "rnncallbacks.doctor.hooking.block_probe")
START = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
MOST_FILES = 64
FIRST_FREE = 500
"""Received descriptors wait from here on until they get their own numbers, which are lower."""


class ForkedProcess(subprocess.Popen[Any]):
    """A ``Popen`` of which the doctor's own modules are forked by the server at ``path``."""

    path = ""

    def _execute_child(self, *given: Any) -> None:
        asked = START.bind(self, *given).arguments
        arguments = asked["args"]
        self.server: socket.socket | None = None
        if not (isinstance(arguments, list) and "-m" in arguments and arguments[arguments.index("-m") + 1] in MODULES):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        names = ("p2cread", "c2pwrite", "errwrite")
        files = {number: asked[name] if asked[name] >= 0 else number for number, name in enumerate(names)}
        files |= {number: number for number in asked["pass_fds"]}
        request = {
            "arguments": arguments[1:],
            "environment": dict(os.environ if asked["env"] is None else asked["env"]),
            "directory": os.getcwd() if asked["cwd"] is None else os.fspath(asked["cwd"]),
            "numbers": list(files),
            "session": asked["start_new_session"],
        }
        self.server = socket.socket(socket.AF_UNIX)
        self.server.connect(self.path)
        socket.send_fds(self.server, [(json.dumps(request) + "\n").encode()], list(files.values()))
        self.answers = self.server.makefile("r")
        self.pid = int(self.answers.readline())
        self._close_pipe_fds(*(asked[name] for name in given_pipes()))  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self.server is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        if wait_flags and not select.select([self.server], [], [], 0)[0]:
            return 0, 0
        status = int(self.answers.readline())
        self.answers.close()
        self.server.close()
        return self.pid, status

    def _internal_poll(self, *given: Any, **options: Any) -> int | None:
        if self.server is None:
            return super()._internal_poll(*given, **options)  # type: ignore[misc,no-any-return]
        if self.returncode is None:
            number, status = self._try_wait(os.WNOHANG)
            if number:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def given_pipes() -> tuple[str, ...]:
    return "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"


def serve(path: str) -> None:
    """Answer requests until the standard input ends."""
    for name in MODULES:
        __import__(name)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        answering: set[int] = set()
        while True:
            if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
                return
            connection, _ = listener.accept()
            ended = {child for child in answering if os.waitpid(child, os.WNOHANG)[0]}
            answering = answering - ended
            if child := os.fork():
                answering.add(child)
            else:
                listener.close()
                answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Fork the process of one request, and wait for it, or for the end of the one that asked."""
    message, files, _, _ = socket.recv_fds(connection, 2**16, MOST_FILES)
    while not message.endswith(b"\n"):
        message += connection.recv(2**16)
    request = json.loads(message)
    child = os.fork()
    if not child:
        connection.close()
        become(request, files)
    for file in files:
        os.close(file)
    connection.sendall(f"{child}\n".encode())
    process = os.pidfd_open(child)
    if process not in select.select([process, connection], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    try:
        connection.sendall(f"{status}\n".encode())
    finally:
        os._exit(0)


def become(request: dict[str, Any], files: list[int]) -> None:
    """Run the module of a request as ``python -m`` does, and end."""
    if request["session"]:
        os.setsid()
    waiting = [os.dup2(file, FIRST_FREE + place) for place, file in enumerate(files)]
    os.closerange(3, FIRST_FREE)
    for file, number in zip(waiting, request["numbers"], strict=True):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    *options, _, module = request["arguments"][: request["arguments"].index("-m") + 2]
    sys.argv = [module, *request["arguments"][len(options) + 2 :]]
    sys.path[0] = request["directory"]
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for number, name in enumerate(("stdout", "stderr"), 1):
        unbuffered = "-u" in options or name == "stderr"
        raw = open(number, "wb", 0 if unbuffered else -1, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(raw, "utf-8", write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    status: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        status = leaving.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    serve(sys.argv[1])
