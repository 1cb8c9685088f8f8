"""Standard output: wrapped and styled lines on a terminal, plain lines everywhere else.

The library rich does the wrapping and styling. It is imported only for a terminal, so plugins that write to the
standard output work without it.
"""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TYPE_CHECKING

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.files import printable

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = 100
"""Characters at which sentences are wrapped where the output is not a terminal. Chosen by eye."""
SEVERITY_STYLES = {"error": "bold red", "warning": "bold yellow", "info": "bold"}


def terminal_console() -> Console | None:
    """A console for the terminal behind the standard output.

    None if the output is a pipe, a file or a notebook, if the terminal cannot move its cursor (``TERM=dumb``), or if
    rich is not installed. Lines are then written as they are, without control codes.
    """
    if not sys.stdout.isatty() or os.environ.get("TERM", "") in ("dumb", "unknown"):
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(highlight=False)


def write_line(
    console: Console | None, text: str = "", *, style: str = "", indent: int = 0, wrap: int | None = None
) -> None:
    """Write one line. On a terminal it is wrapped at its width; the parts of a wrapped line have the same indent.

    Elsewhere it is wrapped at ``wrap`` characters, unless that is None.

    If the reader of a pipe has closed it, as ``head`` does, this line and all later output of the process are dropped
    without an error, so that the training run continues.
    """
    text = printable(text)
    if console is None:
        lines = [text] if wrap is None else textwrap.wrap(text, wrap - indent, break_on_hyphens=False) or [""]
        try:
            sys.stdout.write("".join(f"{' ' * indent}{line}\n" for line in lines))
            sys.stdout.flush()
        except BrokenPipeError:
            # The content of the buffer would fail again when the process ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        return
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(text, style), (0, 0, 0, indent), expand=False))


def show_diagnosis(console: Console | None, diagnosis: Diagnosis, *, list_passed: bool = True) -> None:
    """Write a diagnosis, with its passed checks listed or only counted."""
    for line in diagnosis.lines(list_passed=list_passed):
        style = "dim" if line.is_heading else SEVERITY_STYLES.get(line.severity or "", "")
        write_line(console, line.text, style=style, indent=line.indent, wrap=COLUMNS)


def write_field(console: Console | None, name: str, value: str) -> None:
    """Write a name and its value on one line. On a terminal, a long value continues below its own first character."""
    name, value = printable(name), printable(value)
    if console is None:
        write_line(None, f"{name} {value}")
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(name), Text(value))
    console.print(grid)
