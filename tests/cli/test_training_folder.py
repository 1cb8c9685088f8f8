"""The folder of a training run."""

from pathlib import Path

import pytest

from rnncallbacks.cli.training_folder import new_run_folder, write_run_file
from rnncallbacks.errors import DataError, OptionError


def test_a_folder_is_named_after_the_time_and_made_with_its_first_file():
    folder = new_run_folder(None)
    assert folder.parent == Path("runs")
    assert not folder.exists()
    write_run_file(folder, "a.txt", "content")
    assert (folder / "a.txt").read_text() == "content"


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    assert new_run_folder(tmp_path) == tmp_path
    (tmp_path / "config.toml").touch()
    with pytest.raises(OptionError, match="holds a run already"):
        new_run_folder(tmp_path)
    with pytest.raises(OptionError, match="expected a directory, got the file"):
        new_run_folder(tmp_path / "config.toml")
    with pytest.raises(DataError, match="cannot be written: "):
        write_run_file(tmp_path / "config.toml", "a.txt", "")
