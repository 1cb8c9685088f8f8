"""The training loop given with ``--loop``."""

from __future__ import annotations

from pathlib import Path

from rnncallbacks.doctor.instrument import Site, Sites, instrument
from rnncallbacks.doctor.loop_search import LoopCandidate
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.errors import DataError, closest

NEAREST = 4
"""Loops in the hint of an error."""
SHOWN_SOURCE = 40
"""Characters of a loop's line in the hint. Chosen by eye."""


def named_loop(script: Path, place: str) -> LoopCandidate:
    """The loop at "FILE:LINE", or at a line of the script.

    Raises
    ------
    DataError
        The place is not a line number, or no loop begins there.
    """
    file, _, text = place.rpartition(":")
    if not text.isdecimal():
        raise DataError(f"--loop: expected FILE:LINE or LINE, got {place!r}", hint=f"for example {script.name}:120")
    places = [Path(file), script.parent / file] if file else [script]
    path = next((one for one in places if one.is_file()), None)
    if path is None:
        own = (one.name for one in script.parent.glob("*.py"))
        raise DataError(f"--loop: there is no file {file}", hint=closest(file, own) or f"the script is {script}")
    sites = Sites()
    instrument(read_script(path).text, str(path), sites)
    line, loops = int(text), [site for site in sites.known if site.kind == "loop"]
    found = next((site for site in loops if site.line == line), None)
    if found is None:
        raise DataError(f"--loop: expected the line of a for or while loop, got {path}:{text}", hint=_hint(loops, line))
    return LoopCandidate(found, 0, ())


def _hint(loops: list[Site], line: int) -> str:
    """The nearest loops, by their lines."""
    if not loops:
        return "the file has no loop"
    nearest = sorted(sorted(loops, key=lambda site: abs(site.line - line))[:NEAREST], key=lambda site: site.line)
    return "the nearest are " + ", ".join(f"{site.line} ({_short(site.source)})" for site in nearest)


def _short(source: str) -> str:
    return source if len(source) <= SHOWN_SOURCE else f"{source[:SHOWN_SOURCE]}..."
