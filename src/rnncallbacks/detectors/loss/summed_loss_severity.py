"""The severity of a summed loss (RNN301), which depends on whether updates are proportional to the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.metrics import has_one_rate, is_proportional, update_gradient_cosine

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity


@attrs.frozen(kw_only=True)
class SummedLossThresholds:
    """How long to wait for the first update."""

    waiting_batches: int = 5
    """Training batches without a change of the parameters, as at the start of a warm-up from a learning rate of 0.
    Chosen by eye."""
    few_terms: float = 4.0
    """Largest factor of the loss that may be harmless: it multiplies the learning rate, and most rates have this much
    room. Chosen by eye."""


SUMMED_LOSS = SummedLossThresholds()


@attrs.define(eq=False)
class SummedLossSeverity:
    """Holds the finding of a summed loss until an update shows its severity.

    Updates of SGD are proportional to the gradient: a sum makes them too large. Those of Adam, Adagrad and RMSprop
    hardly depend on the gradient's scale: the severity is "info", and a sum explains no other alarm. The severity is
    "info" for a sum over few terms and for updates that are clipped by value or array by array too; an alarm that the
    sum explains, such as RNN501, raises it in the diagnosis.

    Example
    -------
    >>> import numpy as np
    >>> severity = SummedLossSeverity()
    >>> severity.hold(Finding("RNN301", "the loss is 20 times a mean", {}))
    >>> severity.before_update({"w": np.array([1.0, 1.0])}, {"w": np.array([3.0, 0.1])})
    >>> severity.after_update({"w": np.array([0.9, 0.9])}).severity
    'info'
    """

    _finding: Finding | None = state_field(None)
    _batches: int = state_field(0)
    _cosine: float = state_field(math.nan)
    _clipped: bool = state_field(False)
    _parameters: Mapping[str, Array] = state_field(factory=dict)
    _gradients: Mapping[str, Array] = state_field(factory=dict)

    @property
    def waiting(self) -> bool:
        """Whether a finding is held."""
        return self._finding is not None

    @property
    def measuring(self) -> bool:
        """Whether the first update is still awaited."""
        return math.isnan(self._cosine) and self._batches < SUMMED_LOSS.waiting_batches

    def hold(self, finding: Finding) -> None:
        """Hold a finding until the first update."""
        self._finding = finding

    def before_update(self, params: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Copy the parameters and their gradients before the update."""
        if self.measuring:
            self._parameters = {name: array.copy() for name, array in params.items()}
            self._gradients = {name: array.copy() for name, array in gradients.items()}

    def after_update(self, params: Mapping[str, Array]) -> Finding | None:
        """The finding with its severity; None while the parameters have not changed, or nothing is held.

        The first update decides, also for a later finding: momentum and averages turn later updates away from the
        gradient. After ``waiting_batches`` without a change the severity is the catalogue's.
        """
        if self.measuring:
            if not self._gradients:
                return None
            self._cosine = update_gradient_cosine(self._parameters, params, self._gradients)
            self._clipped = has_one_rate(self._parameters, params, self._gradients)
            self._parameters, self._gradients = {}, {}
            self._batches += 1
            if self.measuring:
                return None
        if self._finding is None:
            return None
        finding, self._finding = self._finding, None
        factor = finding.evidence.get("factor", math.inf)
        few = isinstance(factor, float | int) and factor <= SUMMED_LOSS.few_terms
        harmless = is_proportional(self._cosine) is False
        severity: Severity | None = "info" if few or harmless else None
        evidence = {**finding.evidence, "update_gradient_cosine": self._cosine}
        explains = "" if harmless and not self._clipped else finding.explains
        return attrs.evolve(finding, evidence=evidence, severity=severity, explains=explains)
