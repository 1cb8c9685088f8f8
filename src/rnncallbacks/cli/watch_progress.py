"""The progress line of the doctor while it watches a script."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rnncallbacks.doctor.script_examination import ExaminationStage
from rnncallbacks.files import printable

TERMINAL_INTERVAL = 0.25
"""Seconds between two lines on a terminal, where each replaces the one before. Chosen by eye."""
PLAIN_INTERVAL = 5.0
"""Seconds between two lines in a pipe or a file, where all of them stay. Chosen by eye."""
ERASE = "\r\x1b[K"


@contextmanager
def shown_progress(stage: ExaminationStage, seconds: float, began: float | None = None) -> Iterator[None]:
    """Show the stage of the examination on the standard error while the body runs.

    Parameters
    ----------
    stage:
        The stage of the examination.
    seconds:
        Time limit of the examination.
    began:
        The time, as of ``time.monotonic``, from which its seconds are counted; None: now.
    """
    on_terminal = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
    since, over = time.monotonic() if began is None else began, threading.Event()

    def show() -> None:
        while not over.wait(TERMINAL_INTERVAL if on_terminal else PLAIN_INTERVAL):
            text = printable(f"doctor: {stage.describe()}, {time.monotonic() - since:.0f} of {seconds:.0f} s")
            _write(f"{ERASE}{text[: _columns() - 1]}" if on_terminal else f"{text}\n")

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if on_terminal:
            _write(ERASE)


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads it
        return


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
