"""The decisions of a run on several ranks: rank 0 decides, and any rank may stop the run or skip a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.parallel.communicator import Communicator
from rnncallbacks.parallel.meeting import NO_NEWS, NOTHING, Meetings
from rnncallbacks.parallel.shared_state import state_to_share, take_state

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

logger = logging.getLogger("rnncallbacks")

PASSES_OF_A_RANK = 2**40
"""Distance between the pass counters of two ranks, which seed the dropout. No run has this many forward passes."""


class SharedDecisions:
    """Meets the other ranks and applies what was decided.

    Parameters
    ----------
    run:
        The run of this rank.
    communicator:
        The ranks.
    evaluate:
        Evaluates the closure of the open batch together with rank 0.
    collect:
        Sends the carried states of this rank's rows to rank 0.

    Attributes
    ----------
    gradients:
        The sum of the gradients of all ranks.
    place:
        Where this rank is in the run, for the next call of :meth:`agree`.
    follows_stop:
        Whether the run ends because another rank stopped at another place. Until the end of the epoch, the ranks do not
        meet.
    """

    def __init__(
        self,
        run: Run,
        communicator: Communicator,
        evaluate: Callable[[Batch | None], object],
        collect: Callable[[], object],
    ) -> None:
        self._run = run
        self._ranks = communicator
        self._evaluate = evaluate
        self._collect = collect
        self._is_first = communicator.rank == 0
        self._meetings = Meetings(communicator)
        self.gradients = self._meetings.gradients
        self._known_news = (0, 0)
        self._has_warned = False
        self.place = ""
        self.follows_stop = False

    def meet(
        self,
        place: str,
        digest: bytes = b"",
        *,
        arrays: Sequence[Array] = (),
        factor: float = 0.0,
        waits: bool = False,
        numbers: Mapping[str, float] = NOTHING,
    ) -> dict[str, float]:
        """Meet the other ranks. If one has stopped at another place, this rank stops too; with ``waits``, it waits.

        ``arrays`` are gradients to add up, multiplied by ``factor``.

        Raises
        ------
        RankError
            The ranks are not together, and none has stopped.
        """
        run = self._run
        if run.stop_reason is not None:
            numbers = {**numbers, "stopped": 1.0}
        sums = self._meetings.meet(place, digest, arrays, factor, numbers)
        if sums["together"]:
            return sums
        if not sums["stopped"]:
            raise self._meetings.refuse(place)
        self._adopt_stop()
        self.follows_stop = not waits
        return sums

    def expect_gradients(self) -> None:
        """Have the next meeting add up gradients, unless this rank follows a stop."""
        if not self.follows_stop:
            self._meetings.expect_gradients()

    def agree(self, batch: Batch | None, digest: bytes, gradients: Mapping[str, Array]) -> None:
        """Apply the decisions of rank 0, and a stop or a skipped batch of any rank.

        Until rank 0 arrives, the other ranks evaluate closures and send their carried states for it.
        """
        run = self._run
        while True:
            sums = self.meet(
                self.place,
                digest,
                numbers={
                    "news": self._is_first and self._news() != self._known_news,
                    "skipped": batch is not None and batch.skipped,
                },
            )
            if sums is NO_NEWS:
                return
            if not sums["together"]:
                if batch is not None and batch.phase == "train":
                    run.skip_batch()
                return
            if sums["evaluates"]:
                self._evaluate(batch)
            elif sums["collects"]:
                self._collect()
            else:
                break
        self._known_news = self._news()
        if sums["news"] or not sums["agree"]:
            self._warn_once(sums)
            self.share_state(gradients)
        if batch is not None and sums["skipped"] and not batch.skipped:
            run.skip_batch()
        if 0 < sums["stopped"] < self._ranks.ranks:
            self._adopt_stop()

    def _adopt_stop(self) -> None:
        """Stop this rank too, for the reason of the first rank that was stopped."""
        reasons = self._ranks.gather_objects(self._run.stop_reason)
        rank, reason = next((rank, one) for rank, one in enumerate(reasons) if one is not None)
        if self._run.stop_reason is None:
            self._run.stop(f"{reason} (rank {rank})" if rank else reason)

    def _news(self) -> tuple[int, int]:
        diagnosis = self._run.diagnosis
        return sum(alarm.count for alarm in diagnosis.alarms), len(diagnosis.repairs)

    def _warn_once(self, sums: Mapping[str, float]) -> None:
        if not sums["news"] and not self._has_warned and self._is_first:
            self._has_warned = True
            logger.warning(
                "data_parallel: %s: the ranks had different arrays, and continue with those of rank 0; "
                "draw the same random numbers on all ranks",
                self.place,
            )

    def share_state(self, gradients: Mapping[str, Array]) -> None:
        """Give the other ranks the arrays, the diagnosis and the states of plugins of rank 0."""
        state = self._ranks.broadcast_object(state_to_share(self._run, gradients) if self._is_first else None)
        if not self._is_first:
            take_state(self._run, gradients, state)
            self.separate_passes()
        self._known_news = self._news()

    def separate_passes(self) -> None:
        """Give each rank its own range of the pass counter, so that its rows have their own dropout."""
        passes = named_arrays(self._run.optimizer_state, "optimizer_state").get("passes")
        if passes is not None and passes.dtype.kind == "i" and passes.ndim == 0:
            passes[...] = passes % PASSES_OF_A_RANK + self._ranks.rank * PASSES_OF_A_RANK
