"""Guard: what the script reports as an epoch's loss against the batch losses that were really seen."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.finding import Finding
from rnncallbacks.detectors.loss.denominator import (
    Divisor,
    PhaseLosses,
    describe,
    explain,
    is_right,
    is_within,
    may_be_a_sum,
)
from rnncallbacks.detectors.sequences import Sequences, inputs_of, sequences_of

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity
    from rnncallbacks.core.batch import Batch, EpochSummary
    from rnncallbacks.core.run import Run

READ_BATCHES = 8
"""Batches of each phase whose targets are read, for the size of the vocabulary."""


# What a run that resumes finds out again, and a checkpoint need not keep.


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class LossReportGuard(Guard):
    r"""Compares each phase's reported loss with the mean of its batch losses.

    Reported is what the script logs with ``run.log(train_loss=...)``, for another phase under its name, else what
    ``loss_averaging`` computes. With the batch losses :math:`\ell_1, \dots, \ell_n` and the report :math:`r`,
    :math:`k = \sum_b \ell_b / r` is what the script divided by. A mean has k = n.

    - RNN101: k is another count: the samples, the tokens, 1 (never divided), the square of n (divided twice), the batch
      size, the time steps or the vocabulary, n times or n over one of these, or what another phase has. One more or one
      fewer than n, and whole numbers without a name, count if two epochs agree, such as the samples of batches of
      which the run was not told how many they hold.
    - RNN102: the same, of exactly one phase while another is right: the two curves cannot be compared.

    Means weighted by sequence or token are right. What no count explains is left alone: moving averages, medians,
    perplexities. If the batch losses look like sums over the very count (the first one is that many times ln V), the
    report may be right, and the finding is a note.

    Options
    -------
    action:
        "warn" goes on, "stop" ends the run, "raise" ends it with an error, "repair" asks ``self_repair`` for a remedy.

    Source: the founding observation of this library: an epoch's loss divided by ``len(training_set)``.

    Example
    -------
    >>> LossReportGuard(action="raise")
    LossReportGuard(action='raise')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN101", "RNN102")

    _passes: dict[str, PhaseLosses] = state_field(factory=dict, saved=False)
    _first: dict[str, float] = state_field(factory=dict, saved=False)
    _squares: dict[str, float] = state_field(factory=dict, saved=False)
    _vocab_sizes: dict[str, int] = state_field(factory=dict, saved=False)
    _read: dict[str, int] = state_field(factory=dict, saved=False)
    _sizes: dict[object, tuple[int | None, int | None]] = state_field(factory=dict, saved=False)
    _suspects: dict[str, Divisor | None] = state_field(factory=dict, saved=False)

    @hookimpl
    def on_fit_start(self) -> None:
        for known in (self._first, self._squares, self._vocab_sizes, self._read, self._sizes, self._suspects):
            known.clear()

    @hookimpl
    def on_epoch_start(self) -> None:
        self._passes.clear()

    @hookimpl
    def on_batch_end(self, batch: Batch) -> None:
        phase = batch.phase
        if batch.index == 1:
            self._passes[phase] = PhaseLosses(batch.count)
        losses = self._passes.get(phase)
        if losses is None:
            return
        if batch.skipped:
            losses.spoiled = True  # whether the script's sum has it is not to be known
            return
        sequences, steps = self._sizes_of(batch)
        tokens = batch.tokens
        if tokens is None and sequences is not None and steps is not None:
            tokens = sequences * steps
        losses.add(batch.loss, sequences=sequences, steps=steps, tokens=tokens)
        if batch.loss is not None:
            self._first.setdefault(phase, batch.loss)

    @hookimpl
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        right: list[str] = []
        off: dict[str, Divisor] = {}
        reports: dict[str, float] = {}
        for phase, losses in self._passes.items():
            reported = summary.logged.get(f"{phase}_loss", summary.losses.get(phase))
            if not losses.can_be_judged or not isinstance(reported, float | int) or not 0.0 < reported < math.inf:
                continue
            if run.stop_reason is not None and losses.expected is None:
                continue  # cut short, and nobody knows how many batches the script counts on
            reports[phase] = float(reported)
            found = self._judge(phase, float(reported), losses)
            if found is not None:
                off[phase] = found
            elif is_right(float(reported), losses) or is_within(float(reported), losses):
                right.append(phase)
        self._note(run, right, off, reports)
        if len(off) == 1 and right:
            (phase,) = off
            severity = self._severity_beside(off[phase], self._passes[phase], self._passes[right[0]])
            self._fire(run, "RNN102", reports, off, f"; {right[0]}_loss is the mean of its batches", severity)
        elif off:
            sums = [may_be_a_sum(found, self._first[phase], self._uninformed(phase)) for phase, found in off.items()]
            self._fire(run, "RNN101", reports, off, "", "info" if all(sums) else None)

    def _judge(self, phase: str, reported: float, losses: PhaseLosses) -> Divisor | None:
        """What explains the report, if it is certain and was so from the first, or two epochs agree."""
        others = {name: one for name, one in self._passes.items() if name != phase and one.can_be_judged}
        found = explain(reported, losses, vocab_size=self._vocab_sizes.get(phase), others=others)
        first, before = phase not in self._suspects, self._suspects.get(phase)
        self._suspects[phase] = found
        if found is None or not ((first and found.certain) or found.agrees(before)):
            return None
        return found

    def _uninformed(self, phase: str) -> float | None:
        """The mean loss of a network that knows nothing: ln V, or the mean square of the targets."""
        if self._vocab_sizes.get(phase, 0) > 1:
            return math.log(self._vocab_sizes[phase])
        return self._squares.get(phase) or None

    def _note(self, run: Run, right: list[str], off: dict[str, Divisor], reports: dict[str, float]) -> None:
        unexplained = [phase for phase in reports if phase not in right and phase not in off]
        if reports and not unexplained:
            run.diagnosis.check("RNN101")
        if len(right) + len(off) > 1:
            run.diagnosis.check("RNN102")
        if any(losses.can_be_judged for losses in self._passes.values()):
            own, own_two = "run.log(train_loss=...) your own epoch loss", "your own losses of two phases"
            odd = [
                f"what run.log({phase}_loss=...) reports is no mean of the batch losses, as far as can be seen"
                for phase in unexplained
            ]
            run.diagnosis.cannot_check("RNN101", odd[0] if odd else own)
            two = odd and len(reports) > 1
            run.diagnosis.cannot_check("RNN102", odd[0] if two else f"run.log(train_loss=..., val_loss=...) {own_two}")

    @staticmethod
    def _severity_beside(found: Divisor, off: PhaseLosses, right: PhaseLosses) -> Severity | None:
        """A note, if the phase's batch losses are themselves larger by about the factor: sums beside means."""
        between = off.mean / right.mean if found.factor > 1.0 else right.mean / off.mean
        factor = max(found.factor, 1.0 / found.factor)
        return "info" if between > max(math.sqrt(factor), 0.4 * factor) else None

    def _fire(
        self,
        run: Run,
        code: str,
        reports: dict[str, float],
        off: dict[str, Divisor],
        more: str,
        severity: Severity | None,
    ) -> None:
        sentences = []
        evidence: dict[str, float | int | str] = {}
        for phase, found in off.items():
            losses = self._passes[phase]
            sentences.append(describe(phase, reports[phase], losses, found))
            evidence |= {
                f"{phase}_loss": reports[phase],
                f"{phase}_batch_mean": losses.mean,
                f"{phase}_batches": losses.batches,
                f"{phase}_divisor": found.divisor,
            }
        if severity == "info":
            more += "; that is right only if the batch losses are sums, as these seem to be"
        self.fire(run, Finding(code, "; ".join(sentences) + more, evidence, severity))

    def _sizes_of(self, batch: Batch) -> tuple[int | None, int | None]:
        """Sequences of the batch and their time steps; arrays are read once for each shape."""
        given = batch.sequences or batch.batch_size
        inputs = inputs_of(batch)
        if inputs is None and isinstance(batch.data, np.ndarray) and batch.data.ndim == 2:
            return given or batch.data.shape[0], batch.data.shape[1]  # most loaders put the batch first
        if isinstance(inputs, np.ndarray):
            key: object = (inputs.shape, given)
        elif isinstance(inputs, Sized) and len(inputs):
            first = next(iter(inputs))  # type: ignore[call-overload]
            key = (len(inputs), len(first) if isinstance(first, Sized) else 0, given)
        else:
            return given, None
        if key not in self._sizes or self._read.get(batch.phase, 0) < READ_BATCHES:
            self._read[batch.phase] = self._read.get(batch.phase, 0) + 1
            shown = sequences_of(batch)
            self._learn(batch.phase, shown)
            if shown.time_axis is None and shown.inputs is not None and shown.inputs.ndim > 1:
                self._sizes[key] = shown.inputs.shape[0], shown.inputs.shape[1]  # most loaders put the batch first
            else:
                self._sizes[key] = shown.batch_size or given, shown.seq_len
        return self._sizes[key]

    def _learn(self, phase: str, shown: Sequences) -> None:
        if shown.targets is None or not shown.targets.size:
            return
        if shown.targets.dtype.kind == "f":
            self._squares.setdefault(phase, float(np.mean(np.square(shown.targets))))
        else:
            seen = shown.vocab_size or int(shown.targets.max()) + 1
            self._vocab_sizes[phase] = max(self._vocab_sizes.get(phase, 0), seen)
