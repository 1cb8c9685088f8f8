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
    from_list = isinstance(failure.error, IndexError | ValueError) and "argv" in failure.line
    if from_list and not isinstance(failure.error, UnicodeError):
        return "the script reads arguments from its command line", "give them: rnncallbacks doctor SCRIPT ARGUMENTS"
    if isinstance(failure.error, SystemExit) and failure.error.code == 2:
        return "the script did not accept its arguments", "give them: rnncallbacks doctor SCRIPT ARGUMENTS"
    return None


def missing_file(failure: Failure) -> Advice | None:
    error = failure.error
    if not isinstance(error, FileNotFoundError | NotADirectoryError) or not isinstance(error.filename, str):
        return None
    name, here = error.filename, os.getcwd()
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
    mend = f"put the file there{', or give its path as an argument' if 'argv' in failure.text else ''}"
    if not os.path.isdir(folder):
        mend = f"make the folder {folder} and put the file there"
    wrong = f"the script expects the file {os.path.basename(name)} in {folder}"
    return wrong, f"{mend} ({hint})" if hint else mend


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
    mend = f"install it (python -m pip install {package}), or put the file {name}.py next to the script if it is yours"
    return f"the module {error.name} is not installed for this Python", mend


def input_asked(failure: Failure) -> Advice | None:
    if not isinstance(failure.error, EOFError) or "input" not in failure.line:
        return None
    return "the script asks a question, and nobody answers here", "put the answer into the script"
