"""The sandbox: each way to write, on real files, and each way out."""

import gzip
import io
import os
import pickle
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnncallbacks.doctor.isolation.landlock import confine_writes, landlock_version
from rnncallbacks.doctor.sandbox import Sandbox, ScratchFolder
from rnncallbacks.errors import SandboxError

HERE = ("kept.txt", "folder/inner.txt")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory of the user's, which is the current one, with files in it."""
    directory = tmp_path / "home"
    (directory / "folder").mkdir(parents=True)
    for name in HERE:
        (directory / name).write_text(f"the user's {name}")
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def scratch(tmp_path):
    with ScratchFolder() as scratch:
        yield scratch
    scratch.remove()


@pytest.fixture
def sandbox(home, scratch):
    before = tree(home)
    with Sandbox(scratch.new_place()) as sandbox:
        yield sandbox
    assert tree(home) == before
    assert Path.cwd() == home


def tree(directory):
    """What lies in a directory, with contents and times of change."""
    found = sorted(directory.rglob("*"))
    return [
        (path, path.stat().st_mtime_ns, path.stat().st_mode, path.is_file() and path.read_bytes()) for path in found
    ]


# --- ways to write ------------------------------------------------------------------------------------------------


def with_open(path):
    with open(path, "w") as file:
        file.write("new")
        assert file.name == path


def with_descriptor(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, b"new")
    os.close(descriptor)


def with_descriptor_of_directory(path):
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    descriptor = os.open(os.path.basename(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=directory)
    os.write(descriptor, b"new")
    os.close(descriptor)
    os.close(directory)


def with_atomic_replacement(path):
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path) or ".", delete=False) as file:
        file.write("new")
    os.replace(file.name, path)


def with_deletion_before(path):
    if os.path.exists(path):
        os.remove(path)
    assert not os.path.exists(path)
    with pytest.raises(FileNotFoundError, match=os.path.basename(path)):
        Path(path).read_text()
    with open(path, "x") as file:
        file.write("new")


def with_copy(path):
    Path("source.txt").write_text("new")
    shutil.copy2("source.txt", path)


def with_move(path):
    Path("source.txt").write_text("new")
    shutil.move("source.txt", path)
    assert not os.path.exists("source.txt")


def with_link(path):
    Path(path).unlink(missing_ok=True)
    Path("source.txt").write_text("new")
    os.symlink("source.txt" if os.path.dirname(path) == "" else "../source.txt", path)


WAYS = [
    with_open,
    with_descriptor,
    with_descriptor_of_directory,
    with_atomic_replacement,
    with_deletion_before,
    with_copy,
    with_move,
    with_link,
    lambda path: Path(path).write_text("new"),
    lambda path: io.open(path, "w").write("new"),  # noqa: SIM115, UP020
    lambda path: np.frombuffer(b"new", np.uint8).tofile(path),
    lambda path: os.truncate(path, 0) if os.path.exists(path) else None,
]


@pytest.mark.parametrize("name", ["kept.txt", "other.txt", "folder/inner.txt", "folder/other.txt"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_writes_go_to_the_folder_and_are_read(sandbox, home, scratch, way, name):
    way(name)
    if os.path.exists(name):
        assert Path(name).read_text() in ("new", "")
        assert os.path.getsize(home / name) in (3, 0)
        assert os.path.basename(name) in os.listdir(os.path.dirname(name) or ".")
        assert str(home / name) in sandbox.written
        with sandbox.own_calls():
            assert str(home / name) in scratch.written()


def test_appending_begins_with_what_was_there(sandbox):
    for _ in range(2):
        with open("kept.txt", "a") as log:
            log.write(", more")
    assert Path("kept.txt").read_text() == "the user's kept.txt, more, more"


def test_changing_a_part_keeps_the_rest(sandbox):
    with open("kept.txt", "r+") as file:
        file.write("one")
    assert Path("kept.txt").read_text() == "one user's kept.txt"
    values = np.memmap("kept.txt", mode="r+", dtype=np.uint8)
    values[0] = ord("O")
    values.flush()
    assert Path("kept.txt").read_text().startswith("One")


def test_formats_of_arrays_and_objects(sandbox):
    values = np.arange(3.0)
    np.save("a.npy", values)
    np.savez("a.npz", values=values)
    np.savetxt("a.txt", values)
    with open("a.pkl", "wb") as file:
        pickle.dump(values, file)
    with gzip.open("a.gz", "wb") as packed:
        packed.write(b"new")
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write("kept.txt")
    with pytest.raises(FileNotFoundError), open("missing/a.pkl", "wb"):
        pass
    assert np.array_equal(np.load("a.npy"), values)
    assert np.array_equal(np.load("a.npz")["values"], values)
    with open("a.pkl", "rb") as file:
        assert np.array_equal(pickle.load(file), values)
    with gzip.open("a.gz") as packed:
        assert packed.read() == b"new"
    assert zipfile.ZipFile("a.zip").namelist() == ["kept.txt"]


def test_a_data_base(sandbox, home):
    with sqlite3.connect("runs.db") as base:
        base.execute("create table losses (value)")
    base.close()
    base = sqlite3.connect("runs.db")
    assert base.execute("select * from losses").fetchall() == []
    base.close()
    sqlite3.connect(":memory:").close()
    assert sandbox.written == [str(home / "runs.db")]


def test_directories(sandbox, home):
    os.makedirs("out/deep", exist_ok=True)
    os.makedirs("out/deep", exist_ok=True)
    Path("out/deep/a.txt").write_text("a")
    Path("folder/b.txt").write_text("b")
    assert sorted(os.listdir()) == ["folder", "kept.txt", "out"]
    walked = [(top, sorted(folders), sorted(names)) for top, folders, names in os.walk(".")]
    assert sorted(walked) == [
        (".", ["folder", "out"], ["kept.txt"]),
        ("./folder", [], ["b.txt", "inner.txt"]),
        ("./out", ["deep"], []),
        ("./out/deep", [], ["a.txt"]),
    ]
    assert sorted(path.name for path in Path().rglob("*.txt")) == ["a.txt", "b.txt", "inner.txt", "kept.txt"]
    with pytest.raises(OSError, match="not empty"):
        os.rmdir("folder")
    shutil.rmtree("folder")
    assert not Path("folder").exists()
    os.mkdir("folder")
    assert os.listdir("folder") == []
    os.rename("out", "results")
    assert Path("results/deep/a.txt").read_text() == "a"
    assert os.listdir(b".") == [b"folder", b"kept.txt", b"results"]


def test_a_directory_that_the_script_enters(sandbox, home):
    os.mkdir("out")
    os.chdir("out")
    Path("a.txt").write_text("a")
    assert os.getcwd() == str(home / "out")
    assert Path("../kept.txt").exists()
    assert os.path.abspath("a.txt") == str(home / "out/a.txt")
    os.chdir("..")
    assert os.listdir("out") == ["a.txt"]


def test_attributes(sandbox):
    os.chmod("kept.txt", 0o600)
    os.utime("kept.txt", (0, 0))
    assert os.stat("kept.txt").st_mode & 0o777 == 0o600
    assert os.path.getmtime("kept.txt") == 0


def test_errors_name_the_path_that_the_script_gave(sandbox):
    for call in (open, os.stat, os.listdir, os.remove):
        with pytest.raises(FileNotFoundError) as caught:
            call("input.txt")
        assert caught.value.filename == "input.txt"
    os.remove("kept.txt")
    with pytest.raises(FileNotFoundError) as caught:
        Path("kept.txt").read_text()
    assert caught.value.filename == "kept.txt"
    with pytest.raises(FileExistsError):
        os.mkdir("folder")
    with pytest.raises(IsADirectoryError):
        Path("folder").write_text("")


def test_devices_and_temporary_files(sandbox, scratch):
    with open(os.devnull, "w") as nowhere:
        nowhere.write("gone")
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as file:
        Path(directory, "a.txt").write_text("a")
        file.write("b")
        assert directory.startswith(str(scratch.path))
    assert sandbox.written == []


def test_a_fork_writes_and_reads_for_itself(sandbox, home):
    Path("log.txt").write_text("1")
    with open("kept.txt", "rb", buffering=0) as text, open("open.txt", "w") as log:
        log.write("a")
        log.flush()
        drawn = random.getstate()
        child = sandbox.fork()
        if not child:
            status = 1
            try:
                status += random.getstate() != drawn
                status += text.read(3) != b"the"
                log.write("b")
                log.flush()
                Path("log.txt").write_text("12")
                os.remove("kept.txt")
                Path("other.txt").write_text("3")
                status += Path("log.txt").read_text() != "12"
                status += sorted(os.listdir()) != ["folder", "log.txt", "open.txt", "other.txt"]
                grandchild = sandbox.fork()
                if not grandchild:
                    Path("other.txt").write_text("4")
                    os._exit(Path("kept.txt").exists())
                status += os.waitpid(grandchild, 0)[1]
                status += Path("other.txt").read_text() != "3"
                status -= 1
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert text.read(3) == b"the"
        log.write("c")
    assert Path("open.txt").read_text() == "ac"
    assert Path("log.txt").read_text() == "1"
    assert sorted(os.listdir()) == ["folder", "kept.txt", "log.txt", "open.txt"]
    assert sandbox.written == [str(home / "log.txt"), str(home / "open.txt")]


# --- ways out -----------------------------------------------------------------------------------------------------


def reach_a_server():
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))


def fork_exec():
    import multiprocessing

    multiprocessing.get_context("spawn").Process(target=print).start()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (reach_a_server, r"network \(it asked for 127.0.0.1:9\)"),
        (lambda: socket.getaddrinfo("example.org", 80), r"network \(it asked for example.org\)"),
        (lambda: subprocess.run(["true"]), "other processes"),
        (lambda: os.fork(), "other processes"),
        (lambda: os.popen("true"), "other processes"),
        (lambda: os.execv("/bin/true", ["true"]), "other processes"),
        (lambda: os.kill(os.getppid(), 0), "signals to other processes"),
        pytest.param(
            lambda: signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0),
            "signals to other processes",
            marks=pytest.mark.skipif(not hasattr(signal, "pidfd_send_signal"), reason="only Linux has it"),
        ),
        (lambda: io.FileIO("kept.txt", "w"), "writing to kept.txt"),
        (lambda: os.mkfifo("pipe"), "named pipes"),
        (fork_exec, "other processes"),
    ],
)
def test_what_is_refused(sandbox, call, what):
    with pytest.raises(SandboxError, match=what) as caught:
        call()
    assert isinstance(caught.value, OSError)
    assert len(sandbox.refused) == 1


def test_functions_of_posix_are_refused(sandbox):
    posix = pytest.importorskip("posix")
    for call in (
        lambda: posix.open("kept.txt", os.O_RDWR),
        lambda: posix.remove("kept.txt"),
        lambda: posix.rename("folder", "other"),
        lambda: posix.mkdir("other"),
        lambda: posix.chmod("kept.txt", 0),
    ):
        with pytest.raises(SandboxError, match="writing to"):
            call()
    assert posix.stat("kept.txt").st_size > 0


def test_commands_of_the_shell_are_not_found(sandbox):
    assert os.waitstatus_to_exitcode(os.system("touch other.txt")) == 127
    assert sandbox.refused == ["other processes (it called os.system('touch other.txt'))"]


def test_nobody_answers(sandbox):
    with pytest.raises(EOFError):
        input("continue? ")
    sys.modules.pop("_tkinter", None)
    with pytest.raises(ImportError, match="without windows"):
        __import__("_tkinter")


def test_figures_are_drawn_and_not_shown(home, scratch):
    script = textwrap.dedent("""
        import warnings, sys
        from pathlib import Path
        from rnncallbacks.doctor.sandbox import Sandbox
        warnings.simplefilter("error")
        with Sandbox(Path(sys.argv[1])):
            import matplotlib
            matplotlib.use("TkAgg")
            import matplotlib.pyplot as plt
            plt.plot([1, 2])
            plt.savefig("loss.png")
            plt.show()
            plt.pause(1e9)
    """)
    subprocess.run([sys.executable, "-c", script, str(scratch.new_place())], check=True, timeout=100)
    assert scratch.written() == [str(home / "loss.png")]


def test_everything_is_as_before(home, scratch):
    before = [
        open,
        io.open,
        os.open,
        os.stat,
        os.getcwd,
        sys.stdin,
        sqlite3.connect,
        dict(os.environ),
        tempfile.tempdir,
    ]
    with Sandbox(scratch.new_place()):
        assert open is not before[0]
    after = [open, io.open, os.open, os.stat, os.getcwd, sys.stdin, sqlite3.connect, dict(os.environ), tempfile.tempdir]
    assert before == after
    Path("other.txt").write_text("outside")
    assert (home / "other.txt").exists()


def test_a_function_that_was_kept_is_the_original_afterwards(home, scratch):
    with Sandbox(scratch.new_place()):
        kept = open
    with kept("other.txt", "w") as file:
        file.write("outside")
    assert (home / "other.txt").read_text() == "outside"


# --- the folder ---------------------------------------------------------------------------------------------------


def test_a_folder_with_nothing_of_the_user_is_removed(home):
    with ScratchFolder() as scratch, Sandbox(scratch.new_place()) as sandbox:
        os.makedirs(".cache/library")
        Path(".cache/library/fonts.json").write_text("{}")
        os.system("true")
        sandbox.note_refused()
        assert scratch.refused() == ["other processes (it called os.system('true'))"]
    assert not scratch.path.exists()


def test_a_folder_with_files_is_kept(home):
    with ScratchFolder() as scratch:
        with Sandbox(scratch.new_place()):
            Path("model.txt").write_text("weights")
        with Sandbox(scratch.new_place()):
            assert not Path("model.txt").exists()
    assert scratch.kept
    assert scratch.written() == [str(home / "model.txt")]
    assert (scratch.path / "run-1" / "files" / str(home)[1:] / "model.txt").read_text() == "weights"
    scratch.remove()


# --- the kernel ---------------------------------------------------------------------------------------------------

CONFINED = """
    import ctypes, os, sys
    from pathlib import Path
    from rnncallbacks.doctor.isolation.landlock import VERSION_OF_SCOPES, landlock_version
    from rnncallbacks.doctor.sandbox import Sandbox
    libc = ctypes.CDLL(None, use_errno=True)
    with Sandbox(Path(sys.argv[1]), for_good=True) as sandbox:
        assert sandbox.confined
        assert libc.open(b"kept.txt", os.O_WRONLY | os.O_TRUNC) == -1
        assert libc.creat(b"other.txt", 0o600) == -1
        assert libc.unlink(b"kept.txt") == -1
        assert libc.rename(b"kept.txt", b"other.txt") == -1
        assert libc.system(b"touch other.txt") != 0
        assert libc.open(b"kept.txt", os.O_RDONLY) > 0
        assert landlock_version() < VERSION_OF_SCOPES or libc.kill(os.getppid(), 0) == -1
        Path("mine.txt").write_text("mine")
        os.rename("mine.txt", "yours.txt")
        print(Path("yours.txt").read_text())
        with sandbox.own_calls():
            child = os.fork()
            if not child:
                os._exit(libc.creat(b"other.txt", 0o600) != -1)
            assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
def test_the_kernel_refuses_compiled_code(home, scratch):
    before = tree(home)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CONFINED), str(scratch.new_place())],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr
    assert tree(home) == before
    assert scratch.written() == [str(home / "yours.txt")]


@pytest.mark.skipif(landlock_version() != 0, reason="this kernel has Landlock")
def test_without_the_kernel_nothing_is_claimed(home):
    assert not confine_writes(str(home))
