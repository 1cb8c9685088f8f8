"""``rnncallbacks report``: the page of a run, written into its folder."""

from __future__ import annotations

from pathlib import Path

from rnncallbacks.errors import OptionError
from rnncallbacks.files import write_atomically
from rnncallbacks.reporting.html import page
from rnncallbacks.reporting.run_folder import read_run


def write_report(run_dir: Path, output: Path | None) -> Path:
    """Write the page and return its path.

    Raises
    ------
    DataError
        This is no folder of a run.
    OptionError
        The page cannot be written.
    PluginError
        matplotlib is not installed.
    """
    run = read_run(run_dir)
    path = run_dir / "report.html" if output is None else output
    if path.is_dir():
        raise OptionError(f"--output: expected a file, got the directory {path}")
    content = page(run)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written: {error.strerror}") from None
    return path
