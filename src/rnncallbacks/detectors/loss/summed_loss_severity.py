"""How severe a summed loss is (RNN301), by whether the first update is proportional to the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.arrays import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.metrics import is_proportional, update_gradient_cosine

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity


@attrs.frozen(kw_only=True)
class SummedLossThresholds:
    """How long the first update is waited for."""

    waiting_batches: int = 5
    """Training batches in which the parameters may stay as they are, as a warm-up begins at a learning rate of 0;
    chosen by eye."""


THRESHOLDS = SummedLossThresholds()


@attrs.define(eq=False)
class SummedLossSeverity:
    """Holds the finding of a summed loss until an update shows how severe it is.

    Updates of SGD are proportional to the gradient: a sum makes them too large. Those of Adam, Adagrad and RMSprop
    hardly depend on the gradient's scale, and the severity is "info".

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
    _parameters: Mapping[str, Array] = state_field(factory=dict)
    _gradients: Mapping[str, Array] = state_field(factory=dict)

    @property
    def waiting(self) -> bool:
        """Whether a finding is held."""
        return self._finding is not None

    def hold(self, finding: Finding) -> None:
        """Hold a finding until an update was seen."""
        self._finding = finding

    def before_update(self, params: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Copy the parameters and the gradients with which the script will update them."""
        self._parameters = {name: array.copy() for name, array in params.items()}
        self._gradients = {name: array.copy() for name, array in gradients.items()}

    def after_update(self, params: Mapping[str, Array]) -> Finding | None:
        """The finding with its severity; None while the parameters have not changed, or nothing is held.

        After ``waiting_batches`` without a change the severity is the catalogue's.
        """
        if self._finding is None or not self._gradients:
            return None
        cosine = update_gradient_cosine(self._parameters, params, self._gradients)
        self._parameters, self._gradients = {}, {}
        self._batches += 1
        if math.isnan(cosine) and self._batches < THRESHOLDS.waiting_batches:
            return None
        finding, self._finding = self._finding, None
        severity: Severity | None = "info" if is_proportional(cosine) is False else None
        evidence = {**finding.evidence, "update_gradient_cosine": cosine}
        return attrs.evolve(finding, evidence=evidence, severity=severity)
