"""Output: checkpoints by epoch, by step and by minute, from which a run resumes."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.checkpoint_file import check_savable, checkpoint_bytes, checkpoint_place, load_checkpoint
from rnncallbacks.core.checkpoint_names import NUMBERING, CheckpointNames
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.kept_checkpoints import KeptCheckpoint, kept
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.unsaved_attributes import UnsavedAttributes
from rnncallbacks.errors import OptionError
from rnncallbacks.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Generator

    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

_OPTIONAL_COUNT: options.Validator = attrs.validators.optional(options.count())
FILE = "checkpoint.safetensors"
COPY_SHARE = 0.01
"""Largest share of the run's time that ``on_exception`` takes for copies of the run in memory. Chosen by eye."""


@attrs.define(eq=False)
class Checkpoint:
    """Saves parameters, optimizer state, history, alarms and the state of each plugin, so that a run resumes exactly.

    A save within an epoch has the position in it: the resumed run continues after the last batch. A run that is
    stopped, or reaches its last epoch, is saved in any case.

    Several of these plugins can save one run, for example one every few minutes and one that keeps the best. The run
    resumes from the newest of their files.

    Options
    -------
    path:
        Path of the file, which each save replaces. The file name may have the fields ``{epoch}``, ``{step}`` and
        columns of the history, such as ``run-{epoch:03d}-{val_loss:.3f}.safetensors``: each save then makes a file, and
        a text file, here ``run-last.txt``, has the name of the newest. In a save within an epoch, columns are those
        of the epoch before. The directory is created if it does not exist. None: ``checkpoint.safetensors`` in the
        run's directory, or in the working directory if the run has none.
    every_epochs:
        Number of epochs from one save to the next, 1 or more. None: 1, unless ``every_steps`` or ``every_minutes`` is
        given.
    every:
        Short for ``every_epochs``.
    every_steps:
        Number of training batches from one save to the next, 1 or more.
    every_minutes:
        Minutes from one save to the next, above 0. The run is saved after the batch in which they have passed.
    keep_last:
        How many of the last files are kept, 1 or more; older ones are removed. None: all. Any other number than 1 needs
        ``{epoch}`` or ``{step}`` in ``path``.
    monitor:
        A column of the history. The files of the epochs with its best values are kept as well, which needs ``{epoch}``
        or ``{step}`` in ``path``. None: no column.
    mode:
        "min" if lower values are better, as for a loss; "max" if higher ones are.
    keep_best:
        How many files are kept by ``monitor``, 1 or more.
    on_exception:
        Whether a run that an exception or Ctrl-C ends is saved as it was after a batch shortly before. For that, the
        content of a file is kept in memory and renewed so often that it takes 1% of the time.
    resume:
        Whether the run resumes from the newest file if there is one. With False, the run starts from the beginning and
        replaces the file.
    fsync:
        Whether each save is flushed to the disk before the run continues, so that it survives a power failure.

    Raises
    ------
    CheckpointError
        The file belongs to another model, is damaged, or cannot be read; or the run has no parameters, or some that a
        checkpoint cannot hold.
    OptionError
        The directory cannot be created, two plugins of the run save the same files, or ``path`` has too few fields.
    FileInUseError
        Another run writes the file.

    Example
    -------
    >>> Checkpoint(path="runs/first/run-{step}.safetensors", every_steps=500, keep_last=3).every_steps
    500
    """

    first_rank_only: ClassVar[bool] = True

    path: Path | None = attrs.field(
        default=None, converter=options.as_path, validator=attrs.validators.optional(options.path)
    )
    every_epochs: int | None = attrs.field(kw_only=True, default=None, validator=_OPTIONAL_COUNT)
    every: int | None = attrs.field(kw_only=True, default=None, validator=_OPTIONAL_COUNT)
    every_steps: int | None = attrs.field(kw_only=True, default=None, validator=_OPTIONAL_COUNT)
    every_minutes: float | None = attrs.field(
        kw_only=True, default=None, validator=attrs.validators.optional(options.number(above=0))
    )
    keep_last: int | None = attrs.field(kw_only=True, default=1, validator=_OPTIONAL_COUNT)
    monitor: str | None = attrs.field(kw_only=True, default=None, validator=attrs.validators.optional(options.column))
    mode: Literal["min", "max"] = attrs.field(kw_only=True, default="min", validator=options.one_of("min", "max"))
    keep_best: int = attrs.field(kw_only=True, default=1, validator=options.count())
    on_exception: bool = attrs.field(kw_only=True, default=True, validator=options.flag)
    resume: bool = attrs.field(kw_only=True, default=True, validator=options.flag)
    fsync: bool = attrs.field(kw_only=True, default=True, validator=options.flag)
    _folder: Path = state_field(Path(), saved=False)
    _kept: list[tuple[str, float | None]] = state_field(factory=list)
    _saved_at: float = state_field(0.0, saved=False)
    _copy: tuple[Path, bytes, list[tuple[str, float | None]]] | None = state_field(None, saved=False)
    _copied_at: float = state_field(0.0, saved=False)
    _copy_seconds: float = state_field(0.0, saved=False)
    _others: UnsavedAttributes = state_field(factory=UnsavedAttributes, saved=False)

    def __attrs_post_init__(self) -> None:
        path = self._names.template
        numbered = self._names.fields.intersection(NUMBERING)
        if (self.keep_last != 1 or self.monitor is not None) and not numbered:
            raise OptionError(
                f"Checkpoint: path: expected {{epoch}} or {{step}} in the name, to keep several files, got {path}",
                hint=f"for example {path.stem}-{{epoch}}-{{step}}{path.suffix}",
            )

    @hookimpl(ahead=True)
    def on_fit_start(self, run: Run) -> None:
        check_savable(run)
        instances = [plugin for plugin in run.plugins.values() if isinstance(plugin, Checkpoint)]
        for one in instances:
            one._folder = run.directory or Path()
        if sum(one._names.pointer == self._names.pointer for one in instances) > 1:
            raise OptionError(
                f"Checkpoint: path: two of these plugins write {self._names.pointer}",
                hint="give each its own path",
            )
        for one in instances:
            run.own_file(one._names.pointer)
            one._names.remove_leftovers()
        if self.resume and run.epoch == 0:
            _resume(run, [one for one in instances if one.resume])
        self._saved_at = self._copied_at = monotonic()
        self._others.begin(run.plugins)

    # Wrappers, because the checkpoint must contain what the other plugins do at the end of the batch or epoch. An epoch
    # that was cut is saved without its columns, so ahead of them.
    @hookimpl(wrapper=True)
    def on_batch_end(self, run: Run, batch: Batch) -> Generator[None, object, object]:
        result = yield
        # A batch inside of another ends where a resumed run cannot begin. A run that stops is saved with its epoch.
        if batch is run.outermost_batch and run.stop_reason is None:
            if (batch.phase == "train" and _divides(self.every_steps, run.step)) or self._is_late():
                self._save(run, None)
            else:
                self._copy_run(run, None)
        return result

    @hookimpl(wrapper=True, ahead=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> Generator[None, object, object]:
        if run.epoch_was_cut:  # before the other plugins take the epoch for a whole one
            if run.resumes_exactly:
                self._save(run, None)
            else:
                self._save_copy()
            return (yield)
        result = yield
        ends = run.stop_reason is not None or run.epoch == run.max_epochs
        if ends or _divides(self._epochs, run.epoch) or self._is_late():
            self._save(run, summary)
        else:
            self._copy_run(run, summary)
        return result

    @hookimpl(specname="on_exception")
    def save_on_exception(self) -> None:
        """Write the copy of the run that is in memory, unless a file is as new."""
        self._save_copy()

    def _save_copy(self) -> None:
        if self._copy is not None:
            path, content, self._kept = self._copy
            self._write(path, content)

    @hookimpl
    def on_fit_end(self) -> None:
        self._copy = None

    @property
    def _names(self) -> CheckpointNames:
        return CheckpointNames(self._folder / FILE if self.path is None else self.path)

    @property
    def _epochs(self) -> int | None:
        given = self.every_epochs or self.every
        return 1 if given is None and self.every_steps is None and self.every_minutes is None else given

    def _is_due(self, run: Run, place: tuple[int, bool, int]) -> bool:
        """Whether the end of a batch or epoch is one that is saved, whatever the time."""
        epoch, done, _ = place
        if done:
            return epoch == run.max_epochs or _divides(self._epochs, epoch)
        return _divides(self.every_steps, run.step)

    def _is_late(self) -> bool:
        return self.every_minutes is not None and monotonic() - self._saved_at >= 60 * self.every_minutes

    def _save(self, run: Run, summary: EpochSummary | None) -> None:
        self._others.check(run.plugins)
        path, self._kept = self._next_file(run, summary)
        self._write(path, checkpoint_bytes(run, summary))

    def _copy_run(self, run: Run, summary: EpochSummary | None) -> None:
        """Renew the copy in memory, if the last one is old enough."""
        began = monotonic()
        if not self.on_exception or COPY_SHARE * (began - self._copied_at) < self._copy_seconds:
            return
        before = self._kept
        path, self._kept = self._next_file(run, summary)  # as the file is to have it
        try:
            self._copy = path, checkpoint_bytes(run, summary), self._kept
        finally:
            self._kept = before
        self._copied_at = monotonic()
        self._copy_seconds = self._copied_at - began

    def _next_file(self, run: Run, summary: EpochSummary | None) -> tuple[Path, list[tuple[str, float | None]]]:
        """The path of the next file, and the files that are there once it is written."""
        row: dict[str, Any] = summary.row if summary is not None else run.history[-1] if len(run.history) else {}
        path = self._names.path_for(row | {"epoch": run.epoch, "step": run.step})
        is_whole = summary is not None or len(run.history) == run.epoch  # a row that is not of the epoch before
        value = row.get(self.monitor) if is_whole and self.monitor is not None else None
        record = (path.name, float(value) if isinstance(value, float | int) else None)
        return path, [*(one for one in self._kept if one[0] != path.name), record]

    def _write(self, path: Path, content: bytes) -> None:
        write_atomically(path, content, fsync=self.fsync)
        self._names.point_to(path, fsync=self.fsync)
        stay = kept(
            [KeptCheckpoint(*one) for one in self._kept],
            last=self.keep_last,
            best=0 if self.monitor is None else self.keep_best,
            lower_is_better=self.mode == "min",
        )
        names = {one.name for one in stay}
        for name, _ in self._kept:
            if name not in names and self._names.owns(name):
                path.with_name(name).unlink(missing_ok=True)
        self._kept = [one for one in self._kept if one[0] in names]
        self._saved_at, self._copy = monotonic(), None


def _divides(every: int | None, number: int) -> bool:
    return every is not None and number % every == 0


def _resume(run: Run, instances: list[Checkpoint]) -> None:
    """Resume from the file in which the run is furthest; of those that are equally far, from that of the first plugin.

    The process may have ended after one plugin saved its file and before the others did: they do it now.
    """
    files = [(one, path) for one in instances if (path := one._names.newest()) is not None]
    if len(instances) == 1 or not files:
        for _, path in files:
            load_checkpoint(run, path)
        return
    places = {one: checkpoint_place(path) for one, path in files}
    furthest, path = max(files, key=lambda file: places[file[0]])
    load_checkpoint(run, path)
    behind = [one for one in instances if places.get(one, (0, False, 0)) < places[furthest]]
    for one in behind:
        if one._is_due(run, places[furthest]):
            one._save(run, None)
