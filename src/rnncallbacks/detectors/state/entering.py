"""RNN201, the hidden state leaks between unrelated sequences: checks the state that enters a batch."""

from __future__ import annotations

import attrs

from rnncallbacks.alarms.catalogue import Severity
from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import BoolArray
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import TRAIN
from rnncallbacks.detectors.state.border_dependence import BorderDependence
from rnncallbacks.detectors.state.contiguity import ContiguityCounts
from rnncallbacks.detectors.state.continuation import Continuation, compare_row_ends
from rnncallbacks.detectors.state.entering_counts import EnteringStateCounts
from rnncallbacks.detectors.state.inspected_batches import InspectedBatch, PhaseHistory
from rnncallbacks.detectors.state.state_origin import StateOrigin
from rnncallbacks.detectors.state.wrapped_targets import count_wrapping, wrapped_targets


@attrs.frozen(kw_only=True)
class StateLeakThresholds:
    """Numbers of batches for a leak. All were chosen by eye; the test is that of contiguity."""

    broken_batches: int = 3
    """Batches of a phase in which less than half of the rows continue, for a leak within the phase."""

    broken_batches_across_phases: int = 1
    """The same for a leak from another phase."""

    broken_batches_at_epoch_end: int = 1
    """The same at the end of an epoch, if all of its batches are broken."""

    wrapping_share: float = 0.9
    """Share of the rows that do not continue, above which targets that wrap around explain them."""

    moved_batches: int = 3
    """Batches of a later epoch that carry the state, and in which most sequences follow others than in the first."""

    moved_share: float = 0.5
    """Share of the sequences of these batches, above which they are unrelated: 1 was measured where batches are
    shuffled, and 0 in streams."""

    undecided_batches: int = 80
    """Batches of a phase that are inspected as long as some rows continue and others do not: in a small vocabulary, a
    third of unrelated rows continue by chance."""

    carried_batches: int = 8
    """Batches that carried the state, with none that did not, after which a batch whose state is not seen is taken to
    carry it, too."""

    quiet_batches: int = 10
    """Batches of the phase after a finding in which it is not reported again."""


STATE_LEAK = StateLeakThresholds()


@attrs.define(eq=False)
class PhaseLeaks:
    """Counts of the batches of one phase into which states were carried.

    ``within`` counts the rows that continue the row before in the same phase, ``border`` compares those whose values do
    not show it, and ``across`` counts them by the other phase
    whose state entered. ``wrapping`` are the rows that do not continue, and follow a row whose last target is its own
    first input. In ``moved`` batches, most of the sequences that a state was carried into follow others than in the
    first epoch: ``moved_rows`` of ``moved_of`` sequences. ``state_rms`` is the root mean square of the latest state
    that entered. Nothing is reported before batch ``quiet_until`` of the phase.
    """

    within: ContiguityCounts = state_field(factory=ContiguityCounts)
    border: BorderDependence = state_field(factory=BorderDependence)
    across: dict[str, ContiguityCounts] = state_field(factory=dict)
    wrapping: int = state_field(0)
    moved: int = state_field(0)
    moved_rows: int = state_field(0)
    moved_of: int = state_field(0)
    state_rms: float = state_field(0.0)
    quiet_until: int = state_field(0)


@attrs.define(eq=False)
class StateLeakDetector:
    """Finds RNN201 in inspected batches.

    A leak needs two things: the state that enters is the final state of an earlier batch, and the rows do not continue
    the rows of that batch. The second follows from the loader's ``starts``, else from the contiguity of inputs and
    targets.
    """

    _phases: dict[str, PhaseLeaks] = state_field(factory=dict)
    _entered: dict[str, EnteringStateCounts] = state_field(factory=dict)
    _compared: dict[str, str] = state_field(factory=dict)

    def check(self, current: InspectedBatch, origin: StateOrigin | None, moved: BoolArray | None = None) -> CheckResult:
        """Check a batch; ``origin`` is the earlier batch that its entering state comes from.

        ``moved`` masks the sequences that follow others than in the first epoch; None if they cannot be compared.
        """
        entered = self._entered.setdefault(current.phase.name, EnteringStateCounts())
        if origin is None:
            return self._result(current.phase, entered) if entered.count_new(current) else CheckResult()
        leaks = self._phases.setdefault(current.phase.name, PhaseLeaks())
        if origin.other_phase is not None:
            counts = leaks.across.setdefault(origin.other_phase, ContiguityCounts())
        elif _follows(current, origin):
            counts = leaks.within
        else:
            return CheckResult()
        leaks.state_rms = origin.rms
        new_sequences = current.new_sequences(len(origin.rows))
        if new_sequences is not None:
            entered.by_starts += 1
            found = self._check_starts(current, origin, leaks, new_sequences)
        else:
            entered.carried += 1
            found = self._check_moved(current, origin, leaks, moved)
            if found is not None:
                return attrs.evolve(self._result(current.phase, entered), finding=found)
            order = _compare_with_earlier(current, origin)
            found = self._check_border(current, origin, leaks, order)
            if found is not None:
                return attrs.evolve(self._result(current.phase, entered), finding=found)
            if order is None:
                entered.undecided += 1
                return self._result(current.phase, entered)
            counts.add(order, origin.rows)
            leaks.wrapping += count_wrapping(current, origin, order)
            found = self._check_contents(current.phase, origin.other_phase, leaks, counts)
        return attrs.evolve(self._result(current.phase, entered), finding=found)

    def is_undecided(self, phase: PhaseHistory) -> bool:
        """Whether more batches of a phase have to be seen: the rows do not show yet whether batches are contiguous."""
        leaks = self._phases.get(phase.name)
        if leaks is None or phase.number >= STATE_LEAK.undecided_batches or leaks.border.verdict:
            return False
        if not leaks.within.rows and not leaks.border.rows:
            return False
        return not leaks.quiet_until and not leaks.within.are_contiguous(phase.shift.agreement or 1.0)

    def _result(self, phase: PhaseHistory, entered: EnteringStateCounts) -> CheckResult:
        """The comparisons in the phase so far, and whether they decide."""
        leaks = self._phases.get(phase.name)
        counts = [] if leaks is None else [leaks.within, *leaks.across.values()]
        rows = sum(one.rows for one in counts)
        continuing = sum(one.continuing for one in counts)
        if entered.undecided == entered.carried > 0:
            why = "its inputs and targets do not show whether rows continue"
        else:
            why = f"{continuing} of {rows} rows continue the row before"
        agreement = phase.shift.agreement or 1.0
        if leaks is not None and leaks.border.verdict == "contiguous":
            why = f"{leaks.border.rows} rows depend on the end of the row before as steps do within rows"
        elif entered.undecided or any(one.rows and not one.are_contiguous(agreement) for one in counts):
            reason = f"the state of an earlier batch entered {entered.carried} batches of {phase.name}, and {why}"
            self._compared.pop(phase.name, None)
            return CheckResult(withdrawn={"RNN201": reason})
        self._compared[phase.name] = entered.text(why)
        if TRAIN not in self._compared:
            return CheckResult()  # the states of a validation say nothing about those of training
        return CheckResult(checked={"RNN201": "; ".join(f"in {name}, {text}" for name, text in self._compared.items())})

    def end_epoch(self, phase: PhaseHistory) -> CheckResult:
        """Check the batches of a short epoch in which no row continued."""
        leaks = self._phases.get(phase.name)
        if leaks is None or leaks.within.broken_batches < leaks.within.batches:
            return CheckResult()
        wanted = STATE_LEAK.broken_batches_at_epoch_end
        found = self._check_counts(phase, leaks, leaks.within, None, f"batches of {phase.name}", wanted)
        return CheckResult(finding=found)

    def _check_starts(
        self, current: InspectedBatch, origin: StateOrigin, leaks: PhaseLeaks, new_sequences: BoolArray
    ) -> Finding | None:
        leaking = int((origin.rows & new_sequences).sum())
        phase = current.phase
        if not leaking or phase.number < leaks.quiet_until:
            return None
        leaks.quiet_until = phase.number + STATE_LEAK.quiet_batches
        message = (
            f"the final state of {_source(origin.other_phase)} entered sequences that begin here: in batch "
            f"{phase.index} of {phase.name}, {leaking} of {len(new_sequences)} sequences begin by the loader's starts "
            f"but enter with a state of RMS {origin.rms:.3g}, 0 expected"
        )
        evidence = {
            "state_rms": origin.rms,
            "expected_rms": 0.0,
            "leaking_sequences": leaking,
            "sequences": len(new_sequences),
        }
        return Finding("RNN201", message, evidence, _severity(phase, origin.other_phase))

    def _check_moved(
        self, current: InspectedBatch, origin: StateOrigin, leaks: PhaseLeaks, moved: BoolArray | None
    ) -> Finding | None:
        """RNN201 if the sequences that a state was carried into followed others in the first epoch."""
        if moved is None or origin.other_phase is not None:
            return None
        if len(moved) != len(origin.rows) and not origin.rows.all():
            return None
        counted = moved[origin.rows] if len(moved) == len(origin.rows) else moved
        return self._count_moved(current.phase, leaks, counted)

    def _check_border(
        self, current: InspectedBatch, origin: StateOrigin, leaks: PhaseLeaks, order: Continuation | None
    ) -> Finding | None:
        """RNN201 if steps depend on the step before within rows, but not across the border of batches."""
        border, by_value = leaks.border, order is not None and order.ends is not None
        if by_value or origin.other_phase is not None or origin.earlier.ends is None or current.ends is None:
            return None
        if border.verdict or not origin.rows.all():
            return None
        if not border.add(origin.earlier.ends, current.ends):
            return None
        leaks.quiet_until = current.phase.number + STATE_LEAK.quiet_batches
        return border.finding(f"batch {current.phase.index} of {current.phase.name}", origin.rms)

    def check_unseen(self, current: InspectedBatch, moved: BoolArray | None) -> CheckResult:
        """RNN201 by the order of the batches, for a batch whose state is not seen, if all that were seen carried one.

        A script that shows no states is followed through its first batches alone, and these may look contiguous.
        """
        entered, leaks = self._entered.get(current.phase.name), self._phases.get(current.phase.name)
        if entered is None or leaks is None or moved is None:
            return CheckResult()
        carries = entered.batches == entered.carried >= STATE_LEAK.carried_batches
        if not carries or current.batch.starts is not None:
            return CheckResult()
        return CheckResult(finding=self._count_moved(current.phase, leaks, moved))

    def _count_moved(self, phase: PhaseHistory, leaks: PhaseLeaks, counted: BoolArray) -> Finding | None:
        if phase.index == 1:
            return None
        leaks.moved_rows += int(counted.sum())
        leaks.moved_of += len(counted)
        leaks.moved += bool(len(counted)) and 2 * int(counted.sum()) > len(counted)
        share = leaks.moved_rows / max(leaks.moved_of, 1)
        known = leaks.moved >= STATE_LEAK.moved_batches and share > STATE_LEAK.moved_share
        if not known or phase.number < leaks.quiet_until:
            return None
        leaks.quiet_until = phase.number + STATE_LEAK.quiet_batches
        message = (
            f"the final state of the batch before entered unrelated sequences: {leaks.moved_rows} of {leaks.moved_of} "
            f"sequences ({share:.0%}) follow another one than in the first epoch, 0 expected in a stream; the latest "
            f"state that was seen to enter has RMS {leaks.state_rms:.3g}, 0 expected"
        )
        evidence = {
            "state_rms": leaks.state_rms,
            "expected_rms": 0.0,
            "moved_share": share,
            "rows": leaks.moved_of,
            "batches": leaks.moved,
        }
        return Finding("RNN201", message, evidence)

    def _check_contents(
        self, phase: PhaseHistory, other: str | None, leaks: PhaseLeaks, counts: ContiguityCounts
    ) -> Finding | None:
        wanted = STATE_LEAK.broken_batches if other is None else STATE_LEAK.broken_batches_across_phases
        return self._check_counts(phase, leaks, counts, other, f"batch {phase.index} of {phase.name}", wanted)

    def _check_counts(
        self,
        phase: PhaseHistory,
        leaks: PhaseLeaks,
        counts: ContiguityCounts,
        other: str | None,
        where: str,
        wanted: int,
    ) -> Finding | None:
        expected = phase.shift.agreement or 1.0
        if counts.broken_batches < wanted or phase.number < leaks.quiet_until:
            return None
        if not counts.cannot_be_contiguous(expected):
            return None
        if leaks.wrapping >= STATE_LEAK.wrapping_share * (counts.rows - counts.continuing):
            self._entered[phase.name].undecided += 1
            found = wrapped_targets(leaks.wrapping, counts)
            counts.clear()
            leaks.wrapping = 0
            return found
        message = (
            f"the final state of {_source(other)} entered unrelated sequences: {counts.continuing} of {counts.rows} "
            f"rows ({counts.share:.0%}) continue the row before, {expected:.0%} expected in contiguous batches; the "
            f"state that entered {where} has RMS {leaks.state_rms:.3g}, 0 expected"
        )
        evidence = {
            "state_rms": leaks.state_rms,
            "expected_rms": 0.0,
            "continuing_share": counts.share,
            "contiguous_share": expected,
            "rows": counts.rows,
            "batches": counts.batches,
        }
        counts.clear()
        leaks.quiet_until = phase.number + STATE_LEAK.quiet_batches
        return Finding("RNN201", message, evidence, _severity(phase, other))


def _compare_with_earlier(current: InspectedBatch, origin: StateOrigin) -> Continuation | None:
    """Mask of the rows that continue those of the earlier batch; None if it is unknown for all."""
    if origin.earlier.ends is None or current.ends is None:
        return None
    order = compare_row_ends(origin.earlier.ends, current.ends, current.phase.shift.steps)
    if not order.known.any() and getattr(current.batch.data, "starts", 0) is None:
        # A batch of the library's own class that could mark its starts, and does not: all of its sequences begin.
        order = Continuation(order.continues, ~order.known)
    return order if order.known.any() else None


def _follows(current: InspectedBatch, origin: StateOrigin) -> bool:
    """Whether the batch follows the earlier one in its epoch, or both are the only ones of theirs.

    Rows do not continue from one epoch to the next in a stream either, and little is lost.
    """
    index, earlier = current.phase.index, origin.earlier.index
    return index == earlier + 1 or index == earlier == 1


def _source(other_phase: str | None) -> str:
    return "the batch before" if other_phase is None else f"the phase {other_phase}"


def _severity(phase: PhaseHistory, other_phase: str | None) -> Severity | None:
    """The severity; info for a training state in a validation, which changes no parameter."""
    return "info" if other_phase is not None and phase.name != TRAIN else None
