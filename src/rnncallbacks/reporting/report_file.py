"""Writes the report of a run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from rnncallbacks.errors import OptionError, short_repr
from rnncallbacks.files import write_atomically
from rnncallbacks.reporting.html import report_page
from rnncallbacks.reporting.run_folder import read_run


def report(run_dir: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> Path:
    """Write a page about a run, as the command ``rnncallbacks report`` does, and return its path.

    The page has curves, alarms with their evidence, checks, and the configuration. It is one file, and opens without a
    network.

    Parameters
    ----------
    run_dir:
        A folder that the plugin ``history_log`` wrote into, such as ``run.directory``.
    output:
        The path of the page, which is replaced if it exists; None: ``report.html`` in the folder.

    Raises
    ------
    DataError
        It is not the folder of a run, or one of its files is damaged; the message names the place.
    OptionError
        ``run_dir`` is no path, or the page cannot be written.
    PluginError
        matplotlib is not installed.

    Example
    -------
    >>> import tempfile
    >>> from rnncallbacks import Run, load_plugins
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plugins = load_plugins({"plugins": {"loss_averaging": {}, "history_log": {"directory": folder}}})
    ...     with Run(plugins=plugins) as run:
    ...         for epoch in run.epochs(2):
    ...             for loss in run.batches([3.0, 2.0]):
    ...                 run.record(loss / epoch)
    ...     print(report(folder).name)
    report.html
    """
    if not isinstance(run_dir, str | os.PathLike):
        raise OptionError(
            f"run_dir: expected the path of a folder, got {short_repr(run_dir)}", hint="of a run, pass run.directory"
        )
    run = read_run(Path(run_dir))
    path = run.path / "report.html" if output is None else Path(output)
    if path.is_dir():
        raise OptionError(f"output: expected a file, got the directory {path}")
    if not path.parent.exists():  # before the charts are drawn
        raise OptionError(f"{path}: cannot be written: {os.strerror(errno.ENOENT)}")
    content = report_page(run)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written: {error.strerror}") from None
    return path
