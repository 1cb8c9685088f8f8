"""The group of all commands. A new command is a module of its own and one line here."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any

import click

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.cli.error_output import INTERRUPTED, print_disk_error, print_error
from rnncallbacks.errors import RnnCallbacksError
from rnncallbacks.parallel.orderly_exit import orderly_exit

FUNCTIONS = {
    "check": "check.check",
    "doctor": "doctor.doctor",
    "explain": "explain.explain",
    "new-plugin": "new_plugin.new_plugin",
    "plugins": "plugins.plugins",
    "report": "report.write_report",
    "sample": "sample.print_sample",
    "train": "train.train",
}
"""Module and function of each command, by the name of the command."""


class Commands(Mapping[str, click.Command]):
    """The commands by name. The module of a command is imported when the command is looked up.

    With the modules of all commands, each of them would start a tenth of a second later.
    """

    def __getitem__(self, name: str) -> click.Command:
        module, _, function = FUNCTIONS[name].partition(".")
        command: click.Command = getattr(import_module(f"{__package__}.{module}"), function)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(FUNCTIONS)

    def __len__(self) -> int:
        return len(FUNCTIONS)


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


rnncallbacks.commands = Commands()  # type: ignore[assignment]  # click only reads it, unless commands are added
