"""Errors of scripts without a file, module, argument, network or standard input that they need."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from rnncallbacks.doctor.crash_rules.failure import Advice, Failure
from rnncallbacks.doctor.crash_rules.python2 import PYTHON2_BUILTINS, PYTHON2_MODULES
from rnncallbacks.doctor.crash_rules.python2_rules import ABSTRACT
from rnncallbacks.errors import SandboxError, closest

PACKAGES = {
    "Levenshtein": "python-Levenshtein",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Modules that are installed under another name."""


def refused_by_the_sandbox(failure: Failure) -> Advice | None:
    seen: set[int] = set()
    error: Any = failure.error
    while isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, SandboxError):
            return error.message, error.hint
        reason = getattr(error, "reason", None)  # of urllib.error.URLError
        error = reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__
    return None


def arguments_needed(failure: Failure) -> Advice | None:
    fix = "write them after the script: rnncallbacks doctor SCRIPT ARGUMENTS"
    from_list = isinstance(failure.error, IndexError | ValueError) and "argv" in failure.line
    if from_list and not isinstance(failure.error, UnicodeError):
        return "the script reads arguments from its command line", fix
    if isinstance(failure.error, SystemExit) and failure.error.code == 2:
        message = _message_of_argparse(failure.error)
        return f"the script did not accept its arguments{': ' if message else ''}{message}", fix
    return None


def _message_of_argparse(error: BaseException) -> str:
    """The message that ``argparse`` printed before it left the script; empty if there is none."""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == "error" and os.path.basename(code.co_filename) == "argparse.py":
            return str(trace.tb_frame.f_locals.get("message", ""))
        trace = trace.tb_next
    return ""


def missing_file(failure: Failure) -> Advice | None:
    error = failure.error
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return None
    by_numpy = re.fullmatch(r"(.+) not found\.", failure.message)  # of loadtxt and genfromtxt
    name, here = error.filename or (by_numpy and by_numpy[1]), os.getcwd()
    if not isinstance(name, str):
        return None
    script = failure.names.get("__file__")
    home = Path(script).resolve().parent if isinstance(script, str) else Path(here)
    if not os.path.isabs(name) and (home / name).exists():
        return (
            f"there is no {name} in {here}, but there is one next to the script",
            f"run it there: cd {home}",
        )
    folder = os.path.dirname(os.path.join(here, name))
    others = os.listdir(folder) if os.path.isdir(folder) else []
    hint = closest(os.path.basename(name), others)
    fix = f"put the file there{', or give its path as an argument' if 'argv' in failure.text else ''}"
    if not os.path.isdir(folder):
        fix = f"make the folder {folder} and put the file there"
    cause = f"the script expects the file {os.path.basename(name)} in {folder}"
    return cause, f"{fix} ({hint})" if hint else fix


def missing_module(failure: Failure) -> Advice | None:
    error = failure.error
    if not isinstance(error, ImportError) or not error.name:
        return None
    name = error.name.split(".")[0]
    moved = re.search(r"cannot import name '(\w+)'", failure.message)
    if moved and name == "collections" and moved[1] in ABSTRACT:
        return f"{moved[1]} is in collections.abc", f"write from collections.abc import {moved[1]}"
    if moved and moved[1] in PYTHON2_BUILTINS:
        return f"Python 3 has no {moved[1]}", f"write {PYTHON2_BUILTINS[moved[1]]}"
    if error.name in PYTHON2_MODULES:
        return f"Python 3 has no module {error.name}", f"import {PYTHON2_MODULES[error.name]}"
    if not isinstance(error, ModuleNotFoundError):
        return None
    package = PACKAGES.get(name, name)
    fix = f"install it (python -m pip install {package}), or put the file {name}.py next to the script if it is yours"
    return f"the module {error.name} is not installed for this Python", fix


def input_asked(failure: Failure) -> Advice | None:
    if isinstance(failure.error, EOFError) and "input" in failure.line:
        return "the script waits for an answer from the keyboard, which the doctor does not give", "assign the answer"
    if "stdin" in failure.line:
        return "the script reads its standard input, which is empty under the doctor", "read the data from a file"
    return None


def ended_by_itself(failure: Failure) -> Advice | None:
    if not isinstance(failure.error, SystemExit):
        return None
    return "the script ended itself before a training loop was found", "pass the arguments or data that it needs"
