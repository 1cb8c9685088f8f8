"""The part of a run that outlives it: its directory and files, the facts about it, and its outcome."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rnncallbacks.core.arguments import as_directory
from rnncallbacks.core.facts import Fact, Facts
from rnncallbacks.core.hookspecs import Hook
from rnncallbacks.core.owned_files import OwnedFiles
from rnncallbacks.core.plugin_frames import running_plugin
from rnncallbacks.core.run_outcome import SCRIPT, RunOutcome
from rnncallbacks.errors import RunStateError
from rnncallbacks.files import make_directory

if TYPE_CHECKING:
    from rnncallbacks.core.plugin_manager import Plugins


class RunRecord:
    """The directory, the facts and the outcome of a run.

    Attributes
    ----------
    directory:
        The folder of the run's files, which all plugins share, or None. It need not exist.
    facts:
        The settings of the run by name, see :class:`~rnncallbacks.core.facts.Facts`: the number of parameters, the base
        learning rate, the plugins and their options. ``Trainer`` adds the model, the optimizer and the batch size; a
        script adds its own with ``run.facts["batch_size"] = 32``.
    plugins:
        The plugins by name.
    """

    plugins: Plugins

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        facts: Mapping[str, object] | None,
        known_facts: Callable[[], dict[str, Fact]],
    ) -> None:
        self.directory = as_directory(directory)
        self.facts = Facts({} if facts is None else facts, known_facts)
        self._files = OwnedFiles()
        self._stop: RunOutcome | None = None
        self._outcome: RunOutcome | None = None

    @property
    def outcome(self) -> RunOutcome | None:
        """How the training ended, see :class:`~rnncallbacks.core.run_outcome.RunOutcome`; None before the end.

        It is available in ``on_exception`` and ``on_fit_end``.
        """
        return self._outcome

    @property
    def stop_reason(self) -> str | None:
        """The argument of ``run.stop``, or None if nothing stopped the run."""
        return None if self._stop is None else self._stop.reason

    def directory_for(self, plugin: str) -> Path:
        """``run.directory``, for a plugin that needs one. It is created if it does not exist.

        Raises
        ------
        RunStateError
            The run has no directory; the message names ``plugin``.
        OptionError
            The directory cannot be made.
        """
        if self.directory is None:
            raise RunStateError(
                f"{plugin} writes into the run's directory, but this run has none",
                hint='pass directory="runs/first" to Run or Trainer, or give the plugin a directory of its own',
            )
        make_directory(self.directory)
        return self.directory

    def own_file(self, path: Path) -> None:
        """Keep other runs from writing a file until this run ends or its process dies; make its directory.

        A plugin calls it in ``on_fit_start`` before it reads or writes the file, which need not exist.

        Raises
        ------
        OptionError
            The directory cannot be made.
        FileInUseError
            Another run owns the file; the message names its process.
        """
        self._files.own(path)

    def _record_stop(self, reason: str, code: str | None, by: str | None = None) -> None:
        """Record who stopped the run, by default the plugin in whose hook this is called."""
        implementations = (one for hook in get_args(Hook) for one in self.plugins.implementations(hook))
        by = by or running_plugin(implementations, sys._getframe()) or SCRIPT
        self._stop = RunOutcome(ending="stopped", reason=reason, by=by, code=code)

    def _record_outcome(self, error: BaseException | None) -> None:
        self._outcome = RunOutcome.of_error(error) if error is not None else self._stop or RunOutcome(ending="finished")
