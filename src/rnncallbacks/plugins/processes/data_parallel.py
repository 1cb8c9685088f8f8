"""Data-parallel training: each process computes on some rows of each batch, and all make the same update."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs

from rnncallbacks import options
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_attributes import is_of_first_rank
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.errors import OptionError
from rnncallbacks.parallel.communicator import connect
from rnncallbacks.parallel.orderly_exit import orderly_exit
from rnncallbacks.parallel.shared_run import SharedRun

if TYPE_CHECKING:
    from collections.abc import Generator

    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

logger = logging.getLogger("rnncallbacks")


def _axis(owner: object, field: attrs.Attribute[Any], value: Any) -> None:
    axes = value if isinstance(value, tuple) else (value,)
    if not axes or any(type(one) is not int or one < 0 for one in axes):
        raise OptionError(f"DataParallel: axis: expected an integer of at least 0, or a list of them, got {value!r}")


@attrs.define(eq=False, kw_only=True)
class DataParallel:
    r"""Trains one network on several processes, the ranks of ``mpiexec -n 4 python train.py``.

    Each rank executes the same script. It gets some rows of each batch, and computes their loss :math:`\ell_r` and
    gradients :math:`g_r`. Before other plugins see them, they are replaced by those of the whole batch:

    .. math:: \ell = \sum_r \frac{n_r}{n} \ell_r, \qquad g = \sum_r \frac{n_r}{n} g_r

    where :math:`n_r` of the :math:`n` tokens of the batch are on rank :math:`r`. Without a number of tokens, sequences
    are counted; without either, rows. All ranks then make the same update. Up to rounding and dropout, the run is that
    of one process with the same batches. ``tokens`` and ``sequences`` of the batch also become those of all ranks, in
    validation too.

    Guards, loggers, progress and checkpoints are called on rank 0 only, with a closure that evaluates the loss of all
    rows. The other ranks adopt what these plugins change or decide. A stop or a skipped batch of any rank applies to
    all. If a rank fails or is killed, all end. In a run of one process, the plugin does nothing.

    ``pip install 'rnncallbacks[mpi]'`` installs MPI.

    Options
    -------
    shard:
        Whether to divide the batches of the loaders. With False, the loader of each rank must yield its own batches, as
        many as the loaders of the other ranks.
    axis:
        The axis of the sequences in the arrays of a batch, 0 or more, or a list with one axis for each array. It is
        ignored for the batches of the library's loaders.

    Columns: ``ranks``, the number of ranks; ``reduction_seconds``, the time of the reductions in the epoch, waiting for
    other ranks included, averaged over the ranks; ``imbalance``, the longest computing time of a rank in the epoch,
    divided by the mean over the ranks, minus 1.

    Raises
    ------
    RankError
        An MPI launcher started the process but MPI cannot be loaded; the ranks are not at the same place of their
        loops; another rank failed; or the ranks have different models.
    DataError
        A batch cannot be divided.

    Example
    -------
    >>> DataParallel(axis=1)
    DataParallel(shard=True, axis=1)

    Source: Dean et al., "Large scale distributed deep networks" (2012); for synchronous updates, Chen, Pan, Monga,
    Bengio and Jozefowicz, "Revisiting distributed synchronous SGD" (2016).
    """

    shard: bool = attrs.field(default=True, validator=options.flag)
    axis: int | tuple[int, ...] = attrs.field(default=0, converter=options.as_tuple, validator=_axis)
    _shared: SharedRun | None = state_field(None, saved=False)
    _failed: bool = state_field(False, saved=False)

    def __attrs_post_init__(self) -> None:
        orderly_exit()  # starts MPI, where a launcher has started this process

    def admits(self, plugin: object) -> bool:
        """Whether a plugin is called in this process."""
        ranks = connect()
        return ranks is None or ranks.rank == 0 or not is_of_first_rank(plugin)

    @hookimpl(wrapper=True, ahead=True, tryfirst=True)
    def on_fit_start(self, run: Run) -> Generator[None, Any, Any]:
        ranks = connect()
        if ranks is None:
            return (yield)
        if (at_exit := orderly_exit()) is not None:
            at_exit.begin_run()
        self._failed = False
        self._shared = shared = SharedRun(run, ranks, divides=self.shard, axis=self.axis)
        if ranks.rank:
            logger.addFilter(_is_silent)
            shared.start()
        result = yield
        if ranks.rank == 0:
            shared.start()
        shared.open_run()
        return result

    @hookimpl(wrapper=True, ahead=True, tryfirst=True)
    def on_epoch_start(self) -> Generator[None, Any, Any]:
        result = yield
        if self._shared is not None:
            self._shared.open_epoch()
        return result

    @hookimpl(ahead=True, tryfirst=True)
    def on_batch_start(self, batch: Batch) -> None:
        if self._shared is not None:
            self._shared.open_batch(batch)

    @hookimpl(wrapper=True, ahead=True, tryfirst=True)
    def on_backward(self, batch: Batch, grads: Gradients) -> Generator[None, Any, Any]:
        shared = self._shared
        if shared is None:
            return (yield)
        shared.reduce(batch, grads)
        result = yield
        shared.close_backward(batch, grads)
        return result

    @hookimpl(wrapper=True, ahead=True, tryfirst=True)
    def on_batch_end(self, batch: Batch) -> Generator[None, Any, Any]:
        shared = self._shared
        if shared is None:
            return (yield)
        shared.join_batch(batch)
        try:
            result = yield
        finally:
            shared.show_own_rows()
        shared.close_batch(batch)
        return result

    @hookimpl(wrapper=True, ahead=True, tryfirst=True)
    def on_epoch_end(self) -> Generator[None, Any, Any]:
        shared = self._shared
        if shared is None:
            return (yield)
        shared.join_epoch()
        try:
            result = yield
        finally:
            shared.show_own_rows()
        shared.close_epoch()
        return result

    @hookimpl(ahead=True, tryfirst=True)
    def on_exception(self, error: BaseException) -> None:
        self._failed = True
        if self._shared is not None:
            self._shared.explain(error)
        if (at_exit := orderly_exit()) is not None:
            at_exit.fail(error)

    @hookimpl(trylast=True)
    def on_fit_end(self) -> None:
        shared, self._shared = self._shared, None
        logger.removeFilter(_is_silent)
        if shared is not None and not self._failed:
            shared.end()


def _is_silent(record: logging.LogRecord) -> bool:
    """A filter that drops the warnings of ranks other than rank 0, which logs them."""
    return record.levelno >= logging.ERROR
