"""RNN603: the loss is that of the constant baseline, and the targets do not depend on the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.constant_baseline import entropy
from rnncallbacks.detectors.progress.dependence import strongest_dependence
from rnncallbacks.detectors.progress.token_pairs import TokenPairs

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class NoSignalThresholds:
    """The thresholds of RNN603, set on half of the seeds of the fault benchmark (docs/reference/fault-benchmark.md)."""

    first_pairs: int = 1000
    """Targets that are enough for a first test: a strong dependence shows in them."""
    most_pairs: int = 8000
    """Targets that are enough for the last test. Chosen for its cost."""
    most_batches: int = 400
    """Batches that they may come from at most."""
    dependent_z: float = 5.0
    """Standard normal quantile above which there is a dependence."""
    independent_z: float = 4.0
    """Standard normal quantile below which there is none, if it could have been detected."""
    detectable_association: float = 0.25
    """Largest Cramér's V, in [0, 1], that the tests may have missed."""
    judged_batches: int = 30
    """Last training batches whose median loss is judged, and the fewest that a run must have."""
    lowest_loss: float = 0.9
    """Loss / entropy of the targets, above which the network is not better than the constant baseline."""
    highest_loss: float = 1.5
    """Loss / entropy of the targets, below which the network has reached the constant baseline."""


NO_SIGNAL = NoSignalThresholds()

TOO_FEW_TOKENS = "there are too few tokens to tell chance from a weak dependence"

DECODER_INPUTS = (
    "the inputs are one token, or the targets of the step before, as a decoder's: the encoder's are not shown"
)


def looks_like_decoder_inputs(inputs: Array, targets: Array) -> bool:
    """Whether the inputs, of shape (sequences, seq_len), say nothing but what the earlier targets said.

    They are all the same token, or each is the target of the step before. What a decoder predicts may depend on its
    encoder's inputs alone, and these are then not shown.

    Example
    -------
    >>> targets = np.array([[2, 3, 1], [1, 1, 2]])
    >>> looks_like_decoder_inputs(np.array([[0, 2, 3], [0, 1, 1]]), targets)
    True
    """
    shown = inputs[inputs >= 0]
    if len(shown) and (shown == shown[0]).all():
        return True
    if inputs.shape != targets.shape or inputs.shape[1] < 2:
        return False
    later, earlier = inputs[:, 1:], targets[:, :-1]
    known = (later >= 0) & (earlier >= 0)
    starts = inputs[:, 0][inputs[:, 0] >= 0]
    one_start = len(starts) > 1 and bool((starts == starts[0]).all())
    return one_start and bool(known.any() and (later == earlier)[known].all())


@attrs.define(eq=False)
class NoSignal:
    """Tests the tokens of a run's first batches, and compares its loss with the entropy of their targets.

    ``signal`` is "unknown" until the test; then "dependent", "independent" or "constant", if all targets are one token.
    """

    pairs: TokenPairs = state_field(factory=TokenPairs)
    needed_pairs: int = state_field(NO_SIGNAL.first_pairs)
    recent_losses: list[float] = state_field(factory=list)
    batches: int = state_field(0)
    epochs: int = state_field(0)
    signal: str = state_field("unknown")
    entropy: float = state_field(0.0)
    test: str = state_field("")
    found: bool = state_field(False)

    def add_batch(self, batch: Batch, loss: float) -> CheckResult:
        """Add a training batch and its loss, and test the tokens once there are enough; tells what was checked."""
        self.batches += 1
        self.recent_losses.append(loss)
        del self.recent_losses[: -NO_SIGNAL.judged_batches]
        if not self.needed_pairs:
            return CheckResult()
        reason = self.pairs.add(batch)
        if reason:
            self.needed_pairs = 0
            return CheckResult(not_checked={"RNN603": reason})
        pairs, last = self.pairs.pairs, self.pairs.batches >= NO_SIGNAL.most_batches
        if pairs >= self.needed_pairs or last:
            return self._test(last=last or pairs >= NO_SIGNAL.most_pairs)
        return CheckResult()

    def end_epoch(self) -> CheckResult:
        """RNN603, after an epoch with training batches."""
        self.epochs += 1
        result = CheckResult()
        enough = self.batches >= NO_SIGNAL.judged_batches
        if self.epochs == 1 and enough and self.needed_pairs and self.pairs.batches:
            result = self._test(last=True)  # later epochs show the same sequences again
        return attrs.evolve(result, finding=self._find())

    def _test(self, *, last: bool) -> CheckResult:
        inputs, targets, groups = self.pairs.joined()
        counts = np.unique(targets[targets >= 0], return_counts=True)[1]
        self.entropy = entropy(counts)
        if len(counts) == 1:
            return self._conclude("constant", f"all {int(counts.sum())} targets are the same token")
        if last and looks_like_decoder_inputs(inputs, targets):
            self.signal, self.needed_pairs = "unknown", 0
            self.pairs.clear()
            return CheckResult(cannot_tell={"RNN603": DECODER_INPUTS})
        dependence = strongest_dependence(inputs, targets, groups)
        if dependence.z > NO_SIGNAL.dependent_z:
            return self._conclude("dependent", f"{dependence.pairs} targets depend on {dependence.between}")
        if not last:
            self.needed_pairs = NO_SIGNAL.most_pairs
            return CheckResult()
        detectable = dependence.detectable_association
        independent = dependence.z < NO_SIGNAL.independent_z and detectable < NO_SIGNAL.detectable_association
        return self._conclude(
            "independent" if independent else "unknown",
            f"none of {dependence.tests} tests on {dependence.pairs} targets finds a dependence, and an association "
            f"(Cramér's V) of {detectable:.2g} would have been detected",
        )

    def _conclude(self, signal: str, test: str) -> CheckResult:
        self.signal, self.test, self.needed_pairs = signal, test, 0
        self.pairs.clear()
        if signal == "unknown":
            return CheckResult(cannot_tell={"RNN603": TOO_FEW_TOKENS})
        return CheckResult(checked={"RNN603": test})

    def _find(self) -> Finding | None:
        if self.found or len(self.recent_losses) < NO_SIGNAL.judged_batches:
            return None
        loss = float(np.median(self.recent_losses))
        if self.signal == "constant":
            self.found = True
            return Finding("RNN603", f"the targets are constant: {self.test}", {"entropy": 0.0, "loss": loss}, "info")
        at_baseline = NO_SIGNAL.lowest_loss * self.entropy < loss < NO_SIGNAL.highest_loss * self.entropy
        if self.signal != "independent" or not at_baseline:
            return None
        self.found = True
        return Finding(
            "RNN603",
            f"the targets do not depend on the inputs: {self.test}; the loss is {loss:.6g}, and the entropy of the "
            f"targets {self.entropy:.6g}",
            {"loss": loss, "entropy": self.entropy, "epochs": self.epochs},
        )
