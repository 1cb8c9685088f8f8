"""``rnncallbacks report``: from a run's folder to a page, and what is said when that cannot be."""

import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnncallbacks.cli.commands import rnncallbacks

TEXT = "it is what it is, and that is that. " * 60
SMALL = ["--epochs", "2", "--hidden-size", "16", "--batch-size", "4", "--sample", "0"]


def call(*arguments):
    return CliRunner().invoke(rnncallbacks, list(arguments))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, next to the text that it was trained on."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Path("text.txt").write_text(TEXT)
        assert call("train", "text.txt", *SMALL, "--run-dir", "out").exit_code == 0
    return place


@pytest.fixture
def folder(trained):
    shutil.copytree(trained, ".", dirs_exist_ok=True)
    return Path("out")


def test_a_run_of_train_becomes_a_page_in_its_folder_and_replaces_an_earlier_one(folder):
    Path("out/report.html").write_text("old")
    done = call("report", "out")
    assert (done.exit_code, done.output) == (0, "report: out/report.html\n")
    text = Path("out/report.html").read_text("utf-8")
    assert text != "old"
    for word in ("train", "val", "Learning rate", "before clipping", "after clipping", "passed", "[plugins.one_cycle]"):
        assert word in text
    assert "://" not in text


def test_the_page_goes_where_it_is_told_to(folder):
    done = call("report", "out", "--output", "page.html")
    assert done.output == "report: page.html\n"
    assert Path("page.html").exists()
    assert not Path("out/report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: there is no such folder"),
        (["."], ".: not the folder of a run: it has no history.jsonl; its folder out is one"),
        (["text.txt"], "text.txt: expected the folder of a run, got a file"),
        (["out", "--output", "."], "output: expected a file, got the directory ."),
        (["out", "--output", "no/where.html"], "no/where.html: cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_gives_one_line(folder, arguments, message):
    done = call("report", *arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def test_without_matplotlib_it_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = call("report", "out")
    assert (done.exit_code, done.stderr) == (2, "error: a report needs matplotlib; pip install 'rnncallbacks[plot]'\n")
    assert not Path("out/report.html").exists()
