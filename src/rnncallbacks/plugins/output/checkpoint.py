"""Files: a checkpoint at the end of an epoch, and a run that goes on from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from rnncallbacks import options
from rnncallbacks.core.checkpoint_file import load_checkpoint, save_checkpoint
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.files import make_directory

if TYPE_CHECKING:
    from collections.abc import Generator

    from rnncallbacks.core.batch import EpochSummary
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, kw_only=True)
class Checkpoint:
    """Saves parameters, optimizer state, history, alarms and every plugin's state, so that a run resumes exactly.

    Options
    -------
    path:
        The file, replaced at each save. Its directory is made if it is not there.
    every:
        Epochs between two saves, 1 or more.
    resume:
        Whether a run begins where the file, if there is one, left off. False begins anew and replaces the file.

    Raises
    ------
    CheckpointError
        The file belongs to another model, or cannot be read.
    OptionError
        The directory cannot be made.

    Example
    -------
    >>> Checkpoint(path="runs/first/checkpoint.safetensors").every
    1
    """

    path: Path = attrs.field(default=Path("checkpoint.safetensors"), converter=options.as_path, validator=options.path)
    every: int = attrs.field(default=1, validator=options.count())
    resume: bool = attrs.field(default=True, validator=options.flag)

    @hookimpl(tryfirst=True)
    def on_fit_start(self, run: Run) -> None:
        if self.resume and self.path.exists():
            load_checkpoint(run, self.path)
        make_directory(self.path.parent)

    @hookimpl(wrapper=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> Generator[None, object, object]:
        # A wrapper goes on only when all other plugins are done with the epoch.
        result = yield
        if summary.epoch % self.every == 0:
            save_checkpoint(run, summary, self.path)
        return result
