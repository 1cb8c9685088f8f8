"""The folder of one training run, and the configuration in it that repeats the run."""

from __future__ import annotations

import json
import platform
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import attrs
import numpy as np

from rnncallbacks.cli.corpus import Corpus
from rnncallbacks.cli.toml_text import toml_key, toml_table
from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.config.configuration import Configuration
from rnncallbacks.config.plugin_options import options_of
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.files import remove_leftovers, text_of_file, write_atomically

CONFIGURATION = "config.toml"


def new_run_folder(given: Path | None) -> Path:
    """The given folder, or one named after the time. It is created with the first file.

    Raises
    ------
    OptionError
        It is a file.
    """
    if given is None:
        return Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    if given.exists() and not given.is_dir():
        raise OptionError(f"--run-dir: expected a directory, got the file {given}")
    return given


def configuration_to_resume(run_dir: Path) -> Path:
    """The configuration of the run that ``--resume`` names.

    Raises
    ------
    OptionError
        The folder holds no run.
    """
    path = run_dir / CONFIGURATION
    if not path.is_file():
        raise OptionError(f"--resume: {run_dir} holds no run: it has no {CONFIGURATION}")
    return path


def check_folder(run_dir: Path, configuration: str, digest: str, *, resume: bool) -> bool:
    """Refuse a folder in which this run cannot go on; return whether the configuration has to be written there.

    A run that was killed, interrupted or failed goes on when it is started again with the same settings. With
    ``resume``, other settings may be given, and a run that has ended goes on for more epochs.

    Parameters
    ----------
    run_dir:
        The folder, which need not exist.
    configuration:
        The configuration of this run, as :func:`repeating_configuration` writes it.
    digest:
        The SHA-256 of the text.
    resume:
        Whether the user asked to go on with the run in the folder.

    Raises
    ------
    OptionError
        The folder holds another run or one that ended, or the text has changed since.
    """
    path = run_dir / CONFIGURATION
    if not path.exists():
        return True
    there = text_of_file(path)
    changed = _changed_lines(there, configuration)
    if resume:
        if digest not in there:
            raise OptionError(f"--resume: the text is not the one on which the run in {run_dir} was trained")
        return bool(changed)
    if _has_ended(run_dir):
        raise OptionError(
            f"--run-dir: {run_dir} holds a run already", hint=f"name another, or write --resume {run_dir}"
        )
    if digest not in there:
        changed.insert(0, "this text")
    if changed:
        raise OptionError(
            f"--run-dir: {run_dir} holds a run that did not end, with other settings than {'; '.join(changed[:3])}",
            hint=f"name another, or write --resume {run_dir} to go on with that run",
        )
    return False


def _has_ended(run_dir: Path) -> bool:
    path = run_dir / "diagnosis.json"
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("outcome") in ("finished", "stopped")


def _is_below(path: Path, folder: Path) -> bool:
    return path.absolute().is_relative_to(folder.absolute())


def _changed_lines(there: str, here: str) -> list[str]:
    """The settings and options with which a configuration differs from another."""
    old, new = ([line for line in text.splitlines() if " = " in line] for text in (there, here))
    return [line for line in new if line not in old] or [line for line in old if line not in new]


def write_run_file(run_dir: Path, name: str, content: str) -> None:
    """Write a file of the run.

    Raises
    ------
    DataError
        It cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        remove_leftovers(run_dir / name)
        write_atomically(run_dir / name, content)
    except OSError as error:
        raise DataError(f"{run_dir / name}: cannot be written: {error.strerror}") from None


def repeating_configuration(configuration: Configuration, settings: Settings, corpus: Corpus, run_dir: Path) -> str:
    """A configuration that repeats the run, as TOML: every setting, and every plugin with every option.

    Paths in the run folder are left out: the run that repeats this one has a folder of its own.
    """
    table = attrs.asdict(settings)
    if settings.text is not None:
        table["text"] = settings.text.resolve()
    parts = [
        f"# Repeats this run: rnncallbacks train --config {run_dir / CONFIGURATION}",
        f"# rnncallbacks {version('rnncallbacks')}, Python {platform.python_version()}, NumPy {np.__version__}",
        f"# Text: {corpus} (SHA-256 {corpus.digest})",
        "",
        toml_table("train", table),
    ]
    for one in configuration.tables.values():
        key = f"plugins.{toml_key(one.name)}"
        named = {} if one.plugin == one.name else {"plugin": one.plugin}
        if not one.enabled:
            parts += ["", toml_table(key, {"enabled": False, **named})]
            continue
        options = options_of(configuration.installed[one.plugin].load())
        values = {option.name: option.default for option in options.values()} | one.options
        for option in ("directory", "path"):
            if values.get(option) is not None and _is_below(Path(values[option]), run_dir):
                del values[option]  # the repeated run has its own folder
        parts += ["", toml_table(key, {**named, **values})]
    return "\n".join(parts) + "\n"
