"""The reason why a script has no training loop to examine, and what the user can do."""

from __future__ import annotations

import ast
from pathlib import Path

from rnncallbacks.doctor.script_source import read_script

LOOPS = (ast.For, ast.AsyncFor, ast.While)


def why_not_found(script: Path, named: str, seconds: float, *, out_of_time: bool) -> str:
    """The reason, in one line.

    Parameters
    ----------
    script:
        A script that did not fail.
    named:
        The loop that the user named; empty if the doctor searched for it.
    seconds:
        Duration of the search.
    out_of_time:
        Whether the time limit ended the search.

    Example
    -------
    >>> why_not_found(Path("train.py"), "train.py:20", 0.4, out_of_time=False)
    'the script ended before train.py:20 had three iterations'
    """
    if named and out_of_time:
        return f"{named} had fewer than three iterations in {seconds:.0f} s: raise --seconds"
    if named:
        return f"the script ended before {named} had three iterations"
    if out_of_time:
        return f"no training loop was found in {seconds:.0f} s: raise --seconds, or name the loop: --loop FILE:LINE"
    own = any(isinstance(node, LOOPS) for node in ast.walk(ast.parse(read_script(script).text)))
    if not own:
        return "no training loop was found: the script ended, and its file has no loop"
    return (
        "no training loop was found: the script ended, and no loop changed the same arrays in each iteration; see that "
        "it trains here for three batches or more, or name the loop: --loop FILE:LINE"
    )
