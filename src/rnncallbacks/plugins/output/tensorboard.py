"""Output: curves, histograms, alarms and settings for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import attrs

from rnncallbacks import options
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.bases.optional_packages import import_extra
from rnncallbacks.bases.run_logger import RunLogger
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.files import make_directory
from rnncallbacks.reporting.event_file import EventFile

if TYPE_CHECKING:
    from rnncallbacks.alarms.alarm import Alarm
    from rnncallbacks.arrays.containers import Array
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

_OPTIONAL_COUNT: options.Validator = attrs.validators.optional(options.count())


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Tensorboard(RunLogger):
    """Logs the run to TensorBoard: ``tensorboard --logdir runs`` shows all runs in the folders below ``runs``.

    - Scalars: ``batch/loss``, ``batch/gradient_norm`` (before clipping), ``batch/learning_rate`` and ``batch/`` with
      the names of ``run.log_batch``; ``epoch/`` with each numeric column of the history. Their step is the number of
      training batches.
    - Histograms: ``gradients/`` and ``parameters/`` with the name of each array.
    - Texts: each alarm as ``alarms/`` with its code, and the ``diagnosis`` and ``outcome`` of the run.
    - Hyperparameters: ``run.facts``.

    A run that resumes from a checkpoint continues in a second file. TensorBoard then drops the values that the earlier
    process wrote after the checkpoint. If two runs use one directory, it shows the later one. After an error, such as a
    full disk, the logging ends with a warning, and the run continues.

    It takes about 40 microseconds per logged batch, and 4 milliseconds for a batch with histograms of 17,000
    parameters.

    It needs the extra ``tensorboard``, which it imports when the run begins. TensorFlow and PyTorch are not needed.

    Options
    -------
    directory:
        The directory of the file. It is created if it does not exist. None: the run's directory.
    every_steps:
        Log the scalars of every n-th training batch, n = 1 or more.
    histogram_every:
        Log the histograms of every n-th training batch, n = 1 or more. None: no histograms.
    flush_seconds:
        Time between two writes, in seconds, 0 or more. Values are written with the first batch after it.

    Raises
    ------
    PluginError
        The package tensorboard is not installed.
    RunStateError
        Neither the plugin nor the run has a directory.

    Example
    -------
    >>> Tensorboard(directory="runs/first", histogram_every=100).every_steps
    1
    """

    directory: Path | None = attrs.field(
        default=None, converter=options.as_path, validator=attrs.validators.optional(options.path)
    )
    histogram_every: int | None = attrs.field(kw_only=True, default=500, validator=_OPTIONAL_COUNT)
    flush_seconds: float = attrs.field(kw_only=True, default=10.0, validator=options.number(at_least=0))
    _file: EventFile | None = state_field(None, saved=False)
    _flushed_at: float = state_field(0.0, saved=False)

    def open(self, run: Run) -> None:
        import_extra("tensorboard", "the plugin tensorboard", "tensorboard")
        directory = self.directory or run.directory_for("tensorboard")
        make_directory(directory)
        self._file = EventFile(directory, purge_from=run.step + 1 if run.resumed else 0)
        self._file.add_hyperparameters(run.facts)
        self._flush()

    def write(self, run: Run, values: Mapping[str, float]) -> None:
        assert self._file is not None
        self._file.add_scalars(values, run.step)
        if monotonic() - self._flushed_at >= self.flush_seconds:
            self._flush()

    def write_alarm(self, run: Run, alarm: Alarm) -> None:
        assert self._file is not None
        self._file.add_text(f"alarms/{alarm.code}", str(alarm), run.step)
        self._flush()

    def close(self, run: Run) -> None:
        assert self._file is not None
        assert run.outcome is not None
        self._file.add_text("diagnosis", str(run.diagnosis), run.step)
        self._file.add_text("outcome", str(run.outcome), run.step)
        if run.outcome.ending in ("finished", "stopped"):  # a failed run may be resumed
            self._file.end_session()
        self._file.flush()

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    @hookimpl(specname="on_backward", tryfirst=True)
    def write_gradients(self, run: Run, grads: Gradients) -> None:
        """Write the histograms of the gradients, as they are before clipping."""
        if self._draws(run):
            self._attempt(run, self._add_histograms, "gradients", grads)

    @hookimpl(specname="on_batch_end", trylast=True)
    def write_parameters(self, run: Run, batch: Batch) -> None:
        """Write the histograms of the parameters."""
        if batch.phase == "train" and run.params is not None and self._draws(run):
            self._attempt(run, self._add_histograms, "parameters", named_arrays(run.params, "params"))

    def _draws(self, run: Run) -> bool:
        return self._is_open and self.histogram_every is not None and (run.step - 1) % self.histogram_every == 0

    def _add_histograms(self, run: Run, kind: str, arrays: Mapping[str, Array]) -> None:
        assert self._file is not None
        for name, array in arrays.items():
            self._file.add_histogram(f"{kind}/{name}", array, run.step)

    def _flush(self) -> None:
        assert self._file is not None
        self._file.flush()
        self._flushed_at = monotonic()
