"""Files that are open across a fork, in real forks."""

import os
import tempfile
from pathlib import Path

import pytest

from rnncallbacks.doctor.isolation.open_files import open_files, separate


def in_a_fork(body):
    """The exit code of a fork in which ``body`` returned whether all is well."""
    child = os.fork()
    if not child:
        code = 2
        try:
            code = 0 if body() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("unlinked", [False, True])
def test_reading_in_a_fork_leaves_the_parents_place(tmp_path, unlinked):
    path = tmp_path / "text.txt"
    path.write_bytes(b"one\ntwo\nthree\n")
    with open(path, "rb", buffering=0) as file:
        file.readline()
        if unlinked:
            path.unlink()
        known = open_files()
        assert in_a_fork(lambda: separate(known, tmp_path) or file.readline() == b"two\n") == 0
        assert file.readline() == b"two\n"


@pytest.mark.parametrize("mode", ["w+b", "a+b", "r+b"])
def test_writing_in_a_fork_leaves_the_parents_file(tmp_path, mode):
    path = tmp_path / "log.txt"
    path.write_bytes(b"begun\n")
    with open(path, mode, buffering=0) as file:
        file.seek(0, os.SEEK_END)
        file.write(b"first\n")
        content = path.read_bytes()
        known = open_files()

        def replay():
            separate(known, tmp_path)
            file.write(b"again\n")
            file.seek(0)
            return file.read() == content + b"again\n"

        assert in_a_fork(replay) == 0
        assert path.read_bytes() == content
        file.write(b"second\n")
    assert path.read_bytes() == content + b"second\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_parent_writes_after_the_fork_is_not_in_the_copy(tmp_path):
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(b"before")
        known = open_files()
        file.write(b", after")
        assert in_a_fork(lambda: separate(known, Path(tmp_path)) or os.fstat(file.fileno()).st_size == 6) == 0


def test_what_closes_when_a_process_forks_is_left_out(tmp_path):
    paths = [tmp_path / name for name in ("closed.txt", "kept.txt", "other.txt")]
    for path in paths:
        path.write_bytes(b"one\ntwo\n")
    with open(paths[0], "rb", buffering=0) as closed, open(paths[1], "rb", buffering=0) as kept:
        kept.readline()
        known = open_files()

        def replay():
            closed.close()
            separate(known, tmp_path)
            return kept.readline() == b"two\n"

        def replay_with_another_file():
            number = closed.fileno()
            with open(paths[2], "rb", buffering=0) as other:
                os.dup2(other.fileno(), number)
            os.lseek(number, 4, os.SEEK_SET)
            separate(known, tmp_path)
            return os.read(number, 4) == b"two\n" and kept.readline() == b"two\n"

        assert in_a_fork(replay) == 0
        assert in_a_fork(replay_with_another_file) == 0
        assert kept.readline() == b"two\n"


def test_pipes_and_standard_streams_are_left_alone(tmp_path):
    ends = os.pipe()
    try:
        assert {one.descriptor for one in open_files()}.isdisjoint({0, 1, 2, *ends})
    finally:
        for end in ends:
            os.close(end)
