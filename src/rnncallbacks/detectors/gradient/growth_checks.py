"""Schedules the searches for gradients that grow through time, in the first training batches (RNN401).

A recognized network shows the growth itself (:mod:`growth_through_time
<rnncallbacks.detectors.gradient.growth_through_time>`). Where none is recognized, the recurrent weights are examined
(:mod:`recurrent_gain <rnncallbacks.detectors.gradient.recurrent_gain>`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.finding import CheckResult
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.gradient.growth_through_time import check_growth
from rnncallbacks.detectors.gradient.recurrent_gain import RecurrentGain
from rnncallbacks.detectors.gradient.update_tracker import MeasuredUpdate

if TYPE_CHECKING:
    from rnncallbacks.arrays.gradients import Gradients
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.detectors.reconstruction.script_network import ScriptNetwork


@attrs.define(eq=False)
class GrowthChecks:
    """Runs the search that fits, and keeps the doubt that it leaves.

    Attributes
    ----------
    doubt:
        By code: why gradients of usual length prove nothing.

    Example
    -------
    >>> GrowthChecks().doubt
    {}
    """

    doubt: Mapping[str, str] = state_field(factory=dict)
    _gain: RecurrentGain = state_field(factory=RecurrentGain)

    def check(
        self,
        batch_number: int,
        batch: Batch,
        loss: float,
        gradients: Gradients,
        params: object,
        network: ScriptNetwork,
        max_norm: float,
    ) -> Iterator[CheckResult]:
        """Add a training batch, counted from 1, before its update, and yield the results.

        ``max_norm`` is the norm that a gradient should not exceed.
        """
        if batch_number == 1:
            growth = CheckResult()
            forward = network.pass_of(batch, loss, gradients, params)
            if forward is not None and network.network is not None:
                growth = check_growth(network.network, forward, max_norm)
            self.doubt = growth.cannot_tell
            yield growth
        if network.network is not None:  # its growth was computed
            self._gain.over = True
        elif not self._gain.over:
            result = self._gain.add(gradients, params, max_norm)
            self.doubt = {**self.doubt, **result.withdrawn}
            yield result

    def add_update(self, update: MeasuredUpdate, max_norm: float) -> CheckResult:
        """Add the measured update of the batch just added; RNN401 if a gradient that exploded made it."""
        return CheckResult(finding=self._gain.add_update(update, max_norm))
