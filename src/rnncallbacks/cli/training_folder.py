"""The folder of one training run, and the configuration in it that repeats the run."""

from __future__ import annotations

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
from rnncallbacks.files import write_atomically


def new_run_folder(given: Path | None) -> Path:
    """The given folder, or one named after the time. It is created with the first file.

    Raises
    ------
    OptionError
        It is a file, or it holds a run.
    """
    if given is None:
        return Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    if given.exists() and not given.is_dir():
        raise OptionError(f"--run-dir: expected a directory, got the file {given}")
    if (given / "config.toml").exists():
        raise OptionError(f"--run-dir: {given} holds a run already", hint="name another, or remove it")
    return given


def write_run_file(run_dir: Path, name: str, content: str) -> None:
    """Write a file of the run.

    Raises
    ------
    DataError
        It cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(run_dir / name, content)
    except OSError as error:
        raise DataError(f"{run_dir / name}: cannot be written: {error.strerror}") from None


def repeating_configuration(configuration: Configuration, settings: Settings, corpus: Corpus, run_dir: Path) -> str:
    """A configuration that repeats the run, as TOML: every setting, and every plugin with every option."""
    table = attrs.asdict(settings)
    if settings.text is not None:
        table["text"] = settings.text.resolve()
    parts = [
        f"# Repeats this run: rnncallbacks train --config {run_dir / 'config.toml'}",
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
        if values.get("directory") == str(run_dir):
            del values["directory"]  # the repeated run has its own folder
        parts += ["", toml_table(key, {**named, **values})]
    return "\n".join(parts) + "\n"
