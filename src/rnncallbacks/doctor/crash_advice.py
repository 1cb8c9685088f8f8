"""Explains an error of a script: the line in the user's file, the cause, and the fix."""

from __future__ import annotations

import linecache
import os
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import attrs

from rnncallbacks.doctor.crash_rules import environment_rules, numpy_rules, python2_rules
from rnncallbacks.doctor.crash_rules.failure import Advice, Failure
from rnncallbacks.doctor.script_source import ScriptSource
from rnncallbacks.errors import DataError

MOST_FRAMES = 4
"""Largest number of calls shown for an error without an explanation. Chosen by eye."""
INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages."""
OWN_PACKAGE = Path(__file__).resolve().parents[1]

RULES: tuple[Callable[[Failure], Advice | None], ...] = (
    environment_rules.refused_by_the_sandbox,
    python2_rules.syntax,
    numpy_rules.numpy_removal,
    numpy_rules.array_as_number,
    numpy_rules.ragged,
    environment_rules.arguments_needed,
    environment_rules.missing_file,
    environment_rules.missing_module,
    python2_rules.python2_names,
    python2_rules.python2_lists,
    python2_rules.python2_division,
    python2_rules.bytes_and_text,
    numpy_rules.numpy2_behavior,
    numpy_rules.not_finite,
    environment_rules.input_asked,
    environment_rules.ended_by_itself,
)
"""In this order: the first that recognizes an error explains it."""


@attrs.frozen
class CrashFrame:
    """A call that was open when a script failed: place, function and line."""

    where: str
    function: str
    source: str


@attrs.frozen
class CrashAdvice:
    """The explanation of a script's error.

    Attributes
    ----------
    error:
        The error in one line, as Python shows it.
    frames:
        The open calls in the user's files, the innermost last; empty if there is none.
    cause:
        The cause; empty if it is not known.
    fix:
        The fix; may have several lines.
    """

    error: str
    frames: tuple[CrashFrame, ...] = ()
    cause: str = ""
    fix: str = ""

    def lines(self) -> list[str]:
        """The lines to print."""
        shown = self.frames[-1:] if self.cause else self.frames[-MOST_FRAMES:]
        lines = [f"{one.where}  {one.source}" for one in shown]
        lines.append(self.error)
        if self.cause:
            first, *rest = self.fix.splitlines() or [""]
            lines += [f"cause  {self.cause}", f"fix    {first}", *(f"       {line}" for line in rest)]
        return lines


def advice_on(error: BaseException, source: ScriptSource) -> CrashAdvice:
    """Explain the error with which a script ended. Call it where the error was caught, because it reads the frames."""
    if isinstance(error, DataError) and isinstance(error.__cause__, SyntaxError):
        error = error.__cause__
    frames = list(_frames(error, source))
    if isinstance(error, SyntaxError) and error.lineno and _is_users(error.filename or "", source):
        place = _Place(error.filename or "", error.lineno, "<module>", {})
        frames.append(place)
    last = frames[-1] if frames else _Place(str(source.path), 0, "<module>", {})
    text = _text_of(last.file, source)
    failure = Failure(error, _line(text, last.line), last.line, text, last.names)
    cause, fix = "", ""
    for rule in RULES:
        try:
            found = rule(failure)
        except Exception:  # an object of the script that cannot be inspected
            continue
        if found is not None:
            cause, fix = found
            break
    shown = tuple(
        CrashFrame(one.where(source), one.function, _line(_text_of(one.file, source), one.line)) for one in frames
    )
    return CrashAdvice(_error_line(error), shown, cause, fix)


@attrs.frozen
class _Place:
    file: str
    line: int
    function: str
    names: dict[str, object]

    def where(self, source: ScriptSource) -> str:
        if self.file == str(source.path):
            return str(source.location(self.line))
        return f"{os.path.relpath(self.file)}:{self.line}"


def _frames(error: BaseException, source: ScriptSource) -> Iterator[_Place]:
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(source.path):
        trace = trace.tb_next
    while trace is not None:
        frame = trace.tb_frame
        if _is_users(frame.f_code.co_filename, source):
            names = {**frame.f_globals, **frame.f_locals}
            yield _Place(frame.f_code.co_filename, trace.tb_lineno, frame.f_code.co_name, names)
        trace = trace.tb_next


def _is_users(file: str, source: ScriptSource) -> bool:
    """Whether a file is the script or is outside of the installed packages."""
    if file == str(source.path):
        return True
    path = os.path.realpath(file)
    if file.startswith("<") or not os.path.exists(path) or OWN_PACKAGE in Path(path).parents:
        return False
    if INSTALLED.intersection(Path(path).parts):
        return False
    return not path.startswith(tuple(os.path.realpath(folder) + os.sep for folder in sysconfig.get_paths().values()))


def _text_of(file: str, source: ScriptSource) -> str:
    return source.text if file == str(source.path) else "".join(linecache.getlines(file))


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def _error_line(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the script left with exit code {error.code}"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    notes = len(getattr(error, "__notes__", []))
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return lines[0] if notes or len(lines) > 1 else lines[-1]
