"""The group of all commands. A new command is a module of its own and one line here."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import click

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.cli.check import check
from rnncallbacks.cli.doctor import doctor
from rnncallbacks.cli.error_output import print_error
from rnncallbacks.cli.explain import explain
from rnncallbacks.cli.plugins import plugins
from rnncallbacks.cli.report import report
from rnncallbacks.cli.train import train
from rnncallbacks.errors import RnnCallbacksError


class CommandGroup(click.Group):
    """Prints errors of the library without a traceback, and turns them into exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RnnCallbacksError as error:
            print_error(error)
            ctx.exit(1 if isinstance(error, AlarmRaised) else 2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("rnncallbacks"), message="%(prog)s %(version)s")
def rnncallbacks() -> None:
    """Remedies, alarms and a NumPy trainer for recurrent networks whose loss will not go down."""


for command in (train, doctor, report, explain, plugins, check):
    rnncallbacks.add_command(command)
