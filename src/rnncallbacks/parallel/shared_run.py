"""One run on several ranks: what the ranks exchange in each batch and epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.fingerprints import fingerprint
from rnncallbacks.errors import DataError, RankError
from rnncallbacks.parallel.collective_closure import ClosureEvaluation, CollectiveClosure, whole_arrays
from rnncallbacks.parallel.communicator import Communicator
from rnncallbacks.parallel.meeting import sampled
from rnncallbacks.parallel.row_shares import divide, known_share
from rnncallbacks.parallel.shared_decisions import SharedDecisions
from rnncallbacks.parallel.shared_hidden import SharedHidden
from rnncallbacks.parallel.shared_state import resume_like, resumed_run

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

_WORDS_OF_SHAPES = ("shape", "dimension", "out of bounds")
"""Words of NumPy's errors for arrays that do not fit each other."""


@attrs.define(eq=False)
class BatchShare:
    """What a rank knows of its part of a batch.

    Attributes
    ----------
    rows:
        The number of its rows, or None if the ranks have loaders of their own.
    weight:
        Its part of the weight of the whole batch, from 0 to 1.
    closure:
        The closure of its rows.
    whole:
        The number of rows of the whole batch.
    sample:
        Some entries of the whole batch.
    where:
        The epoch and the batch, in words.
    """

    rows: int | None = None
    weight: float = 1.0
    closure: Any = None
    whole: int = 0
    sample: bytes = b""
    where: str = ""


class SharedRun:
    """A run that this process shares with other ranks.

    Parameters
    ----------
    run:
        The run of this rank.
    communicator:
        The ranks.
    divides:
        Whether to divide the batches of loaders among the ranks.
    axis:
        The axis of the sequences in the arrays of a batch.
    """

    def __init__(self, run: Run, communicator: Communicator, *, divides: bool, axis: int | tuple[int, ...]) -> None:
        self._run = run
        self._ranks = communicator
        self._is_first = communicator.rank == 0
        self._hidden = SharedHidden(run.hidden_states, communicator)
        self._decisions = SharedDecisions(run, communicator, self._evaluate_for_first, self._hidden.collect)
        self._closures = ClosureEvaluation(run, communicator)
        self._divides = divides
        self._axis = axis
        self._shares: dict[Batch, BatchShare] = {}
        self._scale, self._whole_weight = 1.0, 0.0
        self._epoch_began, self._waited_before, self._reduced = perf_counter(), communicator.waited, 0.0

    # Start and end --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Give the other ranks the parameters of rank 0, or the checkpoint from which it has resumed.

        Rank 0 calls this after the other plugins, the other ranks before them.
        """
        content = self._ranks.broadcast_object(resumed_run(self._run))
        if content is not None and not self._is_first:
            resume_like(self._run, content)
        if content is None:
            self._decisions.share_state({})
        self._decisions.separate_passes()
        self._hidden.start(resumed=content is not None)

    def open_run(self) -> None:
        """Decide with the other ranks whether the run is stopped before its first epoch."""
        self._decisions.place = "begins its run"
        self._decisions.agree(None, b"", {})

    def end(self) -> None:
        """Give the other ranks history, diagnosis and parameters of rank 0."""
        run = self._run
        if not self._decisions.meet("ends its run")["together"]:
            return
        rows = self._ranks.broadcast_object(list(run.history) if self._is_first else None)
        if not self._is_first:
            run.history.restore(rows)
        self._decisions.share_state({})
        self._decisions.meet("has ended its run")  # none ends before all have the state

    # A batch --------------------------------------------------------------------------------------------------------

    def open_batch(self, batch: Batch) -> None:
        """Take this rank's rows of the batch."""
        share = known_share(batch.data)
        if share is None and self._divides:
            share = divide(batch.data, self._ranks.rank, self._ranks.ranks, self._axis)
            batch.data = share.data
            starts = getattr(share.data, "starts", None)
            batch.starts = None if starts is None else np.asarray(starts)
        self._shares[batch] = (
            BatchShare() if share is None else BatchShare(share.rows, whole=share.whole, sample=share.sample)
        )
        self._shares[batch].where = self._run.where()

    def reduce(self, batch: Batch, grads: Gradients) -> None:
        """Replace the loss, counts, closure and gradients of the batch by those of all ranks."""
        began = perf_counter()
        share, arrays = self._shares[batch], grads.arrays
        place = f"calls run.backward with {self._decisions.gradients.describe(arrays)}, {share.where}"
        if not self._join_loss(batch, place, arrays):
            return
        if batch.skipped or not self._whole_weight:
            for array in arrays:
                array[...] = 0.0
        else:
            self._decisions.gradients.write(arrays, 1.0 / (self._scale * self._whole_weight))
            self._scale = 2.0 ** -math.frexp(self._whole_weight)[1]
        grads.forget_norm()
        share.closure = batch.closure
        if self._is_first:
            batch.closure = None if batch.closure is None else CollectiveClosure(self._evaluate_on_all)
        else:
            batch.closure, batch.no_closure = None, "closures are evaluated on rank 0"
        self._decisions.place = f"is after run.backward, {share.where}"
        self._reduced += perf_counter() - began

    def close_backward(self, batch: Batch, grads: Gradients) -> None:
        """Decide with the other ranks whether the batch is skipped and the run stopped, after all other plugins."""
        if self._decisions.follows_stop:
            return
        self._decisions.agree(batch, sampled(grads.arrays), grads)

    def join_batch(self, batch: Batch) -> None:
        """Replace loss and counts by those of all ranks, before the other plugins see the batch end."""
        if self._decisions.follows_stop:
            return
        where = self._shares[batch].where
        place = f"ends a batch, {where}, with {len(batch.sums)} sums"
        if batch.phase != "train":
            self._join_loss(batch, place)
        elif batch.sums:
            self._decisions.meet(place)
        if self._decisions.follows_stop:
            return
        if batch.sums:
            self._add_up(batch.sums, counted=self._shares[batch].rows != 0)
        self._hidden.end_batch(batch.phase, self._shares[batch].rows)
        self._decisions.place = f"has ended a batch, {where}"
        self._hidden.show_all_rows(self._request_states)

    def close_batch(self, batch: Batch) -> None:
        """Decide with the other ranks whether the run is stopped, after all other plugins."""
        if not self._decisions.follows_stop:
            self._decisions.agree(batch, sampled(whole_arrays(self._run.params)), {})
        share = self._shares.pop(batch)
        batch.closure = share.closure
        if batch.phase == "train":
            self._decisions.expect_gradients()

    def explain(self, error: BaseException) -> None:
        """Add a note to an error of the script that may come from a batch size other than that of this rank."""
        batch = self._run.batch
        share = None if batch is None else self._shares.get(batch)
        is_of_shapes = not isinstance(error, DataError) and any(words in str(error) for words in _WORDS_OF_SHAPES)
        if is_of_shapes and share is not None and share.rows not in (None, share.whole):
            error.add_note(
                f"{self._ranks.ranks} ranks divide the batch, and this one has {share.rows} of its {share.whole} rows: "
                "read the batch size from the arrays of the batch"
            )

    # An epoch -------------------------------------------------------------------------------------------------------

    def open_epoch(self) -> None:
        """Decide with the other ranks whether the run is stopped before its first batch."""
        self._decisions.place = f"begins epoch {self._run.epoch}"
        self._epoch_began, self._waited_before, self._reduced = perf_counter(), self._ranks.waited, 0.0
        self._decisions.agree(None, b"", {})
        self._decisions.expect_gradients()

    def join_epoch(self) -> None:
        """Wait for the other ranks at the end of the epoch, and log the columns of ``data_parallel``."""
        run = self._run
        self._decisions.follows_stop = False
        while not self._decisions.meet(f"ends epoch {run.epoch}", waits=True)["together"]:
            pass
        seconds = np.zeros(self._ranks.ranks + 1)
        elapsed = perf_counter() - self._epoch_began
        seconds[self._ranks.rank] = max(elapsed - (self._ranks.waited - self._waited_before), 0.0)
        seconds[-1] = self._reduced / self._ranks.ranks
        self._ranks.sum(seconds)
        busy = seconds[:-1]
        imbalance = float(busy.max() / busy.mean() - 1.0) if busy.mean() else 0.0
        run.log(ranks=self._ranks.ranks, reduction_seconds=float(seconds[-1]), imbalance=imbalance)
        self._decisions.place = f"has ended epoch {run.epoch}"
        self._hidden.show_all_rows(self._request_states)

    def close_epoch(self) -> None:
        """Decide with the other ranks whether the run is stopped, and compare the parameters."""
        self._decisions.agree(None, fingerprint(self._run.params), {})

    def show_own_rows(self) -> None:
        """Have the run of rank 0 save the carried states of its own rows again."""
        self._hidden.show_own_rows()

    def _request_states(self) -> bool:
        """Have the other ranks send their carried states to rank 0, which calls this."""
        decisions = self._decisions
        return bool(decisions.meet(decisions.place, numbers={"collects": 1.0})["together"])

    # Decisions ------------------------------------------------------------------------------------------------------

    def _join_loss(self, batch: Batch, place: str, arrays: Sequence[Array] = ()) -> bool:
        """Replace loss and counts by those of all ranks, and add up gradients; whether the ranks are together."""
        share, loss = self._shares[batch], batch.loss
        self._check_rows(batch, share)
        unit, weight = _weight(batch, share.rows)
        counted = 0.0 if share.rows == 0 else 1.0
        sums = self._decisions.meet(
            f"{place}, with the loss weighted by {unit}",
            share.sample,
            arrays=arrays,
            factor=0.0 if batch.skipped else weight * self._scale,
            numbers={
                "weight": 0.0 if loss is None else weight,
                "loss": 0.0 if loss is None or not weight else weight * loss,
                "sequences": counted * (batch.sequences or 0),
                "tokens": counted * (batch.tokens or 0),
                "skipped": batch.skipped,
            },
        )
        if not sums["together"]:
            if batch.phase == "train":
                self._run.skip_batch()
            return False
        if not sums["agree"]:
            raise RankError(
                f"expected the same batch on all ranks, got different batches: rank {self._ranks.rank} {place}",
                hint="give the loaders of all ranks the same data and the same seed, and augment inputs at random only "
                "after the loader; or set shard = false if each rank has its own loader",
                is_reported=not self._is_first,
            )
        self._whole_weight = sums["weight"]
        if sums["weight"]:
            share.weight = weight / sums["weight"]
            batch.loss = sums["loss"] / sums["weight"]
        batch.sequences = int(sums["sequences"]) if batch.sequences is not None else None
        batch.tokens = int(sums["tokens"]) if batch.tokens is not None else None
        if sums["skipped"] and not batch.skipped:
            self._run.skip_batch()
        return True

    def _check_rows(self, batch: Batch, share: BatchShare) -> None:
        if share.rows and batch.batch_size not in (None, share.rows):
            raise DataError(
                f"run.hidden got batch_size={batch.batch_size}, which is not the number of rows of this rank: "
                f"{self._ranks.ranks} ranks divide a batch of {share.whole} rows",
                hint="set axis of data_parallel, or of shard, to the axis of the sequences in the arrays of a batch, "
                "and give run.hidden the number of sequences that the batch has on this rank",
            )

    def _add_up(self, sums: dict[str, float], *, counted: bool) -> None:
        totals = np.array([sums[name] if counted else 0.0 for name in sorted(sums)], dtype=float)
        self._ranks.sum(totals)
        sums.update(zip(sorted(sums), totals.tolist(), strict=True))

    # Closures -------------------------------------------------------------------------------------------------------

    def _evaluate_on_all(self) -> tuple[float, int]:
        """The closure's loss over all ranks, at the parameters of rank 0, which calls this."""
        batch = self._run.batch
        share = None if batch is None else self._shares.get(batch)
        decisions = self._decisions
        if share is None or not decisions.meet(decisions.place, numbers={"evaluates": 1.0})["together"]:
            return 0.0, self._ranks.ranks
        return self._closures.evaluate(share.closure, share.weight)

    def _evaluate_for_first(self, batch: Batch | None) -> None:
        share = BatchShare() if batch is None else self._shares[batch]
        self._closures.evaluate(share.closure, share.weight)


def _weight(batch: Batch, rows: int | None) -> tuple[str, float]:
    """The unit in which this rank's loss is weighted, and its weight."""
    if batch.tokens is not None:
        unit, weight = "tokens", batch.tokens
    elif batch.sequences is not None:
        unit, weight = "sequences", batch.sequences
    else:
        unit, weight = ("rows", rows) if rows is not None else ("ranks", 1)
    return unit, 0.0 if rows == 0 else float(weight)
