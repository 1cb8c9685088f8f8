"""``rnncallbacks check``: a configuration, checked without training."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rnncallbacks.cli.command_options import PluginSwitches, switches_option
from rnncallbacks.cli.error_output import print_error
from rnncallbacks.cli.train_settings import check_table
from rnncallbacks.core.plugin_manager import Plugins
from rnncallbacks.errors import RnnCallbacksError
from rnncallbacks.files import printable


@click.command(short_help="Check a configuration.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@switches_option
def check(path: Path | None, switches: PluginSwitches) -> None:
    """Check a configuration without training.

    PATH is its file. Without it, the nearest configuration in this directory or above it is checked.
    """
    try:
        configuration = switches.read(path)
        configuration.problems += check_table(configuration.settings, configuration.where)
        made = configuration.make()
        Plugins(made)
    except RnnCallbacksError as error:
        print_error(error)
        sys.exit(1)
    click.echo(
        f"{printable(configuration.where)}: " + (f"{len(made)} plugins, called in this order:" if made else "no plugin")
    )
    for number, (name, plugin) in enumerate(made.items(), 1):
        table = configuration.tables[name]
        click.echo(f"{number:>3}. {printable(name)}  {' '.join(printable(repr(plugin)).split())}  by {table.reason}")
    for table in configuration.tables.values():
        if not table.enabled:
            click.echo(f"     {printable(table.name)}  disabled by {table.reason}")
