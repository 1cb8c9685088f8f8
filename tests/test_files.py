"""Files are replaced whole or not at all, and directories are made or named."""

import json
import math
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.files import (
    FORMULA,
    append_text,
    json_text,
    make_directory,
    parse_number,
    printable,
    remove_leftovers,
    spreadsheet_cell,
    write_atomically,
)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(("content", "data"), [("Grüße\n", "Grüße\n".encode()), (b"\x00\xff", b"\x00\xff"), ("", b"")])
def test_writes_text_as_utf_8_and_bytes_as_they_are(tmp_path, content, data):
    write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == data
    assert names(tmp_path) == ["file"]


def test_replaces_a_file_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "file"
    path.write_text("old and longer")
    path.chmod(0o640)
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o640


def test_whoever_reads_during_a_replacement_sees_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old"


def test_a_name_that_cannot_be_taken_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", "content")
    assert names(tmp_path) == ["taken"]


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none/file'$"):
        write_atomically(tmp_path / "none" / "file", "content")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from rnncallbacks.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_atomically(Path(sys.argv[1]), b"new" * 1000)
"""


@pytest.mark.skipif(os.name != "posix", reason="a limit on the size of files stands in for a full disk")
def test_a_write_that_fails_halfway_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=False)
    assert "OSError" in done.stderr
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_directories_are_made_once(tmp_path):
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot make the directory .*file"):
        make_directory(tmp_path / "file")


@given(st.floats() | st.integers(min_value=-(2**53), max_value=2**53))
def test_every_number_comes_back(value):
    (back,) = (parse_number(one) for one in json.loads(json_text([value]), parse_constant=pytest.fail))
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize("value", ["nan", "inf", "a word", "", "1", None, True, [1.0], {}])
def test_what_is_no_number_is_none(value):
    assert parse_number(value) is None


def test_words_stand_at_every_depth():
    value = {"a": [math.nan, {"b": (math.inf, -math.inf)}], "c": "text", "d": None, "e": True}
    assert json.loads(json_text(value)) == {
        "a": ["NaN", {"b": ["Infinity", "-Infinity"]}],
        "c": "text",
        "d": None,
        "e": True,
    }


def test_the_text_can_be_indented():
    assert json_text({"a": 1}, indent=2) == '{\n  "a": 1\n}'


def test_an_interrupt_right_after_the_replacement_stays_an_interrupt(tmp_path, monkeypatch):
    replace = os.replace

    def interrupted(source, target):
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_that_the_umask_allows(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "kept" / "file")
    write_atomically(tmp_path / "link", "new", fsync=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "kept" / "file").read_text() == "new"
    assert names(tmp_path / "kept") == ["file"]


KILLED = """
import os, sys
from pathlib import Path
from rnncallbacks import files
files.os.replace = lambda *paths: os.kill(os.getpid(), 9)
files.write_atomically(Path(sys.argv[1]), "new")
"""


@pytest.mark.skipif(os.name != "posix", reason="a signal that cannot be caught")
def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "history[1].jsonl"
    path.write_text("old")
    (tmp_path / ".history1.jsonl.1-ab.tmp").write_text("of another file")
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert len(names(tmp_path)) == 3
    remove_leftovers(path)
    assert names(tmp_path) == [".history1.jsonl.1-ab.tmp", "history[1].jsonl"]
    assert path.read_text() == "old"


def test_what_json_does_not_have_is_an_error():
    with pytest.raises(DataError, match="Object of type object is not JSON"):
        json_text({"epoch": object()})


def test_text_is_appended_as_utf_8(tmp_path):
    for text in ("eins\n", "Grüße\n", ""):
        append_text(tmp_path / "file", text)
    assert (tmp_path / "file").read_bytes() == "eins\nGrüße\n".encode()


FULL = """
import resource, sys
from pathlib import Path
from rnncallbacks.files import append_text
path = Path(sys.argv[1])
append_text(path, "one line\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
try:
    append_text(path, "a line that is too long\\n")
except OSError as error:
    sys.exit(error.filename != str(path))
"""


@pytest.mark.skipif(os.name != "posix", reason="the size of files is limited by POSIX alone")
def test_what_does_not_fit_is_not_appended_in_part(tmp_path, run_python):
    path = tmp_path / "file"
    assert run_python(FULL, str(path)).returncode == 0
    assert path.read_text() == "one line\n"


@given(st.text(st.characters(codec=None)))
def test_what_is_printable_is_unchanged_and_the_rest_is_escaped(text):
    shown = printable(text)
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    shown.encode("utf-8")
    if all(one.isprintable() or one in "\n\t" for one in text):
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\uffff", r"\uffff"),
        ("\ud800", r"\ud800"),
        ("Grüße 你好\n", "Grüße 你好\n"),
    ],
)
def test_escapes_are_those_of_python(text, shown):
    assert printable(text) == shown


@given(st.text() | st.floats() | st.integers())
def test_no_cell_is_a_formula(value):
    cell = spreadsheet_cell(value)
    assert not isinstance(cell, str) or cell == "-Infinity" or not cell.startswith(FORMULA)
    assert cell == value or cell == f"'{value}" or value != value
