"""RNN503: whether updates leave the parameters bit for bit the same, and the network with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.fingerprints import fingerprint
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.update.update_closure import UpdateClosure

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class FrozenParametersThresholds:
    """The thresholds of RNN503, chosen by eye: a healthy update changes the parameters, however small it is."""

    unchanged_updates: int = 3
    """Measured updates with nonzero gradients that must leave the parameters the same."""
    unchanged_batches: int = 64
    """Batches in a row without a change, after which a closure's loss decides: a script may add the gradients of many
    batches, and make one update for all of them. Chosen by eye."""
    longest_pass: int = 400
    """Batches of an epoch after which its two halves are compared, as it may never end."""
    inconclusive_passes: int = 3
    """Inconclusive comparisons of passes, after which the network counts as unchanged."""
    closure_tolerance: float = 1e-9
    """Relative difference up to which the closure's losses before and after the update are equal."""
    loss_tolerance: float = 1e-6
    """Relative difference up to which two batch losses, or two mean losses, are the same: the rounding of float32."""
    absolute_loss_tolerance: float = 1e-12
    """The same for batch losses close to zero."""
    standard_errors: float = 4.0
    """Difference of two mean losses, in standard errors, above which they are those of two networks."""
    relative_difference: float = 0.01
    """Difference of two mean losses, relative to the first, that they must exceed as well."""


FROZEN_PARAMETERS = FrozenParametersThresholds()

OTHER_ARRAYS = "run.params never changed although the loss did: assign run.params = params after the update"


def losses_of_same_network(earlier: Sequence[float], later: Sequence[float]) -> bool | None:
    """Whether two passes over the same data were made by the same network; None if their losses are inconclusive.

    A network that does not change gives the same losses: in another order if the batches were shuffled, and with nearly
    the same mean if their sequences were. The means of two networks differ by at least 4 standard errors and 1%.

    Example
    -------
    >>> losses_of_same_network([1.0, 2.0, 1.5], [2.0, 1.5, 1.0])
    True
    >>> losses_of_same_network([1.0, 1.1, 1.2], [0.5, 0.6, 0.7])
    False
    """
    limits = FROZEN_PARAMETERS
    first, second = np.sort(np.asarray(earlier)), np.sort(np.asarray(later))
    if first.shape == second.shape and np.allclose(
        first, second, rtol=limits.loss_tolerance, atol=limits.absolute_loss_tolerance
    ):
        return True
    before, after = float(first.mean()), float(second.mean())
    if math.isclose(before, after, rel_tol=limits.loss_tolerance):
        return True
    error = math.sqrt(float(first.var()) / len(first) + float(second.var()) / len(second))
    if abs(after - before) > max(limits.standard_errors * error, limits.relative_difference * abs(before)):
        return False
    return None


@attrs.define(eq=False)
class FrozenParameters:
    """Follows parameters that no update has changed yet, until it is clear whether the network changes.

    The parameters that a run knows may be copies of those that the script trains. So the losses have to agree: a
    closure that gives the same loss after the update as before it, or two passes over the data with the same losses.
    """

    changed: bool = state_field(False)
    unchanged_updates: int = state_field(0)
    changed_updates: int = state_field(0)
    unchanged_batches: int = state_field(0)
    accumulated_batches: int = state_field(1)
    same_loss: str = state_field("")
    last_fingerprint: bytes = state_field(b"")
    settled: bool = state_field(False)
    pass_losses: list[float] = state_field(factory=list)
    first_pass_losses: list[float] = state_field(factory=list)
    comparisons: int = state_field(0)

    stopped_updates: int = state_field(0)
    stopped_since: int = state_field(0)
    stopped_found: bool = state_field(False)

    @property
    def suspected(self) -> bool:
        """Whether updates were measured, and none of them changed the parameters."""
        return bool(self.unchanged_updates) and not self.changed

    @property
    def comparison(self) -> str:
        """The number of measured updates that changed the parameters, in words."""
        measured = self.changed_updates + self.unchanged_updates
        if not self.changed_updates:
            return "the parameters changed between two batches, and not between run.backward and the end of a batch"
        words = f"{self.changed_updates} of {measured} measured batches changed the parameters"
        if self.accumulated_batches == 1:
            return words
        return f"{words}; gradients are accumulated, and one update is made in about {self.accumulated_batches} batches"

    def add_update(self, ratio: float) -> None:
        """Add the relative size norm(dW) / norm(W) of a measured update."""
        if ratio == 0.0:
            self.unchanged_updates += 1
            return
        self.changed_updates += 1
        self._change()

    def check_stopped(self, ratio: float, params: Any, batches: int) -> Finding | None:
        """RNN503 if parameters that changed before stay the same for many batches; after each measured update.

        ``batches`` is the number of the batch.
        """
        earlier, self.last_fingerprint = self.last_fingerprint, b"" if ratio else fingerprint(params)
        if not earlier or earlier != self.last_fingerprint:
            self.stopped_updates, self.stopped_since = int(not ratio), batches
            return None
        self.stopped_updates += 1
        span = batches - self.stopped_since
        long = span >= max(FROZEN_PARAMETERS.unchanged_batches, 3 * self.accumulated_batches)
        if self.stopped_found or not long or self.stopped_updates < FROZEN_PARAMETERS.unchanged_updates:
            return None
        self.stopped_found = True
        return Finding(
            "RNN503",
            f"the parameters stopped changing: {self.changed_updates} measured updates changed them, and for {span} "
            "batches, they have been bit for bit the same; the gradients were nonzero",
            {"updates": self.stopped_updates, "batches": span, "update_ratio": 0.0},
        )

    def add_parameters(self, params: Any) -> None:
        """Compare the parameters of a batch with those of the batch before, until they have changed once."""
        if self.changed or self.settled:
            return
        earlier, self.last_fingerprint = self.last_fingerprint, fingerprint(params)
        if earlier and earlier != self.last_fingerprint:
            self._change()

    def _change(self) -> None:
        if not self.changed:
            self.accumulated_batches = self.unchanged_batches + bool(self.changed_updates)
            self.accumulated_batches = max(self.accumulated_batches, 1)
        self.changed, self.last_fingerprint = True, b""

    def check(self, batch: Batch, closure: UpdateClosure, params: Any) -> CheckResult:
        """RNN503, or why it cannot be checked; call it after each batch while it is ``suspected``."""
        if self.settled:
            return NOTHING_COMPARED
        assert batch.loss is not None
        limits = FROZEN_PARAMETERS
        self.pass_losses.append(batch.loss)
        self.unchanged_batches += 1
        if self.unchanged_updates < limits.unchanged_updates:
            return NOTHING_COMPARED
        if self.same_loss:
            if self.unchanged_batches >= limits.unchanged_batches:
                return self._settle(same=True, comparison=self.same_loss)
        elif closure.agreement == "exact" and batch.closure is not None:
            loss = closure.evaluate(batch)
            same = loss is not None and math.isclose(loss, batch.loss, rel_tol=limits.closure_tolerance)
            comparison = f"the closure gives the loss {batch.loss:.6g} after the update as before it"
            if same and not closure.reads_parameters(batch, params):
                closure.agreement = "useless"  # it reads the arrays from before the update
            elif same:
                self.same_loss = comparison
            elif loss is not None:
                return self._settle(same=False, comparison=comparison)
        elif len(self.pass_losses) >= limits.longest_pass:
            half = limits.longest_pass // 2
            earlier, later = self.pass_losses[:half], self.pass_losses[half:]
            self.pass_losses = []
            return self._compare(earlier, later)
        return NOTHING_COMPARED

    def end_epoch(self) -> CheckResult:
        """RNN503, or why it cannot be checked, from the losses of this epoch and the first one."""
        if self.changed or self.settled or self.unchanged_updates < FROZEN_PARAMETERS.unchanged_updates:
            return NOTHING_COMPARED
        losses, self.pass_losses = self.pass_losses, []
        if not self.first_pass_losses:
            self.first_pass_losses = losses
            return NOTHING_COMPARED
        return self._compare(self.first_pass_losses, losses) if losses else CheckResult()

    def end_run(self) -> CheckResult:
        """RNN503 at the end of a run in which no update changed the parameters, or why it is unknown."""
        if self.changed or self.settled or not self.unchanged_updates:
            return NOTHING_COMPARED
        if self.same_loss:
            return self._settle(same=True, comparison=self.same_loss)
        why = (
            f"{self.unchanged_updates} updates left the parameters of Run(params) the same, and no two passes over the "
            "data show whether the network changed: pass closure= to run.backward, or train for two epochs"
        )
        return CheckResult(cannot_tell={"RNN503": why})

    def _compare(self, earlier: Sequence[float], later: Sequence[float]) -> CheckResult:
        self.comparisons += 1
        same = losses_of_same_network(earlier, later)
        if same is None and self.comparisons >= FROZEN_PARAMETERS.inconclusive_passes:
            same = True  # a network that learned would have shown it by now
        if same is None:
            return NOTHING_COMPARED
        return self._settle(
            same=same,
            comparison=f"two passes over the data gave the mean losses {np.mean(earlier):.6g} and {np.mean(later):.6g}",
        )

    def _settle(self, *, same: bool, comparison: str) -> CheckResult:
        self.settled = True
        if not same:
            return CheckResult(not_checked={"RNN503": OTHER_ARRAYS})
        finding = Finding(
            "RNN503",
            f"{self.unchanged_updates} updates left the parameters bit for bit the same: the gradients were nonzero, "
            f"{self.unchanged_batches} batches in a row changed nothing, and {comparison}",
            {"updates": self.unchanged_updates, "update_ratio": 0.0},
        )
        return CheckResult(finding=finding, checked={"RNN503": comparison})
