"""``rnncallbacks report``: a page about a run, written into its folder."""

from __future__ import annotations

from pathlib import Path

import click

from rnncallbacks.reporting.report_file import report


@click.command("report", short_help="Make a page about a run.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Path of the page. [default: RUN_DIR/report.html]")
def write_report(run_dir: Path, output: Path | None) -> None:
    """Make a page about a run: curves, alarms with their evidence, checks, and the configuration.

    RUN_DIR is a folder that the plugin history_log wrote into, such as the run folder of train. The page is one file,
    and opens without a network.
    """
    click.echo(f"report: {report(run_dir, output)}")
