"""Errors of the library as lines on the error output, without a traceback."""

from __future__ import annotations

import click

from rnncallbacks.errors import ConfigurationError, RnnCallbacksError, one_line
from rnncallbacks.files import printable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells define it."""


def print_error(error: RnnCallbacksError) -> None:
    """Print one line for each problem, then the hint, then the notes that say where the error was raised."""
    problems = error.problems if isinstance(error, ConfigurationError) else [one_line(error)]
    for problem in problems:
        click.echo(f"error: {printable(problem)}", err=True)
    if isinstance(error, ConfigurationError) and error.hint:
        click.echo(f"hint: {printable(error.hint)}", err=True)
    _print_notes(error)


def print_disk_error(error: OSError) -> None:
    """Print one line for an error of the operating system, with the file it is about, then the notes."""
    file = "the standard output" if error.filename is None else str(error.filename)
    click.echo(f"error: {printable(file)}: {error.strerror}", err=True)
    _print_notes(error)


def _print_notes(error: BaseException) -> None:
    for note in getattr(error, "__notes__", []):
        click.echo(f"  {printable(note)}", err=True)
