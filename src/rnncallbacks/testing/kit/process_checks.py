"""Checks of what a plugin does to its process: files, time, memory, imports, and the options that it accepts."""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import inspect
import math
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType

from rnncallbacks.config.plugin_options import make_plugin, options_of
from rnncallbacks.core.run import Run
from rnncallbacks.testing.kit.recorder import Recorder
from rnncallbacks.testing.kit.trials import PluginProblem, Trial

HEAVY = frozenset(
    [
        "jax",
        "keras",
        "matplotlib",
        "mlflow",
        "optuna",
        "pandas",
        "scipy",
        "sklearn",
        "tensorboard",
        "tensorflow",
        "torch",
        "transformers",
        "wandb",
    ]
)
"""Packages whose import takes a second or much memory."""
ODD_VALUES: tuple[object, ...] = (-1, 0, 1, 1e308, math.inf, math.nan, "text", "", True, [], {}, date(2026, 1, 1))
"""Values as a TOML file may give them for any option."""
TIMED_BATCHES = 300
"""Batches of a run whose time or memory is measured. Chosen by eye."""
ROUNDS = 5
"""Repetitions of a timed run, of which the fastest counts: other programs only make a run slower."""
BYTES_PER_BATCH = 24
"""Growth of memory, in bytes a batch, above which something is kept of each batch: a list keeps 32 of each float."""

BYTES_OF_EPOCHS = 20_000
"""Growth of memory, in bytes, that seven rows of the history and what is computed once may take. Chosen by eye."""


def check_files(trial: Trial) -> Iterator[PluginProblem]:
    """Files in the working directory, and files that are open at the end."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        before = _open_files()
        plugin = trial.make()  # kept, because a file is closed with the object that holds it
        trial.play(plugin=plugin)
        if left := sorted(os.listdir(folder)):
            advice = "write into a folder that an option names"
            yield PluginProblem("files", f"it wrote {left[0]!r} into the working directory", advice)
        if opened := sorted(_open_files() - before):
            yield PluginProblem("files", f"{opened[0][1]} is open after the run", "close files in on_fit_end")


def check_options(trial: Trial) -> Iterator[PluginProblem]:
    """Unusual options, as a configuration may give them: refused when the plugin is made, or working in a run."""
    plugin = trial.make()
    kind = type(plugin)
    try:
        options = options_of(kind)
    except (TypeError, ValueError):
        return
    required = {name: getattr(plugin, name, None) for name, option in options.items() if option.required}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in options:
            for value in ODD_VALUES:
                made, problems = make_plugin(kind, required | {name: value})
                if problems or made is None:
                    continue
                if fault := trial.play(plugin=made, epochs=1).fault:
                    advice = "give the option a type and a validator"
                    yield PluginProblem("options", f"it accepts {name} = {value!r} and then raised {fault}", advice)
                    return


def check_cost(trial: Trial) -> Iterator[PluginProblem]:
    """The time that a batch takes with the plugin, less that without it."""
    if trial.budget_us is None:
        return
    arguments = {"losses": [1.0] * TIMED_BATCHES, "epochs": 1, "validation": None}
    fastest = [math.inf, math.inf]
    for _ in range(ROUNDS):
        for place, plugin in enumerate((Recorder(), trial.make())):
            start = time.perf_counter()
            trial.play(plugin=plugin, **arguments)
            fastest[place] = min(fastest[place], time.perf_counter() - start)
    cost = 1e6 * (fastest[1] - fastest[0]) / TIMED_BATCHES
    if cost > trial.budget_us:
        message = (
            f"a batch takes {cost:.0f} us more than with a plugin that notes its hooks, {trial.budget_us:g} are allowed"
        )
        yield PluginProblem("cost", message, "do less in on_batch_start, on_backward and on_batch_end")


def check_memory(trial: Trial) -> Iterator[PluginProblem]:
    """The memory that is kept of each batch of a long run."""
    epochs = 10
    count = max(trial.batches // epochs, 1)
    sizes = {}

    def act(run: Run) -> None:
        if run.step in (2 * count, 9 * count):
            gc.collect(1)  # what the last batches left; a whole collection takes long in a large process
            sizes[run.step] = tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        trial.play(losses=[1.0] * count, epochs=epochs, validation=None, act=act)
    finally:
        tracemalloc.stop()
    if len(sizes) == 2:
        growth = sizes[9 * count] - sizes[2 * count]
        if growth > BYTES_OF_EPOCHS + BYTES_PER_BATCH * 7 * count:
            message = f"memory grows by {growth / (7 * count):.0f} bytes a batch over {7 * count} batches"
            yield PluginProblem("memory", message, "keep a bounded number of values, or a running mean")


def check_imports(trial: Trial) -> Iterator[PluginProblem]:
    """Heavy packages that are imported with the plugin's module, before a plugin is made."""
    module = inspect.getmodule(type(trial.make()))
    for name, line in _imported_by(module, set()):
        if name.partition(".")[0] in HEAVY:
            advice = "import it in on_fit_start, or in the method that needs it"
            yield PluginProblem("imports", f"{line} imports {name}", advice)
            return


def _open_files() -> set[tuple[str, str]]:
    """Descriptors and paths of the regular files that are open; empty where the system does not tell."""
    found = set()
    folder = Path("/dev/fd")
    for entry in folder.iterdir() if folder.exists() else ():
        with contextlib.suppress(OSError):
            path = os.readlink(entry)
            if os.path.isfile(path):
                found.add((entry.name, path))
    return found


def _imported_by(module: ModuleType | None, seen: set[str]) -> Iterator[tuple[str, str]]:
    """The modules that a module imports when it is imported, with file and line, and those of its own package's."""
    if module is None or module.__name__ in seen or not getattr(module, "__file__", None):
        return
    seen.add(module.__name__)
    for name, line in _imports_at_the_top(module):
        yield name, f"{Path(str(module.__file__)).name}, line {line},"
        if name.partition(".")[0] == module.__name__.partition(".")[0]:
            yield from _imported_by(sys.modules.get(name), seen)


@functools.cache
def _imports_at_the_top(module: ModuleType) -> list[tuple[str, int]]:
    """Name and line of each import that is neither in a function nor under TYPE_CHECKING."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return []
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    found: list[tuple[str, int]] = []
    statements = list(tree.body)
    for node in statements:  # it grows: a try, an if or a class is run when the module is
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            name = ".".join(part for part in (above, node.module) if part)
            found += [(name, node.lineno), *((f"{name}.{alias.name}", node.lineno) for alias in node.names)]
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            blocks = (getattr(node, block, []) for block in ("body", "handlers", "orelse", "finalbody"))
            statements += [one for block in blocks for one in block] * (not _is_function(node))
    return found


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
