"""The process that watches over the ranks, and reports the one that ended first."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from rnncallbacks.parallel import death_watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the watch needs Linux")


def report_on_two_ranks(*, says_hello: bool) -> str:
    """What the process writes if rank 1 ends before it has read that the watch began, and rank 0 afterwards."""
    name = f"\0test-{os.getpid()}-{os.urandom(8).hex()}"
    with ExitStack() as opened:
        listening, first, second = (opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3))
        listening.bind(name)
        listening.listen(2)
        command = [sys.executable, "-S", "-E", death_watch.__file__, str(listening.fileno()), "2"]
        process = subprocess.Popen(command, pass_fds=[listening.fileno()], stderr=subprocess.PIPE, text=True)
        second.connect(name)
        first.connect(name)
        first.send(b"0 100".ljust(death_watch.HELLO_BYTES))
        if says_hello:
            second.send(b"1 101".ljust(death_watch.HELLO_BYTES))
            first.recv(1)  # the process has told rank 1 before rank 0 that the watch began
        second.close()
        first.close()
        return process.communicate(timeout=30)[1]


def test_a_rank_that_ends_before_it_has_read_is_reported():
    assert "rank 1 of 2 does not exist any more: its process 101 " in report_on_two_ranks(says_hello=True)


def test_nothing_is_reported_of_a_rank_that_has_not_said_its_number():
    assert report_on_two_ranks(says_hello=False) == ""
