"""``rnncallbacks explain``: the page of an alarm code, or a list of codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import click
from rich.markdown import Markdown
from rich.table import Table

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.alarms.registered_codes import find_page, find_registered_codes
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.errors import PluginError
from rnncallbacks.reporting.terminal import terminal_console

HEADINGS = ("code", "severity", "cause", "raised by")


@click.command(short_help="Explain an alarm code, or list the codes.")
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Print the page of an alarm code: its meaning, its detection and its remedy.

    CODE is a code, such as RNN201, in upper or lower case. The beginning of codes, such as RNN2, lists the codes that
    begin so. Without CODE, all codes are listed, those of other packages included.
    """
    wanted = "" if code is None else code.upper()
    known = {*CATALOGUE, *find_registered_codes()}
    codes = sorted(one for one in known if one.startswith(wanted))
    if wanted in known or not codes:
        show_page(wanted)
    else:
        show_list(codes)


def show_page(code: str) -> None:
    """Print the page of a code: rendered on a terminal, as Markdown elsewhere."""
    text = find_page(code)
    console = terminal_console()
    if console is None:
        click.echo(text, nl=False)
    else:
        console.print(Markdown(text))


def show_list(codes: Iterable[str]) -> None:
    """Print a table of codes: fitted to the width of a terminal, one line for each code elsewhere."""
    plugins = raised_by()
    rows = [_row(code, plugins) for code in codes]
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


def _row(code: str, plugins: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The cells of a code; of a code of another package, its distribution or what is wrong with it."""
    if code in CATALOGUE and code not in find_registered_codes():
        return code, CATALOGUE[code].severity, CATALOGUE[code].cause, ", ".join(plugins.get(code, ()))
    registered = find_registered_codes()[code]
    try:
        entry = registered.load()
    except PluginError as error:
        return code, "failed", error.message, registered.distribution
    return code, entry.severity, entry.cause, registered.distribution


def raised_by() -> dict[str, tuple[str, ...]]:
    """The plugins of this distribution that raise each code, read from the ``codes`` of their classes."""
    plugins: dict[str, tuple[str, ...]] = {}
    for found in find_plugins():
        if found.distribution != "rnncallbacks":
            continue  # codes of other packages come with the name of their package
        try:
            factory = found.load()
        except PluginError:
            continue
        for code in getattr(factory, "codes", ()):
            plugins[code] = (*plugins.get(code, ()), found.name)
    return plugins
