"""The folder of a training run."""

from pathlib import Path

import pytest

from rnncallbacks.cli.training_folder import check_folder, new_run_folder, write_run_file
from rnncallbacks.errors import DataError, OptionError


def test_a_folder_is_named_after_the_time_and_made_with_its_first_file():
    folder = new_run_folder(None)
    assert folder.parent == Path("runs")
    assert not folder.exists()
    write_run_file(folder, "a.txt", "content")
    assert (folder / "a.txt").read_text() == "content"


def configuration(seed):
    return f"# Repeats this run\n# Text: a.txt (SHA-256 abc)\n[train]\nseed = {seed}\n"


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="expected a directory, got the file"):
        new_run_folder(tmp_path / "file")
    with pytest.raises(DataError, match="cannot be written: "):
        write_run_file(tmp_path / "file", "a.txt", "")


@pytest.mark.parametrize("outcome", [None, "failed", "interrupted", "finished", "stopped"])
def test_a_run_goes_on_unless_it_ended_or_has_other_settings(tmp_path, outcome):
    assert check_folder(tmp_path, configuration(1), "abc", resume=False)  # there is no run yet
    (tmp_path / "config.toml").write_text(configuration(1).replace("this", "that"))
    if outcome is not None:
        (tmp_path / "diagnosis.json").write_text(f'{{"outcome": "{outcome}"}}')
    if outcome in ("finished", "stopped"):
        with pytest.raises(OptionError, match="holds a run already"):
            check_folder(tmp_path, configuration(1), "abc", resume=False)
    else:
        assert not check_folder(tmp_path, configuration(1), "abc", resume=False)
        with pytest.raises(OptionError, match="with other settings than seed = 2"):
            check_folder(tmp_path, configuration(2), "abc", resume=False)
        with pytest.raises(OptionError, match="with other settings than this text"):
            check_folder(tmp_path, configuration(1), "def", resume=False)
    assert check_folder(tmp_path, configuration(2), "abc", resume=True)
    assert not check_folder(tmp_path, configuration(1), "abc", resume=True)
    with pytest.raises(OptionError, match="the text is not the one"):
        check_folder(tmp_path, configuration(1), "def", resume=True)
