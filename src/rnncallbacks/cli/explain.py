"""``rnncallbacks explain``: the page of an alarm code, or a list of codes."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.markdown import Markdown
from rich.table import Table

from rnncallbacks.alarms.catalogue import CATALOGUE, page
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.errors import PluginError
from rnncallbacks.reporting.terminal import terminal_console

HEADINGS = ("code", "severity", "cause", "raised by")


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Print the page of an alarm code: meaning, detection and remedy.

    CODE is a code, such as RNN201, in upper or lower case. The beginning of codes, such as RNN2, lists them. Without
    it, all codes are listed.
    """
    wanted = "" if code is None else code.upper()
    codes = sorted(known for known in CATALOGUE if known.startswith(wanted))
    if wanted in CATALOGUE or not codes:
        show_page(wanted)
    else:
        show_list(codes)


def show_page(code: str) -> None:
    """Print the page of a code: rendered on a terminal, as Markdown elsewhere."""
    text = page(code)
    console = terminal_console()
    if console is None:
        click.echo(text, nl=False)
    else:
        console.print(Markdown(text))


def show_list(codes: Iterable[str]) -> None:
    """Print a table of codes: fitted to the width of a terminal, one line for each code elsewhere."""
    plugins = raised_by()
    rows: list[tuple[str, ...]] = [
        (code, CATALOGUE[code].severity, CATALOGUE[code].cause, ", ".join(plugins.get(code, ()))) for code in codes
    ]
    console = terminal_console()
    if console is not None:
        table = Table(*HEADINGS, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(len(row[column]) for row in [HEADINGS, *rows]) for column in range(len(HEADINGS))]
    for row in [HEADINGS, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def raised_by() -> dict[str, tuple[str, ...]]:
    """The plugins of this distribution that raise each code, read from the ``codes`` of their classes."""
    plugins: dict[str, tuple[str, ...]] = {}
    for found in find_plugins():
        if found.distribution != "rnncallbacks":
            continue  # the catalogue has the codes of this distribution only
        try:
            factory = found.load()
        except PluginError:
            continue
        for code in getattr(factory, "codes", ()):
            plugins[code] = (*plugins.get(code, ()), found.name)
    return plugins
