"""The group of all commands. A new command is a module of its own and one line here."""

from __future__ import annotations

import errno
import os
import sys
from importlib.metadata import version
from typing import Any

import click

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.cli.check import check
from rnncallbacks.cli.doctor import doctor
from rnncallbacks.cli.error_output import INTERRUPTED, print_disk_error, print_error
from rnncallbacks.cli.explain import explain
from rnncallbacks.cli.new_plugin import new_plugin
from rnncallbacks.cli.plugins import plugins
from rnncallbacks.cli.report import write_report
from rnncallbacks.cli.sample import print_sample
from rnncallbacks.cli.train import train
from rnncallbacks.errors import RnnCallbacksError
from rnncallbacks.parallel.orderly_exit import orderly_exit


class CommandGroup(click.Group):
    """Prints errors of the library without a traceback, and turns them into exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except RnnCallbacksError as error:
            code = 1 if isinstance(error, AlarmRaised) else 2
            if not _is_reported(error, code):
                print_error(error)
            ctx.exit(code)
        except KeyboardInterrupt as interrupt:
            if not _is_reported(interrupt, INTERRUPTED):
                click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno in (None, errno.EPIPE):  # click knows what to do when the reader of a pipe has gone
                raise
            _leave_output()
            if not _is_reported(error, 2):
                print_disk_error(error)
            ctx.exit(2)


def _is_reported(error: BaseException, code: int) -> bool:
    """Whether another of several processes reports the error. All of them will end with the exit code."""
    at_exit = orderly_exit()
    if at_exit is None:
        return False
    at_exit.fail(error)
    at_exit.exit_with(code)
    return at_exit.is_reported(error)


def _leave_output() -> None:
    """Discard buffered standard output that cannot be written: Python would try to write it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("rnncallbacks"), message="%(prog)s %(version)s")
def rnncallbacks() -> None:
    """Remedies, alarms and a NumPy trainer for recurrent networks whose loss will not go down."""


for command in (train, doctor, write_report, print_sample, explain, plugins, check, new_plugin):
    rnncallbacks.add_command(command)
