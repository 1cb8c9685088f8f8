"""Compares the reported loss of each phase with the mean of its batch losses (RNN101, RNN102)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import TRAIN
from rnncallbacks.detectors.loss.batch_lengths import BatchLengths
from rnncallbacks.detectors.loss.denominator import (
    Denominator,
    batch_losses_may_be_sums,
    find_denominator,
    is_batch_mean,
    is_sum_over,
    is_validation,
    is_within_batch_losses,
)
from rnncallbacks.detectors.loss.denominator_messages import denominator_message, denominator_remedy
from rnncallbacks.detectors.loss.phase_losses import PhaseLosses
from rnncallbacks.detectors.loss.training_passes import TrainingPasses

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity
    from rnncallbacks.core.batch import Batch

NOT_REPORTED = {
    "RNN101": "report the script's own epoch loss: run.log(train_loss=...)",
    "RNN102": "report the script's own losses of two phases: run.log(train_loss=..., val_loss=...)",
}
"""The reasons for codes that are not checked if nothing was reported."""

NO_PHASE = {"RNN102": "validate in each epoch: run.batches(val_loader, phase='val')"}
"""The reason where a validation loss was reported, and no batch is one of a validation."""

ONE_PHASE_IS_WRONG = "the loss of one phase is divided by another count than that of the other: see RNN102"


EQUAL_BATCHES, FIRST_EQUAL_BATCHES = 16, 500
"""Training batches of a pass that must have the same lengths before those of the next ones are not read: after a pass
of equal batches, and in the first one. Chosen by eye: a loader that sorts sequences by length yields many equal batches
at first."""


@attrs.define(eq=False)
class LossReportDetector:
    """Follows the batch losses of each epoch, and checks the reported loss.

    - RNN101: :func:`~rnncallbacks.detectors.loss.denominator.find_denominator` finds a wrong denominator.
    - RNN102: it finds one in exactly one phase, and another phase reports the mean of its batch losses. Also a
      validation loss that is the mean of a pass through the training phase, whose batches count as training.

    A denominator that is not certain counts once the epoch before had the same one.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> detector = LossReportDetector()
    >>> for index in (1, 2):
    ...     detector.add(Batch(None, "train", index, loss=1.5, sequences=32))
    >>> result = detector.check({"train": 3.0 / 64})
    >>> print(result.finding.message)
    train_loss is the mean batch loss divided by 32, the batch size: 0.04688 instead of 1.5
    >>> print(result.finding.remedy)
    divide the sum of the batch losses of train by the 2 batches, not by the 64 samples
    """

    _passes: dict[str, PhaseLosses] = state_field(factory=dict)
    _earlier_passes: dict[str, list[PhaseLosses]] = state_field(factory=dict)
    _training_passes: TrainingPasses = state_field(factory=TrainingPasses)
    _first_losses: dict[str, float] = state_field(factory=dict)
    _lengths: BatchLengths = state_field(factory=BatchLengths)
    _had_equal_batches: bool = state_field(False)  # the last pass of training
    _epochs: int = state_field(0)
    _last_denominators: dict[str, Denominator | None] = state_field(factory=dict)

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of the epoch, in the order in which they began."""
        return tuple(self._passes)

    def begin_epoch(self) -> None:
        """Forget the batch losses of the epoch before."""
        self._epochs += 1
        if TRAIN in self._passes:
            self._had_equal_batches = self._passes[TRAIN].has_equal_batches_but_one
        self._passes.clear()
        self._earlier_passes.clear()

    def add(self, batch: Batch) -> None:
        """Add a batch that ended. The first batch of a phase begins a new pass."""
        phase = batch.phase
        if batch.index == 1:
            if phase in self._passes:
                self._earlier_passes.setdefault(phase, []).append(self._passes[phase])
            self._passes[phase] = PhaseLosses(batch.count)
        losses = self._passes.get(phase)
        if losses is None:
            return
        if batch.skipped:
            losses.discard()  # the script's sum may or may not contain it
            return
        sequences, steps, tokens = self._lengths.read(batch)
        losses.add(batch.loss, sequences=sequences, steps=steps, tokens=tokens)
        if batch.loss is not None:
            self._first_losses.setdefault(phase, batch.loss)

    @property
    def knows_next_lengths(self) -> bool:
        """Whether the next training batches, up to the last one of the pass, have the lengths of those before."""
        losses = self._passes.get(TRAIN)
        if losses is None or losses.expected is None:
            return False
        needed = EQUAL_BATCHES if self._had_equal_batches else FIRST_EQUAL_BATCHES
        return losses.batches >= needed and losses.has_equal_batches

    def add_missed(self, losses: Sequence[float], batches: int) -> None:
        """Add the losses of training batches that were left out, while ``knows_next_lengths``.

        There were ``batches`` of them; if some have no loss, the script's sum may or may not contain it.
        """
        if batches and TRAIN in self._passes:
            self._passes[TRAIN].add_equal(losses)
            if len(losses) < batches:
                self._passes[TRAIN].discard()

    def check(self, reported: Mapping[str, object], *, stopped: bool = False) -> CheckResult:
        """Check an epoch.

        ``reported`` maps phases to reported losses, also phases without a batch; values other than finite numbers above
        0 are ignored. ``stopped``: the run stopped within the epoch, so the script may have planned more batches.
        """
        passes = [one for one in (*self._earlier_passes.get(TRAIN, ()), self._passes.get(TRAIN)) if one is not None]
        counted = self._training_passes.check(
            {name: value for name, value in reported.items() if name not in self._passes}, passes
        )
        if counted is not None:
            return CheckResult(finding=counted)
        reports: dict[str, float] = {}
        right: list[str] = []
        wrong: dict[str, Denominator] = {}
        for phase, losses in self._passes.items():
            value = reported.get(phase)
            if isinstance(value, float | int) and value > 0.0:
                losses = self._pass_of_report(phase, float(value))
            if not losses.is_comparable or not isinstance(value, float | int) or not 0.0 < value < math.inf:
                continue
            if stopped and losses.expected is None:
                continue
            reports[phase] = float(value)
            found = self._confirmed(phase, float(value), losses)
            if found is not None:
                wrong[phase] = found
            elif is_batch_mean(float(value), losses) or is_within_batch_losses(float(value), losses):
                right.append(phase)
        result = attrs.evolve(self._checked(reports, right, wrong), finding=self._finding(reports, right, wrong))
        if any(is_validation(phase) and phase not in self._passes for phase in reported):
            return attrs.evolve(result, not_checked={**result.not_checked, **NO_PHASE})
        return result

    def _pass_of_report(self, phase: str, reported: float) -> PhaseLosses:
        """The pass of the epoch that a report is the mean of; the last one if it is of none."""
        for one in self._earlier_passes.get(phase, ()):
            if one.is_comparable and is_batch_mean(reported, one):
                self._passes[phase] = one
        return self._passes[phase]

    def _confirmed(self, phase: str, reported: float, losses: PhaseLosses) -> Denominator | None:
        """The phase's denominator if it is certain in the first epoch, or that of the epoch before agrees."""
        others = {name: one for name, one in self._passes.items() if name != phase and one.is_comparable}
        found = find_denominator(
            reported, losses, phase=phase, vocab_size=self._lengths.vocab_size(phase), other_phases=others
        )
        first_time, before = phase not in self._last_denominators, self._last_denominators.get(phase)
        self._last_denominators[phase] = found
        if found is None or not ((first_time and found.certain) or found.agrees(before)):
            return None
        return found

    def _checked(self, reports: Mapping[str, float], right: list[str], wrong: Mapping[str, Denominator]) -> CheckResult:
        unexplained = [phase for phase in reports if phase not in right and phase not in wrong]
        compared = " and ".join(
            f"the reported {phase} loss with {_batch_losses(self._passes[phase].batches)} of epoch {self._epochs}"
            for phase in reports
            if phase not in unexplained
        )
        checked = {"RNN101": compared} if reports and not unexplained and not wrong else {}
        if len(right) + len(wrong) > 1:
            checked["RNN102"] = compared
        if not any(losses.is_comparable for losses in self._passes.values()):
            return CheckResult(checked=checked)
        if wrong:
            return CheckResult(checked=checked, withdrawn={"RNN101": ONE_PHASE_IS_WRONG}, not_checked=NOT_REPORTED)
        if not unexplained:
            return CheckResult(checked=checked, not_checked=NOT_REPORTED)
        what = f"what run.log({unexplained[0]}_loss=...) reports"
        why = f"{what} is neither a mean of the batch losses nor explained by a known count"
        cannot_tell = dict.fromkeys(("RNN101", "RNN102") if len(reports) > 1 else ("RNN101",), why)
        return CheckResult(checked=checked, cannot_tell=cannot_tell, not_checked=NOT_REPORTED)

    def _finding(
        self, reports: Mapping[str, float], right: list[str], wrong: Mapping[str, Denominator]
    ) -> Finding | None:
        if not wrong:
            return None
        evidence: dict[str, float | int | str] = {}
        for phase, found in wrong.items():
            evidence |= {
                f"{phase}_loss": reports[phase],
                f"{phase}_batch_mean": self._passes[phase].mean,
                f"{phase}_batches": self._passes[phase].batches,
                f"{phase}_divisor": found.value,
            }
        messages = [
            denominator_message(phase, reports[phase], self._passes[phase], one) for phase, one in wrong.items()
        ]
        remedies = [denominator_remedy(phase, self._passes[phase], one) for phase, one in wrong.items()]
        if len(wrong) == 1 and right:
            code = "RNN102"
            messages.append(f"{right[0]}_loss is the mean of its batch losses")
            sums = self._sums_against_means(next(iter(wrong)), right[0], *wrong.values())
        else:
            code = "RNN101"
            sums = all(
                batch_losses_may_be_sums(one, self._first_losses[phase], self._lengths.uniform_loss(phase))
                for phase, one in wrong.items()
            )
        if sums:
            messages.append("that is correct only if the batch losses are sums, as their size suggests")
        severity: Severity | None = "info" if sums else None
        return Finding(code, "; ".join(messages), evidence, severity, remedy="; ".join(remedies))

    def _sums_against_means(self, wrong: str, right: str, found: Denominator) -> bool:
        """Whether one phase's batch losses are larger than the other's by about the factor of the denominator."""
        if found.kind in ("both phases", "wrong phase"):
            return False
        larger, smaller = (wrong, right) if found.factor > 1.0 else (right, wrong)
        ratio = self._passes[larger].mean / self._passes[smaller].mean
        return is_sum_over(ratio, max(found.factor, 1.0 / found.factor))


def _batch_losses(count: int) -> str:
    return "the one batch loss" if count == 1 else f"the {count} batch losses"
