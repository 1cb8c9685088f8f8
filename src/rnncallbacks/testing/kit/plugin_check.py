"""One call that tries a plugin against what users, runs and other plugins do to it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator

from rnncallbacks.testing.kit import process_checks, resume_checks, run_checks, side_effect_checks
from rnncallbacks.testing.kit.trials import PluginProblem, Trial

CHECKS: tuple[Callable[[Trial], Iterator[PluginProblem]], ...] = (
    run_checks.check_streams,
    side_effect_checks.check_process,
    side_effect_checks.check_order,
    run_checks.check_ends,
    run_checks.check_runs,
    run_checks.check_registration,
    run_checks.check_pickle,
    run_checks.check_thread,
    resume_checks.check_resume,
    process_checks.check_files,
    process_checks.check_options,
    process_checks.check_cost,
    process_checks.check_memory,
    process_checks.check_imports,
)


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


def check_plugin(make: Callable[[], object], *, budget_us: float | None = 50.0, batches: int = 10_000) -> None:
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

    Raises
    ------
    PluginCheckError
        With one line for each problem: what happened, and what to change.

    Example
    -------
    >>> from rnncallbacks.plugins import LossAveraging
    >>> check_plugin(LossAveraging, budget_us=None, batches=100)
    """
    trial = Trial(make, budget_us, batches)
    # What a plugin writes into the working directory is no file of the author's.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.chdir(folder):
        problems = [problem for check in CHECKS for problem in check(trial)]
    if problems:
        raise PluginCheckError(problems)
