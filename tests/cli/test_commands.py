"""The group of commands: how it is called, its version, its help, and what it needs."""

import os
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.config.plugin_options import options_of


def test_the_console_script_is_the_main_function():
    (script,) = entry_points(group="console_scripts", name="rnncallbacks")
    assert script.value == "rnncallbacks.cli:main"


def test_version(run_command):
    done = run_command("--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"rnncallbacks {version('rnncallbacks')}\n", "", 0)


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_libraries_it_names_the_extra(missing):
    script = f"import sys; sys.modules[{missing!r}] = None; from rnncallbacks.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: the command line needs {missing}: pip install 'rnncallbacks[cli]'\n"


def test_help_names_every_command_and_every_setting_with_its_default():
    commands = {"train", "plugins", "check", "doctor", "report", "sample", "explain", "new-plugin"}
    assert set(rnncallbacks.commands) == commands
    text = " ".join(CliRunner().invoke(rnncallbacks, ["train", "--help"]).output.split())
    for option in options_of(Settings).values():
        if option.name != "text":
            assert f"--{option.name.replace('_', '-')} " in text
            assert f"[default: {'from all' if option.default is None else option.default}]" in text


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "rnncallbacks", "--version"], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == (f"rnncallbacks {version('rnncallbacks')}\n", "", 0)


def test_the_exit_code_of_the_module_is_that_of_the_command(run_python):
    module = "import runpy; runpy.run_module('rnncallbacks', run_name='__main__', alter_sys=True)"
    done = run_python(module, "explain", "RNN999")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the catalogue has no code 'RNN999'")


LIMITED = """
import resource
from rnncallbacks.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="the size of files is limited by POSIX alone")
def test_a_full_disk_ends_a_command_with_a_line_that_names_the_file(run_python):
    Path("text.txt").write_text("it is what it is, and that is that. " * 60)
    done = run_python(LIMITED, "train", "text.txt", "--epochs", "1", "--hidden-size", "12", "--run-dir", "out")
    assert done.returncode == 2
    error, *notes = done.stderr.splitlines()
    assert error == "error: out/checkpoint.safetensors: File too large"
    assert notes[0] == "  in plugin 'checkpoint', hook on_epoch_end, epoch 1"
    assert all(note.startswith("  ") for note in notes)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_output_that_is_full_is_an_error_of_one_line(run_python):
    into_full = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); from rnncallbacks.cli import main; main()"
    done = run_python(into_full, "explain", "RNN501")
    assert done.returncode == 2
    assert done.stderr == "error: the standard output: No space left on device\n"


INTERRUPTED_IMPORT = """
import sys
from rnncallbacks.cli import main

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "rnncallbacks.cli.commands":
            raise KeyboardInterrupt

sys.modules.pop("rnncallbacks.cli.commands", None)
sys.meta_path.insert(0, Interrupt())
main()
"""


def test_an_interrupt_before_the_commands_are_imported_is_no_traceback(run_python):
    done = run_python(INTERRUPTED_IMPORT, "train")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
