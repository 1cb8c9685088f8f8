"""``rnncallbacks new-plugin``: what it writes is an example of the repository, and its tests pass at once."""

import errno
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.cli.new_plugin import KINDS, package_files

EXAMPLE = Path(__file__).parents[2] / "examples" / "rnncallbacks-acme"
# The checks of the kit are tested elsewhere: here, that the plugins pass them.
FEWER_BATCHES = """
    import pytest
    from rnncallbacks import testing

    @pytest.fixture
    def check_plugin():
        return lambda make: testing.check_plugin(make, budget_us=None, batches=100)
"""


def new_plugin(*arguments):
    return CliRunner().invoke(rnncallbacks, ["new-plugin", *arguments])


def test_the_example_is_what_it_writes():
    left_by_tools = (".ruff_cache", ".mypy_cache", ".pytest_cache", "__pycache__")
    kept = [path for path in EXAMPLE.rglob("*") if path.is_file() and not set(left_by_tools) & set(path.parts)]
    found = {path.relative_to(EXAMPLE).as_posix(): path.read_text("utf-8") for path in kept}
    assert found == package_files("acme", "guard")


def test_the_tests_of_what_it_writes_pass_at_once(pytester, install):
    pytester.makeini(
        "[pytest]\naddopts = --doctest-modules --import-mode=importlib --strict-markers\nfilterwarnings = error"
    )
    pytester.makeconftest(FEWER_BATCHES)
    for kind in KINDS:
        name = f"brand_new_{kind}"
        done = new_plugin(name, *([] if kind == "plain" else [f"--{kind}"]))
        assert done.exit_code == 0, done.output
        folder = Path(f"rnncallbacks-brand-new-{kind}")
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        entry_points = [
            line
            for group, points in project["entry-points"].items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
        ]
        install(project["name"], "\n".join(entry_points), folder=project["name"])
        pytester.syspathinsert(folder / "src")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] >= 5 * len(KINDS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("AcmeRatio", "expected a name in snake_case, got 'AcmeRatio'; for example acme_ratio"),
        ("acme-ratio", "expected a name in snake_case, got 'acme-ratio'; for example acme_ratio"),
        ("../acme", "expected a name in snake_case, got '../acme'; for example acme"),
        ("3d", "expected a name in snake_case, got '3d'; for example acme_update_ratio"),
        ("", "expected a name in snake_case, got ''; for example acme_update_ratio"),
        (
            "rnncallbacks_acme",
            "the package gets the prefix rnncallbacks- by itself, got 'rnncallbacks_acme'; for example acme",
        ),
        ("lambda", "'lambda' is a word of Python; for example lambda_plugin"),
        ("warmup", "rnncallbacks has a plugin 'warmup' already; begin the name with a prefix of yours"),
        ("none", "'none' is a word of Python; for example none_plugin"),
        ("con", "Windows allows no file con.py; for example con_plugin"),
        ("test_loss", "pytest would take the class TestLoss for tests, got 'test_loss'; for example acme_test_loss"),
        ("a" * 41, "expected a name of at most 40 characters, got 41"),
    ],
)
def test_a_bad_name_is_refused(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = new_plugin(name)
    assert (done.exit_code, done.stderr) == (2, f"error: new-plugin: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_guard_takes_no_code_of_the_library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = new_plugin("rnn_loss", "--guard")
    message = "the code of this guard would be 'RNNLOSS001', and codes that begin with RNN are those of the library"
    assert (done.exit_code, message in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_package_has_one_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = new_plugin("acme", "--logger", "--guard")
    assert (done.exit_code, done.stderr.partition(";")[0]) == (
        2,
        "error: new-plugin: expected one kind of plugin, got --logger and --guard",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rnncallbacks-acme").mkdir()
    done = new_plugin("acme")
    assert "rnncallbacks-acme exists already; choose another name, or move the folder away" in done.stderr
    assert list(Path("rnncallbacks-acme").iterdir()) == []


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = Path.write_text

    def write_text(path, text, **arguments):
        if path.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, text, **arguments)

    monkeypatch.setattr(Path, "write_text", write_text)
    done = new_plugin("acme")
    assert done.exit_code == 2
    assert done.stderr == "error: rnncallbacks-acme: No space left on device\n"
    assert list(tmp_path.iterdir()) == []
