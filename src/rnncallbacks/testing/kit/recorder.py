"""A plugin that notes the hooks for which it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rnncallbacks.core.batch import Batch, EpochSummary
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run


class Recorder:
    """Notes each hook with the epoch, and with the phase and the index of the batch.

    Parameters
    ----------
    act_in, act:
        A hook, and a function of the run that is called in it.
    details:
        Whether to note what the hook was given, too: the loss and the names of gradients, the codes of alarms.

    Attributes
    ----------
    calls:
        A tuple for each call: the hook, the epoch, the phase and index of the batch if one is open, and the details.

    Example
    -------
    >>> from rnncallbacks.testing import play
    >>> recorder = Recorder()
    >>> run = play([recorder], losses=[1.0])
    >>> recorder.calls[2:4]
    [('on_batch_start', 1, 'train', 1), ('on_backward', 1, 'train', 1)]
    """

    def __init__(
        self, act_in: str | None = None, act: Callable[[Run], Any] = lambda run: None, *, details: bool = False
    ) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.act_in, self.act = act_in, act
        self.details = details

    def note(self, hook: str, run: Run, *details: object) -> None:
        """Add a call, and act if this is the hook."""
        batch = () if run.batch is None else (run.batch.phase, run.batch.index)
        self.calls.append((hook, run.epoch, *batch, *(details if self.details else ())))
        if hook == self.act_in:
            self.act(run)

    @property
    def hooks(self) -> list[str]:
        """The hooks, in the order of the calls."""
        return [call[0] for call in self.calls]

    def of(self, hook: str) -> list[tuple[Any, ...]]:
        """The calls of one hook, without its name."""
        return [call[1:] for call in self.calls if call[0] == hook]

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self.note("on_fit_start", run)

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        self.note("on_epoch_start", run)

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        assert batch is run.batch
        self.note("on_batch_start", run)

    @hookimpl
    def on_backward(self, run: Run, batch: Batch, grads: Any) -> None:
        assert batch is run.batch
        self.note("on_backward", run, batch.loss, list(grads))

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        assert batch is run.batch
        self.note("on_batch_end", run, batch.loss)

    @hookimpl
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        self.note("on_epoch_end", run, summary.batches)

    @hookimpl
    def on_alarm(self, run: Run, alarm: Any) -> None:
        self.note("on_alarm", run, alarm.code)

    @hookimpl
    def on_exception(self, run: Run, error: BaseException) -> None:
        self.note("on_exception", run, type(error))

    @hookimpl
    def on_fit_end(self, run: Run) -> None:
        self.note("on_fit_end", run)
