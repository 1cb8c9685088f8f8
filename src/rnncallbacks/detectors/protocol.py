"""RNN701, the training loop breaks the protocol: compares the times of parameter changes with the calls of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from rnncallbacks.alarms.catalogue import Severity
from rnncallbacks.alarms.finding import NOTHING_COMPARED, CheckResult, Finding
from rnncallbacks.arrays.fingerprints import fingerprint_or_none
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.resting import period_at
from rnncallbacks.core.run import TRAIN

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


@attrs.frozen(kw_only=True)
class ProtocolThresholds:
    """Schedule of the inspected batches, and numbers of batches with the same violation. Chosen by eye."""

    first_batches: int = 10
    """Batches of a phase, from the beginning of a run, that are all inspected. A bound on the cost."""
    period: int = 100
    """Later, the first two batches of each period of this number are inspected. It doubles three times, as the number
    of batches does."""
    training_batches: int = 3
    """Inspected training batches in a row with the same violation: loops may skip single batches."""
    validation_batches: int = 2
    """Inspected batches of another phase in which parameters changed."""
    batches_without_backward: int = 20
    """Training batches without run.backward reported before the end of an epoch: loops may accumulate gradients."""


PROTOCOL = ProtocolThresholds()


@attrs.define(eq=False)
class OpenBatch:
    """Fingerprints of the parameters in a batch that is open.

    Parameters
    ----------
    inspected:
        Whether fingerprints are taken.
    first:
        Whether it is the first batch of its phase.
    at_start:
        The fingerprint when the batch had begun, after all plugins.
    at_backward:
        The fingerprint when run.backward was called, before all other plugins.
    called_backward:
        Whether run.backward was called.
    """

    inspected: bool
    first: bool
    at_start: bytes | None = None
    at_backward: bytes | None = None
    called_backward: bool = False


@attrs.define(eq=False)
class ParameterChangeCounts:
    """Numbers of batches of a phase in which the parameters changed, by the time of the change.

    Parameters
    ----------
    batches:
        The counted batches.
    between_batches:
        Changes between the end of a batch and the beginning of the next.
    before_backward, after_backward:
        Changes before and after run.backward; in phases without it, ``after_backward`` counts all changes.
    without_backward:
        Changes in training batches that did not call run.backward.
    at_start:
        The fingerprint at the start of the first batch.
    fingerprints:
        Those before and after each change in the open pass through the phase.
    """

    batches: int = 0
    between_batches: int = 0
    before_backward: int = 0
    after_backward: int = 0
    without_backward: int = 0
    at_start: bytes | None = None
    fingerprints: set[bytes | None] = attrs.field(factory=set)


@attrs.define(eq=False)
class ProtocolDetector:
    """Finds RNN701 from the times at which the parameters change.

    In each batch, call :meth:`open_batch` before other plugins at its start, :meth:`start_batch` after them if the
    batch is inspected, :meth:`call_backward` when run.backward is called, and at the batch's end :meth:`count_backward`
    and :meth:`end_batch`. Those between may be left out for ``batches_to_next``, if :meth:`skip` counts them.

    Example
    -------
    >>> import numpy as np
    >>> from rnncallbacks.core.batch import Batch
    >>> detector, params = ProtocolDetector(), {"w": np.ones(3)}
    >>> for index in (1, 2, 3):
    ...     batch = Batch(None, "train", index)
    ...     if detector.open_batch("train", params):
    ...         detector.start_batch("train", params)
    ...     params["w"] -= 0.1  # the update, too early
    ...     detector.call_backward("train", params)
    ...     result = detector.end_batch(batch, params, repairs=0)
    >>> result.finding.message.partition(":")[0]
    'parameters changed before run.backward and never after it'
    """

    _open: dict[str, OpenBatch] = state_field(factory=dict)
    _begun: dict[str, int] = state_field(factory=dict)
    _counts: dict[str, ParameterChangeCounts] = state_field(factory=dict)
    _reported: set[str] = state_field(factory=set)
    _at_training_end: bytes | None = state_field(None)
    _first_changed_before: bool = state_field(False)
    _backward_seen: bool = state_field(False)
    _batches_with_loss: int = state_field(0)
    _batches_without_loss: int = state_field(0)
    _repairs: int = state_field(0)
    _batches_compared: int = state_field(0)
    _batches_updated: int = state_field(0)

    def start_run(self, repairs: int) -> None:
        """Set the number of repairs before the run started."""
        self._repairs = repairs

    def start_epoch(self) -> None:
        """Allow each kind of violation to be reported again."""
        self._reported.clear()
        self._at_training_end = None

    def skip(self, batches: int) -> None:
        """Count training batches that were left out, since none of them is inspected."""
        if batches:
            self._begun[TRAIN], self._at_training_end = self._begun.get(TRAIN, 0) + batches, None

    @property
    def batches_to_next(self) -> int:
        """The number of training batches until the next one that counts, 1 for the next batch."""
        number = self._begun.get(TRAIN, 0) + 1
        period = period_at(number, PROTOCOL.period)
        return 1 + -number % period if self._backward_seen and not self._is_inspected(number) else 1

    def open_batch(self, phase: str, params: object) -> bool:
        """Begin a batch before other plugins, count a change since the last one; return whether it is inspected."""
        number = self._begun[phase] = self._begun.get(phase, 0) + 1
        inspected = self._is_inspected(number)
        if not inspected and self._backward_seen:  # nothing would be compared
            self._at_training_end = None if phase == TRAIN else self._at_training_end
            return False
        self._open[phase] = OpenBatch(inspected, first=number == 1)
        if inspected and phase == TRAIN and self._at_training_end is not None:
            changed = fingerprint_or_none(params) != self._at_training_end
            self._counts_of(phase).between_batches += changed
        return inspected

    def start_batch(self, phase: str, params: object) -> None:
        """Take the fingerprint after all plugins at the start of the batch: their changes are not violations."""
        if phase in self._open:  # unless a plugin left the run at the start of the batch
            self._open[phase].at_start = fingerprint_or_none(params)

    def call_backward(self, phase: str, params: object) -> None:
        """Take the fingerprint at run.backward."""
        opened = self._open.get(phase)
        if opened is None:
            return
        self._backward_seen = opened.called_backward = True
        if opened.inspected:
            opened.at_backward = fingerprint_or_none(params)

    def count_backward(self, batch: Batch) -> CheckResult:
        """Count a batch at its end, if it is one of training without run.backward."""
        opened = self._open.get(batch.phase)
        if opened is None or batch.phase != TRAIN or opened.called_backward or batch.skipped:
            return NOTHING_COMPARED
        self._batches_with_loss += batch.loss is not None
        self._batches_without_loss += batch.loss is None
        if self._backward_seen or self._batches_without_backward != PROTOCOL.batches_without_backward:
            return NOTHING_COMPARED
        return CheckResult(finding=self._without_any_backward())

    def end_batch(self, batch: Batch, params: object, repairs: int) -> CheckResult:
        """End a batch. ``repairs`` is the number of repairs so far: changes by a repair are not violations."""
        phase = batch.phase
        opened = self._open.pop(phase, None)
        if opened is None:
            return NOTHING_COMPARED
        if not opened.inspected or opened.at_start is None:
            if phase == TRAIN:
                self._at_training_end = None
            return NOTHING_COMPARED
        at_end, result = fingerprint_or_none(params), CheckResult()
        counts = self._counts_of(phase)
        if repairs > self._repairs:
            self._repairs = repairs
            self._counts.clear()
        elif phase == TRAIN:
            result = self._check_training(batch, opened, at_end, counts)
        else:
            counts.at_start = counts.at_start or opened.at_start
            counts.batches += 1
            counts.after_backward += at_end != opened.at_start
            if batch.index == 1:
                counts.fingerprints.clear()
            if at_end != opened.at_start:
                counts.fingerprints |= {opened.at_start, at_end}
            # Parameters that are swapped for the validation are restored after it; nothing was trained then.
            is_due = counts.batches == PROTOCOL.validation_batches and at_end != counts.at_start
            if is_due or len(counts.fingerprints) > PROTOCOL.validation_batches:
                result = CheckResult(finding=self._check_validation(phase, counts))
        if phase == TRAIN:
            self._at_training_end = at_end
        return result

    def end_epoch(self, params: object) -> list[CheckResult]:
        """Check short validations, and an epoch without run.backward."""
        found: list[Finding | None] = []
        for phase, counts in list(self._counts.items()):
            if phase != TRAIN and counts.batches:
                if fingerprint_or_none(params) != counts.at_start:
                    found.append(self._check_validation(phase, counts))
                self._counts.pop(phase, None)
        if not self._backward_seen and self._batches_without_backward > 1:
            found.append(self._without_any_backward())
        return [CheckResult(finding=one) for one in found]

    @property
    def _batches_without_backward(self) -> int:
        return self._batches_with_loss + self._batches_without_loss

    def _is_inspected(self, number: int) -> bool:
        period = period_at(number, PROTOCOL.period)
        return number <= PROTOCOL.first_batches or number % period < 2

    def _counts_of(self, phase: str) -> ParameterChangeCounts:
        return self._counts.setdefault(phase, ParameterChangeCounts())

    def _check_training(
        self, batch: Batch, opened: OpenBatch, at_end: bytes | None, counts: ParameterChangeCounts
    ) -> CheckResult:
        wanted = PROTOCOL.training_batches
        if opened.at_backward is None:
            counts.without_backward += at_end != opened.at_start and not batch.skipped
            if counts.without_backward < wanted:
                return NOTHING_COMPARED
            message = (
                f"parameters changed without run.backward: in {counts.without_backward} training batches that did not "
                "call run.backward, so no plugin saw these gradients"
            )
            return CheckResult(finding=self._report("without", message, {"changed": counts.without_backward}))
        changed_before, changed_after = opened.at_backward != opened.at_start, at_end != opened.at_backward
        counts.batches += 1
        counts.before_backward += changed_before
        counts.after_backward += changed_after
        if opened.first:
            self._first_changed_before = changed_before and not changed_after
        if counts.batches < wanted:
            return NOTHING_COMPARED
        found = self._check_order(counts)
        self._counts[TRAIN] = ParameterChangeCounts()
        self._batches_compared += counts.batches
        self._batches_updated += counts.after_backward
        compared = (
            f"parameters changed after run.backward in {self._batches_updated} of {self._batches_compared} training "
            "batches that were compared"
        )
        if not self._batches_updated:
            return CheckResult(finding=found, cannot_tell={"RNN701": compared})
        return CheckResult(finding=found, checked={"RNN701": compared})

    def _check_order(self, counts: ParameterChangeCounts) -> Finding | None:
        if counts.after_backward:
            return None
        evidence = {
            "batches": counts.batches,
            "changed_before_backward": counts.before_backward,
            "changed_after_backward": counts.after_backward,
            "changed_between_batches": counts.between_batches,
        }
        if counts.before_backward == counts.batches and self._first_changed_before:
            message = (
                f"parameters changed before run.backward and never after it: in {counts.before_backward} of "
                f"{counts.batches} training batches, so plugins saw the gradients too late"
            )
            return self._report("before", message, evidence)
        if not counts.before_backward and counts.between_batches >= PROTOCOL.training_batches:
            message = (
                f"parameters changed between training batches, in the loader: {counts.between_batches} times, and "
                "never after run.backward; update them in the loop's body, after run.backward"
            )
            return self._report("between", message, evidence)
        return None

    def _check_validation(self, phase: str, counts: ParameterChangeCounts) -> Finding | None:
        if counts.after_backward != counts.batches and len(counts.fingerprints) <= PROTOCOL.validation_batches:
            return None
        message = (
            f"parameters changed in the phase {phase}: in {counts.after_backward} of {counts.batches} batches of "
            f"{phase}; update them in the phase {TRAIN!r} only"
        )
        return self._report(phase, message, {"batches": counts.batches, "changed": counts.after_backward})

    def _without_any_backward(self) -> Finding | None:
        severity: Severity | None = "info" if self._batches_without_loss == 0 else None
        batches = self._batches_without_backward
        self._batches_with_loss = self._batches_without_loss = 0
        if "without" in self._reported:
            return None
        message = f"no training batch called run.backward: 0 of {batches} batches, so no plugin sees a gradient"
        return self._report("missing", message, {"batches": batches, "with_backward": 0}, severity)

    def _report(
        self, violation: str, message: str, evidence: dict[str, int], severity: Severity | None = None
    ) -> Finding | None:
        """A finding, unless this violation was reported in this epoch; counting starts again."""
        self._counts.clear()
        if violation in self._reported:
            return None
        self._reported.add(violation)
        return Finding("RNN701", message, evidence, severity)
