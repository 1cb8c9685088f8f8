"""The training loop given with ``--loop``."""

from __future__ import annotations

from pathlib import Path

from rnncallbacks.doctor.instrument import Sites, instrument
from rnncallbacks.doctor.loop_search import LoopCandidate
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.errors import DataError


def named_loop(script: Path, place: str) -> LoopCandidate:
    """The loop at "FILE:LINE", or at a line of the script.

    Raises
    ------
    DataError
        The place is not a line number, or no loop begins there.
    """
    file, _, text = place.rpartition(":")
    places = [Path(file), script.parent / file] if file else [script]
    path = next((one for one in places if one.is_file()), places[0])
    if not text.isdecimal():
        raise DataError(f"--loop: expected FILE:LINE or LINE, got {place!r}", hint=f"for example {script.name}:120")
    sites = Sites()
    instrument(read_script(path).text, str(path), sites)
    loops = [site for site in sites.known if site.kind == "loop"]
    found = next((site for site in loops if site.line == int(text)), None)
    if found is None:
        lines = ", ".join(str(site.line) for site in loops)
        raise DataError(f"--loop: no loop begins at {path}:{text}", hint=f"loops begin at the lines {lines or 'none'}")
    return LoopCandidate(found, 0, ())
