"""Output: checkpoints by epoch, by step and by minute, from which a run resumes."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import attrs

from rnncallbacks import options
from rnncallbacks.core.checkpoint_file import check_savable, load_checkpoint, save_checkpoint
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field

if TYPE_CHECKING:
    from collections.abc import Generator

    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, kw_only=True)
class Checkpoint:
    """Saves parameters, optimizer state, history, alarms and the state of each plugin, so that a run resumes exactly.

    Options
    -------
    path:
        Path of the file. Each save replaces it. Its directory is created if it does not exist.
    every_epochs:
        Number of epochs from one save to the next, 1 or more. None: 1, unless ``every_steps`` or ``every_minutes`` is
        given.
    every_steps:
        Number of training batches from one save to the next, 1 or more. A save within an epoch has the position in it.
    every_minutes:
        Minutes from one save to the next, above 0. The run is saved after the batch in which they have passed.
    resume:
        Whether the run resumes from the file if it exists. With False, the run starts from the beginning and replaces
        the file.
    fsync:
        Whether each save is flushed to the disk before the run continues, so that it survives a power failure.

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
    >>> Checkpoint(path="runs/first/checkpoint.safetensors", every_steps=500).every_steps
    500
    """

    path: Path = attrs.field(default=Path("checkpoint.safetensors"), converter=options.as_path, validator=options.path)
    every_epochs: int | None = attrs.field(default=None, validator=attrs.validators.optional(options.count()))
    every_steps: int | None = attrs.field(default=None, validator=attrs.validators.optional(options.count()))
    every_minutes: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(options.number(above=0))
    )
    resume: bool = attrs.field(default=True, validator=options.flag)
    fsync: bool = attrs.field(default=True, validator=options.flag)

    _saved_at: float = state_field(0.0, saved=False)

    @hookimpl(tryfirst=True)
    def on_fit_start(self, run: Run) -> None:
        check_savable(run)
        run.own_file(self.path)
        if self.resume and self.path.exists():
            load_checkpoint(run, self.path)
        self._saved_at = monotonic()

    # Wrappers, because the checkpoint must contain what the other plugins do at the end of the batch or epoch.
    @hookimpl(wrapper=True)
    def on_batch_end(self, run: Run, batch: Batch) -> Generator[None, object, object]:
        result = yield
        # A batch inside of another ends where a resumed run cannot begin. A run that stops is saved with its epoch.
        if batch is run.outermost_batch and run.stop_reason is None and (self._step_is_due(run, batch) or self._late()):
            self._save(run, None)
        return result

    @hookimpl(wrapper=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> Generator[None, object, object]:
        if run.epoch_was_cut:  # before the other plugins take the epoch for a whole one
            self._save(run, None)
        result = yield
        if not run.epoch_was_cut and (self._epoch_is_due(run) or self._late()):
            self._save(run, summary)
        return result

    def _step_is_due(self, run: Run, batch: Batch) -> bool:
        return self.every_steps is not None and batch.phase == "train" and run.step % self.every_steps == 0

    def _late(self) -> bool:
        return self.every_minutes is not None and monotonic() - self._saved_at >= 60 * self.every_minutes

    def _epoch_is_due(self, run: Run) -> bool:
        if run.stop_reason is not None or run.epoch == run.max_epochs:
            return True
        by_epoch = self.every_steps is None and self.every_minutes is None
        every = self.every_epochs or (1 if by_epoch else None)
        return every is not None and run.epoch % every == 0

    def _save(self, run: Run, summary: EpochSummary | None) -> None:
        save_checkpoint(run, summary, self.path, fsync=self.fsync)
        self._saved_at = monotonic()
