"""Which file is read, with which content, and what is said of a file that cannot be read."""

import os
from pathlib import Path

import pytest

from rnncallbacks.config.configuration_file import read_source
from rnncallbacks.errors import ConfigurationError


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path: str, content: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def problems_of(source=None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_source(source)
    return caught.value.problems


def test_a_file_in_the_working_directory():
    write("rnncallbacks.toml", "[plugins.gradient_clipping]\nmax_norm = 1.5\n")
    found = read_source(None)
    assert (found.where, found.prefix) == ("rnncallbacks.toml", "")
    assert found.content == {"plugins": {"gradient_clipping": {"max_norm": 1.5}}}


def test_a_table_of_pyproject():
    write("pyproject.toml", "[project]\nname = 'x'\n[tool.rnncallbacks.plugins.gradient_clipping]\nmax_norm = 1.5\n")
    found = read_source(None)
    assert (found.where, found.prefix) == ("pyproject.toml", "tool.rnncallbacks.")
    assert found.content == {"plugins": {"gradient_clipping": {"max_norm": 1.5}}}


def test_the_nearest_directory_above_wins(monkeypatch):
    write("rnncallbacks.toml", "preset = 'guards'\n")
    write("a/pyproject.toml", "[tool.rnncallbacks]\npreset = 'recommended'\n")
    write("a/b/pyproject.toml", "[tool.other]\n")
    monkeypatch.chdir("a/b")
    assert read_source(None).content == {"preset": "recommended"}


def test_in_one_directory_the_file_of_its_own_goes_before_pyproject():
    write("rnncallbacks.toml", "preset = 'guards'\n")
    write("pyproject.toml", "[tool.rnncallbacks]\npreset = 'recommended'\n")
    assert read_source(None).content == {"preset": "guards"}


def test_a_path_is_read_from_anywhere_and_nothing_else_is():
    write("rnncallbacks.toml", "[plugins.progress]\n")
    path = write("elsewhere/my.toml", "[plugins.loss_averaging]\n")
    assert read_source(path).content == read_source(str(path)).content == {"plugins": {"loss_averaging": {}}}


def test_a_mapping_is_taken_as_it_is():
    write("rnncallbacks.toml", "preset = 'guards'\n")
    assert read_source({"preset": "recommended"}).content == {"preset": "recommended"}


def test_the_substitute_is_for_want_of_a_file_only():
    assert read_source(None, {"preset": "guards"}).where == "no configuration file"
    write("rnncallbacks.toml", "")
    assert read_source(None, {"preset": "guards"}).content == {}


def test_no_configuration_says_where_it_looked_and_what_to_write(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        read_source(None)
    for part in (str(tmp_path), "rnncallbacks.toml", "[tool.rnncallbacks]", "[plugins.hidden_state_reset]"):
        assert part in str(caught.value)


def test_a_pyproject_that_was_named_must_have_the_table():
    path = write("pyproject.toml", "[project]\n")
    assert problems_of(path) == ["pyproject.toml: there is no table [tool.rnncallbacks]"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[plugins.gradient_clipping\n", "rnncallbacks.toml: not valid TOML: "),
        (b"\xff\xfe", "rnncallbacks.toml: expected UTF-8 text: "),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(content, expected):
    Path("rnncallbacks.toml").write_bytes(content)
    (problem,) = problems_of()
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("path", "expected"), [("missing.toml", "cannot be read: No such file"), (".", "expected a file, got a directory")]
)
def test_a_file_that_cannot_be_read_is_named(path, expected):
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}: {expected}")


def test_a_tool_table_that_is_no_table():
    write("pyproject.toml", "[tool]\nrnncallbacks = 1\n")
    assert problems_of() == ["pyproject.toml: tool.rnncallbacks: expected a table, got 1"]


def test_a_byte_order_mark_is_no_part_of_a_file():
    Path("rnncallbacks.toml").write_bytes(b"\xef\xbb\xbfpreset = 'guards'\n")
    assert read_source(None).content == {"preset": "guards"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a = " + "[" * 1000 + "]" * 1000, "not valid TOML: it is nested too deeply"),
        ("a = " + "1" * 5000, "not valid TOML: an integer has too many digits"),
        ("a." * 1001 + "a = 1", "not valid TOML: a key has more than 1000 dots"),
        ("#" * 1_000_001, "expected at most 1,000,000 bytes, got 1,000,001"),
    ],
    ids=["nested", "digits", "dots", "large"],
)
def test_content_that_would_break_the_reader_is_one_problem(content, problem):
    write("rnncallbacks.toml", content)
    assert problems_of() == [f"rnncallbacks.toml: {problem}"]


def test_a_path_that_no_file_can_have():
    assert problems_of("a\0b") == [r"'a\x00b': a path cannot contain a NUL or a surrogate"]
    assert problems_of("\ud800") == [r"'\ud800': a path cannot contain a NUL or a surrogate"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices have paths on POSIX only")
def test_pipes_and_devices_are_not_read():
    os.mkfifo("pipe")
    assert problems_of("pipe") == ["pipe: expected a file, got a device or a pipe"]
    assert problems_of("/dev/zero") == ["/dev/zero: expected a file, got a device or a pipe"]
