"""Runs a script in this process, as Python itself would run it."""

from __future__ import annotations

import builtins
import os
import runpy
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType, TracebackType

import attrs
import click

from rnncallbacks.doctor.script_source import NOTEBOOK, check_script, read_script


@attrs.frozen(eq=False)
class Outcome:
    """The end of a script: normal, with an error, or by Ctrl-C."""

    error: Exception | None = None
    interrupted: bool = False

    @property
    def error_line(self) -> str | None:
        """The error in one line, without its notes."""
        if self.error is None:
            return None
        return traceback.format_exception_only(self.error)[-1 - len(getattr(self.error, "__notes__", []))].strip()


def run_script(script: Path, arguments: list[str]) -> Outcome:
    """Run a script. The traceback of an error is printed as Python prints it, from the script's own frame on.

    Raises
    ------
    DataError
        There is no such file.
    """
    check_script(script)
    before = sys.argv, sys.path[0]
    sys.argv = [str(script), *arguments]
    # As Python does: the directory of the script, with links resolved.
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    try:
        if script.suffix == NOTEBOOK:
            _run_notebook(script)
        else:
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


def _run_notebook(script: Path) -> None:
    """Run the code cells of a notebook, one after the other."""
    source = read_script(script)
    main, before = ModuleType("__main__"), sys.modules["__main__"]
    vars(main).update(source.names, __file__=str(script), __builtins__=builtins)
    sys.modules["__main__"] = main
    try:
        exec(compile(source.text, str(script), "exec", dont_inherit=True), vars(main))
    finally:
        sys.modules["__main__"] = before


@contextmanager
def output_to_stderr(wanted: bool) -> Iterator[None]:
    """If ``wanted``, redirect the standard output to the error output, that of child processes included."""
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


def _from_script_on(trace: TracebackType | None, script: Path) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename != str(script):
        trace = trace.tb_next
    return trace
