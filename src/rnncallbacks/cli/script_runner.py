"""Running somebody's script as Python would, in this process."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import TracebackType

import attrs
import click

from rnncallbacks.errors import DataError, closest


@attrs.frozen(eq=False)
class Outcome:
    """How a script ended: by itself, with an error, or by Ctrl-C."""

    error: Exception | None = None
    interrupted: bool = False

    @property
    def said(self) -> str | None:
        """The error in one line."""
        if self.error is None:
            return None
        return traceback.format_exception_only(self.error)[-1 - len(getattr(self.error, "__notes__", []))].strip()


def run_script(script: Path, arguments: list[str]) -> Outcome:
    """Run a script; its error is printed as Python prints it, from the script's own frame on.

    Raises
    ------
    DataError
        There is no such file.
    """
    _check(script)
    before = sys.argv, sys.path[0]
    sys.argv = [str(script), *arguments]
    # What Python puts there: links are followed.
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except KeyboardInterrupt:
        return Outcome(interrupted=True)
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            click.echo(leaving.code, err=True)
    except Exception as error:
        sys.stdout.flush()
        traceback.print_exception(type(error), error, _from_script_on(error.__traceback__, script))
        return Outcome(error)
    finally:
        sys.argv, sys.path[0] = before
    return Outcome()


@contextmanager
def elsewhere(wanted: bool) -> Iterator[None]:
    """If it is wanted, what is written to the standard output goes to the error output, from child processes too."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _check(script: Path) -> None:
    if script.is_dir():
        raise DataError(f"{script}: expected a script, got a directory")
    if not script.exists():
        beside = script.parent.iterdir() if script.parent.is_dir() else ()
        raise DataError(
            f"{script}: there is no such file", hint=closest(script.name, (one.name for one in beside if one.is_file()))
        )


def _from_script_on(trace: TracebackType | None, script: Path) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename != str(script):
        trace = trace.tb_next
    return trace
