"""``rnncallbacks report``: a page about a run, written into its folder."""

from __future__ import annotations

from pathlib import Path

import click

from rnncallbacks.errors import OptionError
from rnncallbacks.files import write_atomically
from rnncallbacks.reporting.html import report_page
from rnncallbacks.reporting.run_folder import read_run


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Path of the page. [default: RUN_DIR/report.html]")
def report(run_dir: Path, output: Path | None) -> None:
    """Make a page about a run: curves, alarms with their evidence, checks, and the configuration.

    RUN_DIR is a folder that the plugin history_log wrote into, such as the run folder of train. The page is one file,
    and opens without a network.
    """
    run = read_run(run_dir)
    path = run_dir / "report.html" if output is None else output
    if path.is_dir():
        raise OptionError(f"--output: expected a file, got the directory {path}")
    content = report_page(run)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written: {error.strerror}") from None
    click.echo(f"report: {path}")
