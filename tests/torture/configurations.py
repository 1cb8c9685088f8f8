"""Configurations: mutated as trees and as text. Each is used, or refused with its problems, in under a second.

A configuration that is accepted then trains, with errors of the library alone.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rnncallbacks import Run
from rnncallbacks.cli.train_settings import Settings, merge_settings
from rnncallbacks.cli.training_folder import as_toml
from rnncallbacks.config.configuration import Configuration, read_configuration
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.config.plugin_options import options_of

from .odd_values import ODD_VALUES, edit_tree, mutate_text
from .training_runs import OPTIONS
from .trials import Result, is_ours, traceback_of

SLOW_SECONDS = 1.0
"""Processor time within which a configuration has to be read."""
MOST_EDITS = 3


@functools.cache
def _whole_configuration() -> dict[str, Any]:
    """A configuration with every option of every plugin of the library, and every setting of the command train."""
    tables: dict[str, Any] = {}
    for found in find_plugins():
        if found.distribution != "rnncallbacks":
            continue
        given = OPTIONS.get(found.name, {})
        known = {option.name: option.default for option in options_of(found.load()).values()} | given
        tables[found.name] = {name: _plain(value) for name, value in known.items() if value is not None}
    train = {name: value for name, value in attrs.asdict(Settings()).items() if value is not None}
    return {"preset": "recommended", "plugins": tables, "train": train}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def _copy(tree: Any) -> Any:
    return {key: _copy(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


def _some_tables(generator: np.random.Generator) -> dict[str, Any]:
    """The whole configuration with some of its tables."""
    content: dict[str, Any] = _copy(_whole_configuration())
    names = list(content["plugins"])
    chosen = generator.choice(names, size=int(generator.integers(1, 8)), replace=False)
    content["plugins"] = {name: content["plugins"][name] for name in names if name in chosen}
    for key in ("preset", "train"):
        if generator.random() < 0.5:
            del content[key]
    return content


def _edited_mapping(generator: np.random.Generator, folder: Path) -> tuple[Any, str]:
    content = _some_tables(generator)
    edits = [edit_tree(generator, content).what for _ in range(generator.integers(1, MOST_EDITS + 1))]
    return content, f"mapping: {'; '.join(edits)}"


def _edited_file(generator: np.random.Generator, folder: Path) -> tuple[Path, str]:
    path = folder / "rnncallbacks.toml"
    text = mutate_text(generator, as_toml(_some_tables(generator)))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path, "TOML: characters changed"


def _random_bytes(generator: np.random.Generator, folder: Path) -> tuple[Path, str]:
    path = folder / "rnncallbacks.toml"
    content = bytearray(as_toml(_some_tables(generator)).encode())
    for place in generator.integers(len(content), size=int(generator.integers(1, 5))):
        content[place] = int(generator.integers(256))
    path.write_bytes(content)
    return path, "TOML: bytes changed"


def _extreme(generator: np.random.Generator, folder: Path) -> tuple[Any, str]:
    size = int(10 ** generator.uniform(1, 5))
    key = str(generator.choice(["preset", "plugins.checkpoint.path", "train.epochs", "plugins.warmup.steps"]))
    texts: list[Callable[[], str]] = [
        lambda: f"{key} = {'[' * size}{']' * size}",
        lambda: f"{key} = {'{a=' * size}1{'}' * size}",
        lambda: f"{key} = {'9' * size}",
        lambda: f"{key} = 1e{size}",
        lambda: f'{key} = "{"x" * size}"',
        lambda: f'{key} = "\\u0000{size}"',
        lambda: "".join(f"[plugins.p{number}]\n" for number in range(size)),
        lambda: f"[{'a.' * size}a]",
        lambda: f"{'a.' * size}a = 1",
        lambda: "\n".join(f"k{number} = 1" for number in range(size)),
        lambda: "[plugins.warmup]\n" + "\n".join(f"k{number} = 1" for number in range(size)),
        lambda: "[train]\n" + "\n".join(f"k{number} = 1" for number in range(size)),
        lambda: "#" * size + "\n",
        lambda: "\n" * size + "=",
    ]
    number = int(generator.integers(len(texts)))
    path = folder / "rnncallbacks.toml"
    path.write_text(texts[number]())
    return path, f"extreme {number} of size {size} at {key}"


def _no_file(generator: np.random.Generator, folder: Path) -> tuple[Any, str]:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    link = folder / "loop"
    link.symlink_to(link)
    odd: list[Any] = [
        fifo,
        link,
        folder,
        folder / "missing",
        Path("/dev/zero"),
        Path("/dev/null"),
        "a\0b",
        "",
        "x" * 5000,
    ]
    source = odd[generator.integers(len(odd))]
    return source, f"no file: {str(source)[:40]!r}"


WAYS: list[tuple[float, Callable[[np.random.Generator, Path], tuple[Any, str]]]] = [
    (0.4, _edited_mapping),
    (0.3, _edited_file),
    (0.15, _random_bytes),
    (0.12, _extreme),
    (0.03, _no_file),
]
"""The ways of making a configuration, with the share of each."""


def configuration_trial(generator: np.random.Generator, folder: Path) -> Result:
    """One configuration, and a short run with it if it is accepted."""
    way = WAYS[generator.choice(len(WAYS), p=[share for share, _ in WAYS])][1]
    source, what = way(generator, folder)
    names = [str(ODD_VALUES[generator.integers(len(ODD_VALUES))])] if generator.random() < 0.05 else []
    started = time.process_time()
    try:
        configuration = read_configuration(source, disable=names)
        merge_settings({}, configuration.settings, configuration.where)
        plugins = configuration.make()
    except Exception as error:
        if time.process_time() - started > SLOW_SECONDS:
            return Result("slow", what, f"{time.process_time() - started:.1f} s")
        return Result("held" if is_ours(error) else "foreign traceback", what, traceback_of(error))
    if way is not _edited_mapping or not _writes_here(configuration):
        return Result("held", what)
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _train(plugins)
    except Exception as error:
        return Result("held" if is_ours(error) else "foreign traceback", f"{what}, then trained", traceback_of(error))
    finally:
        os.chdir("/")
    return Result("held", f"{what}, then trained")


def _writes_here(configuration: Configuration) -> bool:
    """Whether no path leads out of the working directory."""
    paths = [str(table.options.get(key, "")) for table in configuration.enabled() for key in ("path", "directory")]
    return not any(path.startswith("/") or ".." in path for path in paths)


def _train(plugins: dict[str, object]) -> None:
    params = {"w": np.ones((2, 2))}
    with Run(params, plugins=plugins, learning_rate=0.1) as run:
        for _ in run.epochs(2):
            for phase in ("train", "val"):
                for target in run.batches([0.5, 0.6, 0.7], phase=phase):
                    loss = float(((params["w"] - target) ** 2).mean())
                    if phase == "val":
                        run.record(loss)
                        continue
                    grads = run.backward(loss, {"w": (params["w"] - target) / 2})
                    if not run.skipped:
                        params["w"] -= run.learning_rate * grads["w"]
