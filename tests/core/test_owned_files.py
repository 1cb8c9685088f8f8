"""Files belong to one run, as long as it lives."""

import os
import signal
import subprocess
import sys

import pytest

from rnncallbacks.core.owned_files import OwnedFiles
from rnncallbacks.errors import FileInUseError, OptionError

OWNER = """
import sys, time
from pathlib import Path
from rnncallbacks.core.owned_files import OwnedFiles
owned = OwnedFiles()
owned.own(Path(sys.argv[1]))
print("owned", flush=True)
time.sleep(600)
"""


def test_a_file_is_owned_until_it_is_released(tmp_path):
    first, second = OwnedFiles(), OwnedFiles()
    first.own(tmp_path / "runs" / "a")
    first.own(tmp_path / "runs" / ".." / "runs" / "a")
    second.own(tmp_path / "runs" / "b")
    with pytest.raises(FileInUseError, match="another run writes this file"):
        second.own(tmp_path / "runs" / "a")
    first.release()
    second.own(tmp_path / "runs" / "a")
    second.release()


def test_a_lock_dies_with_its_process_and_names_it_before(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path / "file"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "owned\n"
            with pytest.raises(FileInUseError, match=f"process {process.pid} on"):
                OwnedFiles().own(tmp_path / "file")
        finally:
            process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
            process.wait()
    owned = OwnedFiles()
    owned.own(tmp_path / "file")
    owned.release()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OptionError, match="cannot make the directory"):
        OwnedFiles().own(tmp_path / "taken" / "file")
