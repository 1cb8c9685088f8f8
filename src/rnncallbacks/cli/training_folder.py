"""The folder of one training run, and the configuration in it that repeats the run."""

from __future__ import annotations

import json
import platform
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import tomli_w

from rnncallbacks.cli.corpus import Corpus
from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.config.configuration import Configuration
from rnncallbacks.config.plugin_options import options_of
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.files import remove_leftovers, text_of_file, write_atomically

CONFIGURATION = "config.toml"
MODEL = "model.safetensors"
VOCABULARY = "vocabulary.json"


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
    """Refuse a folder in which this run cannot continue; return whether the configuration must be written there.

    A run that was killed, interrupted or failed continues when it is started again with the same settings. With
    ``resume``, other settings may be given, and a run that has ended continues for more epochs.

    Parameters
    ----------
    run_dir:
        The folder, which need not exist.
    configuration:
        The configuration of this run, as :func:`repeating_configuration` writes it.
    digest:
        The SHA-256 of the text.
    resume:
        Whether the user asked to continue the run in the folder.

    Raises
    ------
    OptionError
        The folder holds another run or one that ended, or the text has changed since.
    """
    path = run_dir / CONFIGURATION
    if not path.exists():
        return True
    there = text_of_file(path)
    changed = _changed_settings(there, configuration)
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
            hint=f"name another, or write --resume {run_dir} to continue that run",
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


def _changed_settings(there: str, here: str) -> list[str]:
    """The settings and options with which a configuration differs from another, as lines."""
    old, new = _settings_in(there), _settings_in(here)
    return [line for line in new if line not in old] or [line for line in old if line not in new]


def _settings_in(configuration: str) -> list[str]:
    try:
        content = tomllib.loads(configuration)
    except tomllib.TOMLDecodeError:  # it was edited: all its settings differ
        return []
    return [f"{key} = {value!r}" for tables in content.values() for key, value in _leaves(tables)]


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(inner, f"{key}.{name}" if key else name)


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
    train = attrs.asdict(settings)
    if settings.text is not None:
        train["text"] = settings.text.resolve()
    comments = [
        f"# Repeats this run: rnncallbacks train --config {run_dir / CONFIGURATION}",
        f"# rnncallbacks {version('rnncallbacks')}, Python {platform.python_version()}, NumPy {np.__version__}",
        f"# Text: {corpus} (SHA-256 {corpus.digest})",
        "",
    ]
    plugins: dict[str, dict[str, Any]] = {}
    for one in configuration.tables.values():
        table: dict[str, Any] = {} if one.plugin == one.name else {"plugin": one.plugin}
        plugins[one.name] = table
        if not one.enabled:
            table["enabled"] = False
            continue
        options = options_of(configuration.installed[one.plugin].load())
        table |= {option.name: option.default for option in options.values()} | one.options
        for option in ("directory", "path"):
            if table.get(option) is not None and _is_below(Path(table[option]), run_dir):
                del table[option]  # the repeated run has its own folder
    return "\n".join(comments) + "\n" + as_toml({"train": train, "plugins": plugins})


def as_toml(content: Mapping[str, Any]) -> str:
    """The content of a configuration as TOML. Values that are None are left out, and paths become text.

    Example
    -------
    >>> print(as_toml({"train": {"text": None, "epochs": 3}, "plugins": {"history_log": {"directory": Path("a")}}}))
    [train]
    epochs = 3
    <BLANKLINE>
    [plugins.history_log]
    directory = "a"
    <BLANKLINE>
    """
    return tomli_w.dumps(_toml_values(content))


def _toml_values(table: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): _toml_value(value) for key, value in table.items() if value is not None}


def _toml_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _toml_values(value)
    if isinstance(value, list | tuple):
        return [_toml_value(one) for one in value]
    return value if isinstance(value, bool | int | float | str) else str(value)
