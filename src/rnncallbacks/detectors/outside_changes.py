"""RNN701, changes of the parameters outside of all batches: withdraws the pass, as an update may have made them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult
from rnncallbacks.arrays.fingerprints import fingerprint_or_none
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import TRAIN

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.define(eq=False)
class OutsideChangeDetector:
    """Finds changes before the first and after the last training batch of an epoch, where no batch is open.

    A validation loop that is not given to ``run.batches`` and calls the update makes such changes. So do the last
    update of accumulated gradients, averaged parameters and pruning, which are no faults. So the pass of RNN701 is
    withdrawn, and no alarm is raised. The last batch is known by the loader's length, else by the epoch before.

    Example
    -------
    >>> import numpy as np
    >>> from rnncallbacks.core.batch import Batch
    >>> detector, params = OutsideChangeDetector(), {"w": np.ones(3)}
    >>> detector.start_epoch(params, repairs=0)
    >>> detector.open_batch(params)
    >>> detector.end_batch(Batch(None, "train", index=1, count=1), params)
    >>> params["w"] -= 0.1  # an update in a validation loop that the run does not see
    >>> detector.end_epoch(params, repairs=0, batches=1).withdrawn["RNN701"].partition(",")[0]
    'parameters changed while no batch was open in 1 of 1 epochs'
    """

    _before: bytes | None = state_field(None)  # the fingerprint where no batch has been open since
    _batches_of_last_epoch: int = state_field(0)
    _repairs: int = state_field(0)
    _has_changed: bool = state_field(False)
    _epochs: int = state_field(0)
    _epochs_changed: int = state_field(0)

    def start_epoch(self, params: object, repairs: int) -> None:
        """Begin an epoch after all plugins; ``repairs`` is the number of repairs so far."""
        self._before = fingerprint_or_none(params)
        self._repairs, self._has_changed = repairs, False

    def open_batch(self, params: object) -> None:
        """Begin a batch before other plugins. Only the first and the last one of an epoch need to be given."""
        if self._before is not None:
            self._compare(params)

    def batches_to_last(self, index: int) -> float:
        """The number of training batches until the last one of the epoch, by the epoch before; infinite if unknown."""
        left = self._batches_of_last_epoch - index
        return left if left > 0 else math.inf

    def end_batch(self, batch: Batch, params: object) -> None:
        """End a batch after other plugins."""
        if batch.phase == TRAIN and batch.index in (batch.count, self._batches_of_last_epoch):
            self._before = fingerprint_or_none(params)

    def end_epoch(self, params: object, repairs: int, batches: int) -> CheckResult:
        """End an epoch of this number of training batches before other plugins."""
        if self._before is not None:
            self._compare(params)
        self._batches_of_last_epoch = batches
        self._epochs += 1
        self._epochs_changed += self._has_changed and repairs == self._repairs
        if not self._epochs_changed:
            return NOTHING_COMPARED
        reason = (
            f"parameters changed while no batch was open in {self._epochs_changed} of {self._epochs} epochs, before "
            "the first or after the last training batch; if a validation loop made the change, iterate "
            "run.batches(loader, phase='val') there, and call no update in it"
        )
        return CheckResult(withdrawn={"RNN701": reason})

    def _compare(self, params: object) -> None:
        self._has_changed |= fingerprint_or_none(params) != self._before
        self._before = None
