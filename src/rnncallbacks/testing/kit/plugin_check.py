"""One call that tries a plugin against what users, runs and other plugins do to it."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping

from rnncallbacks.errors import OptionError, PluginError, closest
from rnncallbacks.testing.kit import process_checks, resume_checks, run_checks, side_effect_checks
from rnncallbacks.testing.kit.trials import PluginProblem, Trial

CHECKS: Mapping[str, Callable[[Trial], Iterator[PluginProblem]]] = {
    "streams": run_checks.check_streams,
    "process": side_effect_checks.check_process,
    "order": side_effect_checks.check_order,
    "ends": run_checks.check_ends,
    "runs": run_checks.check_runs,
    "registration": run_checks.check_registration,
    "pickling": run_checks.check_pickle,
    "threads": run_checks.check_thread,
    "resuming": resume_checks.check_resume,
    "files": process_checks.check_files,
    "options": process_checks.check_options,
    "cost": process_checks.check_cost,
    "memory": process_checks.check_memory,
    "imports": process_checks.check_imports,
}
"""The checks by the word with which their problems begin."""


class PluginCheckError(AssertionError):
    """A plugin failed checks; the message has one line for each problem.

    Attributes
    ----------
    problems:
        The problems.
    """

    def __init__(self, problems: list[PluginProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def check_plugin(
    make: Callable[[], object],
    *,
    budget_us: float | None = 50.0,
    batches: int = 10_000,
    only: Iterable[str] = tuple(CHECKS),
) -> None:
    """Try a plugin on streams of losses, early ends, resumed runs, threads, odd options, and its cost.

    The working directory is a temporary one meanwhile.

    Parameters
    ----------
    make:
        A function without arguments that makes the plugin with any options; it is called many times.
    budget_us:
        The time that the plugin may take for a batch, in microseconds; None for no limit.
    batches:
        The number of batches of the run whose memory is measured.
    only:
        The checks to make, by the word with which their lines begin, such as ``["resuming"]``; by default all.

    Raises
    ------
    OptionError
        There is no such check, or a number is out of range.
    PluginError
        ``make`` is no function, or does not make a new plugin in each call.
    PluginCheckError
        With one line for each problem: what happened, and what to change.

    Example
    -------
    >>> from rnncallbacks.plugins import LossAveraging
    >>> check_plugin(LossAveraging, budget_us=None, batches=100)
    """
    if isinstance(only, str):
        raise OptionError(f"check_plugin: only: expected a list of checks, got {only!r}", hint=f"write [{only!r}]")
    only = list(only)
    for name in only:
        if name not in CHECKS:
            hint = closest(name, CHECKS) or f"the checks are {', '.join(CHECKS)}"
            raise OptionError(f"check_plugin: only: there is no check {name!r}", hint=hint)
    check_makes_plugins(make)
    trial = Trial(make, budget_us, batches)
    # Files that a plugin writes into the working directory are not the author's.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.chdir(folder):
        # First: what a run changed for good, later runs find as it is.
        process = list(CHECKS["process"](trial)) if "process" in only else []
        problems = list(run_checks.check_ordinary_run(trial))
        if not problems:
            problems = process + [one for name in only if name != "process" for one in CHECKS[name](trial)]
    if problems:
        raise PluginCheckError(problems)


def check_makes_plugins(make: Callable[[], object]) -> None:
    """Refuse anything but a function that makes a new plugin in each call."""
    if not callable(make):
        hint = f"write check_plugin(lambda: {type(make).__name__}(...))"
        raise PluginError(f"check_plugin: expected a function that makes the plugin, got {make!r}", hint=hint)
    first = make()
    if first is None or inspect.isclass(first):
        hint = "return a plugin: check_plugin(lambda: Mine(every=5))"
        raise PluginError(f"check_plugin: expected {make!r} to make a plugin, got {first!r}", hint=hint)
    if first is make():
        hint = "make a new one in each call: check_plugin(lambda: Mine(every=5))"
        raise PluginError(f"check_plugin: {make!r} returned the same object twice", hint=hint)
