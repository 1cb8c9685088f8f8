"""Remedy: a zero state enters every sequence, so that no sequence begins with what another one left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run


@attrs.define(eq=False, kw_only=True)
class HiddenStateReset:
    """Resets the run's hidden state.

    Options
    -------
    when:
        "sequence" resets the sequences that begin anew: those that the batch's ``starts`` marks, or all of them if the
        batch does not say. "batch" resets all at every batch, "epoch" all at the first batch of each phase.

    The run needs a state to reset: ``Run(..., hidden_size=)``, ``zeros=`` or ``reset=``.

    Example
    -------
    >>> HiddenStateReset(when="sequence")
    HiddenStateReset(when='sequence')
    """

    when: Literal["sequence", "batch", "epoch"] = attrs.field(
        default="sequence", validator=options.one_of("sequence", "batch", "epoch")
    )

    @hookimpl
    def on_batch_start(self, run: Run, batch: Batch) -> None:
        if self.when == "sequence":
            run.reset_hidden(batch.starts)
        elif self.when == "batch" or batch.index == 1:
            run.reset_hidden()
