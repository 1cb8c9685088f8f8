"""Output: a checkpoint at the end of an epoch, from which a run resumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from rnncallbacks import options
from rnncallbacks.core.checkpoint_file import check_savable, load_checkpoint, save_checkpoint
from rnncallbacks.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, kw_only=True)
class Checkpoint:
    """Saves parameters, optimizer state, history, alarms and the state of each plugin, so that a run resumes exactly.

    Options
    -------
    path:
        Path of the file. Each save replaces it. Its directory is created if it does not exist.
    every:
        Number of epochs from one save to the next, 1 or more.
    resume:
        Whether the run resumes from the file if it exists. With False, the run starts from the beginning and replaces
        the file.
    fsync:
        Whether each save is flushed to the disk before the run goes on, so that it outlives a power failure.

    Raises
    ------
    CheckpointError
        The file belongs to another model, is damaged, or cannot be read; or the run has no parameters, or some that a
        checkpoint cannot hold.
    OptionError
        The directory cannot be created.
    FileInUseError
        Another run writes the file.

    Example
    -------
    >>> Checkpoint(path="runs/first/checkpoint.safetensors").every
    1
    """

    path: Path = attrs.field(default=Path("checkpoint.safetensors"), converter=options.as_path, validator=options.path)
    every: int = attrs.field(default=1, validator=options.count())
    resume: bool = attrs.field(default=True, validator=options.flag)
    fsync: bool = attrs.field(default=True, validator=options.flag)

    @hookimpl(tryfirst=True)
    def on_fit_start(self, run: Run) -> None:
        check_savable(run)
        run.own_file(self.path)
        if self.resume and self.path.exists():
            load_checkpoint(run, self.path)

    @hookimpl(wrapper=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> Generator[None, object, object]:
        # A wrapper, because the checkpoint must contain what the other plugins do at the end of the epoch.
        result = yield
        if summary.epoch % self.every == 0:
            save_checkpoint(run, summary, self.path, fsync=self.fsync)
        return result
