"""RNN603: the loss is that of the constant baseline, and the targets do not depend on the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.loss.constant_baseline import constant_losses, constant_losses_of_sequences
from rnncallbacks.detectors.loss.sigmoid_loss import is_binary
from rnncallbacks.detectors.progress.dependence import PRESENT_INPUT
from rnncallbacks.detectors.progress.dependence_search import (
    DEPENDENCE_SEARCH,
    is_of_last_target,
    of_other_sequences,
    single_input_association,
    strongest_of,
    within_sequences,
    without_last_step,
)
from rnncallbacks.detectors.progress.other_targets import check_other_targets
from rnncallbacks.detectors.progress.sequence_pairs import SequencePairs, looks_like_decoder_inputs

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class NoSignalThresholds:
    """The thresholds of RNN603, set on half of the seeds of the fault benchmark (docs/reference/fault-benchmark.md)."""

    first_pairs: int = 1000
    """Targets for the first test: enough for a strong dependence."""
    most_pairs: int = 8000
    """Targets for the last test. Chosen for its cost."""
    most_batches: int = 400
    """Largest number of batches that they come from."""
    detectable_by_few: float = 0.5
    """Largest Cramér's V that may be missed for few sequences, where the loss shows in ``batches_of_few`` batches of
    ``epochs_of_few`` epochs that nothing is learned. 200 sequences have 0.35. Chosen by eye."""
    batches_of_few: int = 100
    """Fewest training batches for such a finding, chosen by eye, as is the next number."""
    epochs_of_few: int = 3
    first_binary: float = 0.1
    """Largest relative distance of the first losses from ln 2, that of a binary cross-entropy. Chosen by eye."""
    share_of_others: float = 0.5
    """Dependence on the inputs of other sequences, relative to that on their own, above which it proves nothing."""
    tested_again_after: tuple[int, ...] = (1, 2, 4, 8)
    """Epochs after which pairs of the next one are tested, if the loss is still that of a constant prediction."""
    weak_association: float = 0.15
    """Cramér's V of targets and one input, about, below which a dependence does not show that most targets belong to
    their inputs: targets that were shuffled within batches of ten keep a tenth. Chosen by eye."""
    rolled_association: float = 0.25
    """Largest Cramér's V that the tests without the last targets may have missed, as ``detectable_association``."""
    recent_batches: int = 30
    """Last training batches whose median loss is compared, and the fewest that a run must have."""
    lowest_loss: float = 0.9
    """Loss / entropy of the targets, above which the network is not better than the constant baseline."""
    highest_loss: float = 1.5
    """Loss / entropy of the targets, below which the network has reached the constant baseline."""
    first_losses: int = 5
    """First losses of a regression, whose median is that of outputs of about 0. Chosen by eye."""
    constant_sequences: int = 30
    """Fewest sequences whose real inputs are all the same, which makes their targets independent. Chosen by eye."""
    lowest_share_of_first: float = 0.5
    """Loss of a regression / first losses, above which the network may have learned a constant only. A target whose
    mean is not 0 may lower the loss without a dependence, and is then not reported. Chosen by eye."""


NO_SIGNAL = NoSignalThresholds()

TOO_FEW_TOKENS = "there are too few tokens to separate chance from a weak dependence"

WEAKLY_DEPENDENT = "an association (Cramér's V) of about {:.2g} is weak, as if most targets were shuffled"

UNKNOWN_AXIS = "inputs and targets do not show the axis of time: it may be a dependence between sequences"

OTHERS_DEPEND = (
    "the targets of other sequences seem to depend on the inputs (z = {:.2g}), and their own on {} (z = {:.2g}): both "
    "change slowly from step to step"
)

SHUFFLED_WITHIN = (
    "the targets depend on their sequence as a whole, but not on the step: none of {} tests finds a dependence of a "
    "target's deviation from the mean of its sequence, and a correlation of {:.2g} would have been detected"
)

ONLY_LAST_TARGETS = "; the last target of each sequence depends on its first input, as if targets were rolled within it"

DECODER_INPUTS = (
    "the inputs are one token, or the targets of the step before, as a decoder's: the encoder's are not shown"
)


@attrs.define(eq=False)
class NoSignal:
    """Tests the tokens of a run's first batches, and compares its loss with the entropy of their targets.

    ``signal`` is "unknown" until the test; then "dependent", "independent" or "constant", if all targets are one token.
    It is "weak" if few sequences show no dependence, and "shuffled" if targets depend on no input of their own step.
    """

    pairs: SequencePairs = state_field(factory=SequencePairs)
    needed_pairs: int = state_field(NO_SIGNAL.first_pairs)
    recent_losses: list[float] = state_field(factory=list)
    batches: int = state_field(0)
    epochs: int = state_field(0)
    first_epoch: int = state_field(0)  # that the pairs come from
    signal: str = state_field("unknown")
    baselines: list[float] = state_field(factory=list)
    loss_unit: float = state_field(1.0)
    baseline: float = state_field(0.0)  # that the loss is near to, if it is
    first_losses: list[float] = state_field(factory=list)
    test: str = state_field("")
    per_sequence: bool = state_field(False)  # a target may depend on many inputs together, which no test finds
    found: bool = state_field(False)
    learned: bool = state_field(False)
    replaces_targets: bool = state_field(False)  # the script trains on others than its loader's

    def add_batch(self, batch: Batch, loss: float) -> CheckResult:
        """Add a training batch and its loss, and test the tokens once there are enough."""
        self.add_losses([loss])
        self.replaces_targets |= batch.replaces_targets
        if not self.needed_pairs:
            return NOTHING_COMPARED
        reason = self.pairs.add(batch, later_epoch=self.epochs > self.first_epoch)
        if reason:
            self.needed_pairs = 0
            return CheckResult(not_checked={"RNN603": reason})
        pairs, last = self.pairs.pairs, self.batches >= NO_SIGNAL.most_batches
        if pairs >= self.needed_pairs or last:
            return self._test(last=last or pairs >= NO_SIGNAL.most_pairs)
        return CheckResult()

    def add_losses(self, losses: Sequence[float]) -> None:
        """Add the losses of training batches whose tokens are not tested, in their order."""
        self.batches += len(losses)
        self.first_losses.extend(losses[: NO_SIGNAL.first_losses - len(self.first_losses)])
        self.recent_losses.extend(losses[-NO_SIGNAL.recent_batches :])
        del self.recent_losses[: -NO_SIGNAL.recent_batches]

    def end_epoch(self, loss_unit: float = 1.0) -> CheckResult:
        """RNN603, after an epoch with training batches; the loss is ``loss_unit`` times a mean, as that of a sum is."""
        self.epochs += 1
        self.loss_unit = loss_unit
        result = CheckResult()
        # A run may end after a few batches of the epoch that is tested again.
        is_whole = not self.first_epoch or 2 * self.pairs.batches * self.epochs >= self.batches
        enough = self.pairs.pairs >= NO_SIGNAL.first_pairs or (is_whole and self.batches >= NO_SIGNAL.recent_batches)
        if enough and self.needed_pairs and self.pairs.batches:
            result = self._test(last=True)  # later epochs have the same sequences
        finding = self._find()
        unlearned = len(self.recent_losses) >= NO_SIGNAL.recent_batches and self._near_baselines()
        if self.signal == "dependent" and unlearned and self.epochs in NO_SIGNAL.tested_again_after:
            # What was shuffled after the first epoch belonged together in it.
            self.needed_pairs, self.first_epoch = NO_SIGNAL.first_pairs, self.epochs
        return attrs.evolve(result, finding=finding)

    def _test(self, *, last: bool) -> CheckResult:
        ways = self.pairs.ways()
        targets = ways[0][1]
        self.per_sequence = targets.shape[:2] != ways[0][0].shape[:2]
        self.baselines = constant_losses(targets)
        if not self.baselines or not max(self.baselines):
            known = targets[targets >= 0] if targets.dtype.kind == "i" else targets
            what = "token" if targets.dtype.kind == "i" else "number"
            return self._conclude("constant", f"all {known.size} targets are the same {what}")
        first = float(np.median(self.first_losses or [0.0])) / np.log(2)
        if targets.dtype.kind == "f" and is_binary(targets) and abs(first - 1.0) < NO_SIGNAL.first_binary:
            self.baselines = self.baselines[-1:]
        if last and self.pairs.tokens and any(looks_like_decoder_inputs(x, y) for x, y, _ in ways):
            self.signal, self.needed_pairs = "unknown", 0
            self.pairs.clear()
            return CheckResult(cannot_tell={"RNN603": DECODER_INPUTS})
        inputs = ways[0][0]
        real = inputs.dtype.kind == "f" and len(inputs) >= NO_SIGNAL.constant_sequences
        if real and self.pairs.zeros_enter and (inputs == inputs[0]).all():
            same = f"all {len(inputs)} sequences have the same inputs, and each begins with a zero state"
            return self._conclude("independent", same)
        if self.pairs.repeats_inputs:
            same = f"the inputs of all {self.pairs.batches} batches are the same, and their targets differ"
            return self._conclude("independent", same)
        dependence, rolled = strongest_of(ways, self.pairs.tokens), False
        if is_of_last_target(dependence, ways[0]):
            inner = strongest_of([without_last_step(*way) for way in ways], self.pairs.tokens)
            rolled = (
                inner.z < DEPENDENCE_SEARCH.independent_z
                and inner.detectable_association < NO_SIGNAL.rolled_association
            )
            dependence = inner if rolled else dependence
        if dependence.z > DEPENDENCE_SEARCH.dependent_z:
            within = within_sequences(dependence, *self.pairs.joined(separate=True)[:2])
            if within is not None and strongest_of(ways[:1], self.pairs.tokens).z <= DEPENDENCE_SEARCH.dependent_z:
                within = None  # the dependence is that of another way to read the axes
            if within is not None and not last:
                self.needed_pairs = NO_SIGNAL.most_pairs
                return CheckResult()
            if within is not None:
                self.baselines += constant_losses_of_sequences(targets)[-len(self.baselines) :]
                words = SHUFFLED_WITHIN.format(within.tests, within.detectable_association)
                return self._conclude("shuffled", words)
            other = of_other_sequences(dependence, ways[0])
            if other > NO_SIGNAL.share_of_others * dependence.z:
                self._conclude("unknown", "")
                return CheckResult(
                    cannot_tell={"RNN603": OTHERS_DEPEND.format(other, dependence.between, dependence.z)}
                )
            axis_matters = not self.pairs.axis_known and dependence.between != PRESENT_INPUT
            result = self._conclude("dependent", f"{dependence.pairs} targets depend on {dependence.between}")
            association = single_input_association(dependence) if self.pairs.tokens else 1.0
            if association < NO_SIGNAL.weak_association:
                words = f"{self.test}; {WEAKLY_DEPENDENT.format(association)}"
                return CheckResult(cannot_tell={"RNN603": words})
            return CheckResult(cannot_tell={"RNN603": f"{self.test}; {UNKNOWN_AXIS}"}) if axis_matters else result
        if not last:
            self.needed_pairs = NO_SIGNAL.most_pairs
            return CheckResult()
        detectable = dependence.detectable_association
        signal = "unknown"
        if dependence.z < DEPENDENCE_SEARCH.independent_z and detectable < NO_SIGNAL.detectable_by_few:
            signal = "independent" if detectable < DEPENDENCE_SEARCH.detectable_association else "weak"
        return self._conclude(
            signal,
            f"none of {dependence.tests} tests on {dependence.pairs} targets finds a dependence, and an association "
            f"(Cramér's V) of {detectable:.2g} would have been detected{ONLY_LAST_TARGETS if rolled else ''}",
        )

    def _conclude(self, signal: str, test: str) -> CheckResult:
        self.signal, self.test, self.needed_pairs = signal, test, 0
        self.pairs.clear()
        if signal in ("unknown", "weak"):
            return CheckResult(cannot_tell={"RNN603": TOO_FEW_TOKENS})
        if signal in ("independent", "shuffled"):
            why = f"{test}; the loss is not that of a constant prediction"
            return CheckResult(cannot_tell={"RNN603": why})
        return CheckResult(checked={"RNN603": test})

    def _find(self) -> Finding | None:
        if self.found or len(self.recent_losses) < NO_SIGNAL.recent_batches:
            return None
        loss, near = median(self.recent_losses), self._near_baselines()
        if self.signal == "constant":
            self.found = True
            return Finding("RNN603", f"the targets are constant: {self.test}", {"entropy": 0.0, "loss": loss}, "info")
        long = self.batches >= NO_SIGNAL.batches_of_few
        signals = {"independent"} if long or not self.per_sequence else set()
        if long and self.epochs >= NO_SIGNAL.epochs_of_few:
            signals |= {"weak", "shuffled"}
        if not near or self.signal not in signals:
            return None
        fell = loss < NO_SIGNAL.lowest_share_of_first * float(np.median(self.first_losses))
        if self.signal != "shuffled" and len(self.baselines) > 1 and fell:
            return None
        self.found, self.baseline = True, near[0]
        name = "the entropy of the targets" if len(self.baselines) == 1 else "that of a constant"
        name = name if self.loss_unit == 1.0 else f"{self.loss_unit:g} times {name}"
        which = "the inputs of their step" if self.signal == "shuffled" else "the inputs"
        return Finding(
            "RNN603",
            f"the targets do not depend on {which}: {self.test}; the loss is {loss:.6g}, and {name} {near[0]:.6g}",
            {"loss": loss, "entropy": near[0], "epochs": self.epochs},
        )

    def _near_baselines(self) -> list[float]:
        """The losses of constant predictions that the latest losses are near to."""
        loss, baselines = median(self.recent_losses), [self.loss_unit * one for one in self.baselines]
        return [one for one in baselines if NO_SIGNAL.lowest_loss * one < loss < NO_SIGNAL.highest_loss * one]

    def check_used(self) -> CheckResult:
        """At the end of a run, withdraw a dependence of the loader's targets that the network did not learn.

        The script may train on other inputs or targets than its loader yields, such as shuffled ones. RNN603 if it
        certainly does.
        """
        unlearned = len(self.recent_losses) >= NO_SIGNAL.recent_batches and self._near_baselines()
        if self.signal != "dependent" or self.pairs.observed or not (unlearned or self.replaces_targets):
            return CheckResult()
        baseline = unlearned[0] if unlearned else None
        return check_other_targets(self.test, median(self.recent_losses), baseline, certain=self.replaces_targets)

    def check_learned(self) -> Finding | None:
        """RNN603 as a note, once, if the loss fell clearly below that of a constant prediction after it was raised.

        A function of several inputs together, such as their parity, shows in no test of single ones. A network that
        memorizes its sequences learns as well, so the alarm is not withdrawn.
        """
        if not self.found or self.learned or self.signal == "constant":
            return None
        loss, baseline = median(self.recent_losses), self.baseline
        if loss >= NO_SIGNAL.lowest_share_of_first * baseline:
            return None
        self.learned = True
        return Finding(
            "RNN603",
            f"no test of single inputs finds what the targets depend on, and the loss has fallen to {loss:.4g}, "
            f"{loss / baseline:.2g} times that of a constant prediction: they depend on several inputs together, or "
            "the network has memorized its sequences",
            {"loss": loss, "entropy": baseline},
            "info",
            remedy="compare with the loss of sequences that the network has not seen",
        )
