"""Remedy: every sequence enters with a zero state, so that no state leaks from one sequence into another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.define(eq=False)
class HiddenStateReset:
    """Resets the run's hidden state to zeros.

    The run needs a state to reset: ``Run(..., hidden_size=)``, ``zeros=`` or ``reset=``.

    Options
    -------
    when:
        "sequence" resets the sequences that begin in a batch: those that the batch's ``starts`` marks, of shape
        (batch,), or all of them if the batch has no ``starts``. "batch" resets all sequences at every batch, "epoch"
        at the first batch of each phase.

    Example
    -------
    >>> HiddenStateReset(when="sequence")
    HiddenStateReset(when='sequence')
    """

    when: Literal["sequence", "batch", "epoch"] = attrs.field(
        default="sequence", validator=options.one_of("sequence", "batch", "epoch")
    )

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        run.require_hidden_state()

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        if self.when == "sequence":
            run.reset_hidden(batch.starts)
        elif self.when == "batch" or batch.index == 1:
            run.reset_hidden()
