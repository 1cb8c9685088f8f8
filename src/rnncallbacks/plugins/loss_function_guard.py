"""Guard: whether the loss is a mean negative log-likelihood, and where it begins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.arrays import Array, named_arrays
from rnncallbacks.evidence import sequences_of
from rnncallbacks.guarding import Guard
from rnncallbacks.hookspecs import hookimpl
from rnncallbacks.loss_scale import (
    TOO_LARGE,
    LossKind,
    Vocabulary,
    counts_of,
    kind_at_first,
    kind_at_zero,
    vocabulary_of,
)
from rnncallbacks.probing import CannotProbe, evaluate, put_back
from rnncallbacks.updates import FOLLOWS, follows_gradient

if TYPE_CHECKING:
    from rnncallbacks.catalogue import Severity
    from rnncallbacks.gradients import Gradients
    from rnncallbacks.records import Batch
    from rnncallbacks.run import Run

LOOKED_AT = 5
"""Batches whose targets show the vocabulary."""


@attrs.define(eq=False, kw_only=True)
class LossFunctionGuard(Guard):
    r"""Finds out in the first batches what the loss is, from its size.

    With ``closure=`` and ``Run(params)``, it evaluates the first batch's loss once with all parameters at zero, and
    puts them back. Every softmax is then uniform, so that a mean negative log-likelihood is exactly :math:`\ln V`,
    whatever the initialisation. Without, it compares the first loss with :math:`\ln V`.

    - RNN301: it is a sum, n times as large, with n the time steps, the sequences, or both. A note where the first
      update does not follow the gradient's scale, as with Adam.
    - RNN302: it is a squared error between probabilities and one-hot targets.
    - RNN303: it is a mean, but the first loss is more than 1.5 times :math:`\ln V`: the weights are too large.

    Targets have to be tokens: pairs of inputs and targets from the loader, or ``run.observe(targets=...)``. A run that
    resumes is not judged.

    Options
    -------
    action:
        What to do about a finding: "warn" goes on, "stop" ends the run, "raise" ends it with an error, "repair" goes
        on, as no function of the script is ever rewritten.

    Example
    -------
    >>> LossFunctionGuard().codes
    ('RNN301', 'RNN302', 'RNN303')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN301", "RNN302", "RNN303")

    _settled: bool = attrs.field(default=False, init=False, repr=False)
    _losses: list[float] = attrs.field(factory=list, init=False, repr=False)
    _vocabulary: Vocabulary | None = attrs.field(default=None, init=False, repr=False, metadata={"checkpoint": False})
    _counts: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _at_zero: float | None = attrs.field(default=None, init=False, repr=False)
    _follows: float = attrs.field(default=math.nan, init=False, repr=False)
    _before: dict[str, Array] = attrs.field(factory=dict, init=False, repr=False, metadata={"checkpoint": False})
    _raw: dict[str, Array] = attrs.field(factory=dict, init=False, repr=False, metadata={"checkpoint": False})

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        self._settled = run.epoch > 0
        self._losses, self._vocabulary, self._counts = [], None, {}
        self._at_zero, self._follows = None, math.nan

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch, grads: Gradients) -> None:
        self._before, self._raw = {}, {}
        if self._settled:
            return
        shown = sequences_of(batch)
        if shown.targets is None:
            self._give_up(run, "run.observe(inputs=..., targets=...), or a loader that yields the two")
            return
        if shown.targets.dtype.kind not in "iu":
            self._give_up(run, "the targets are no tokens")
            return
        assert batch.loss is not None
        if not math.isfinite(batch.loss) or batch.skipped:
            self._settled = bool(self._losses)
            return
        self._vocabulary = vocabulary_of(shown.targets, shown.vocab_size, self._vocabulary)
        if not self._losses:
            assert shown.inputs is not None
            self._counts = counts_of(shown.inputs.shape[:2], shown.time_axis, shown.targets, batch.tokens)
            self._at_zero = self._loss_at_zero(run, batch)
            if run.params is not None:
                self._before = {name: array.copy() for name, array in named_arrays(run.params, "params").items()}
                self._raw = {name: array.copy() for name, array in grads.items()}
        self._losses.append(batch.loss)

    @hookimpl(tryfirst=True)
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        before, raw, self._before, self._raw = self._before, self._raw, {}, {}
        if self._settled or batch.phase != "train" or batch.loss is None or not self._losses:
            return
        if before and not batch.skipped:
            self._follows = follows_gradient(before, named_arrays(run.params, "params"), raw)
        exact = self._vocabulary is not None and (self._vocabulary.exact or self._at_zero is not None)
        if len(self._losses) >= (1 if exact else LOOKED_AT):
            self._judge(run)

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        if self._losses and not self._settled:
            self._judge(run)

    def _loss_at_zero(self, run: Run, batch: Batch) -> float | None:
        """The batch's loss with all parameters at zero; None if that cannot be had."""
        if batch.closure is None or run.params is None:
            return None
        arrays = list(named_arrays(run.params, "params").values())
        if not all(array.flags.writeable for array in arrays):
            return None
        try:
            with put_back(arrays):
                for array in arrays:
                    array[...] = 0
                loss = evaluate(batch.closure)
        except CannotProbe:
            return None
        # A closure that does not see the parameters gives the loss of the batch as it was.
        return loss if math.isfinite(loss) and loss != batch.loss else None

    def _judge(self, run: Run) -> None:
        self._settled = True
        if self._vocabulary is None:
            self._give_up(run, "the first targets are all one token")
            return
        if self._at_zero is not None:
            found, seen = kind_at_zero(self._at_zero, self._vocabulary, self._counts), self._at_zero
            how = "with all parameters at zero"
        else:
            found, seen = kind_at_first(self._losses, self._vocabulary, self._counts), self._losses[0]
            how = "at first"
        first, uniform = self._losses[0], math.log(found.vocab_size)
        evidence: dict[str, float | int | str] = {
            "loss": first,
            "vocab_size": found.vocab_size,
            "uniform_loss": uniform,
            "ratio": seen / uniform,
        }
        if self._at_zero is not None:
            evidence["loss_at_zero"] = self._at_zero
        if found.kind == "unclear" and self._at_zero is not None:
            self._give_up(run, f"{how} the loss is {seen:.6g}, neither ln {found.vocab_size} nor a squared error")
            return
        if found.kind != "unclear":
            run.diagnosis.check("RNN301")
            run.diagnosis.check("RNN302")
        if found.kind == "sum":
            self._fire_sum(run, found, seen, how, evidence)
        elif found.kind == "squared error":
            message = f"{how} the loss is {seen:.6g}: that is the squared error of probabilities that are all 1 / "
            message += f"{found.vocab_size}, and their negative log-likelihood is ln {found.vocab_size} = {uniform:.6g}"
            self.fire(run, "RNN302", message, evidence)
        else:
            self._judge_start(run, found, evidence)

    def _fire_sum(
        self, run: Run, found: LossKind, seen: float, how: str, evidence: dict[str, float | int | str]
    ) -> None:
        uniform = math.log(found.vocab_size)
        message = f"{how} the loss is {seen:.6g}, {seen / uniform:.4g} times ln {found.vocab_size} = {uniform:.6g}: it "
        message += f"is summed over the {found.count:g} {found.over}"
        evidence |= {"summed_over": found.over, "count": found.count}
        severity: Severity | None = None
        if self._follows <= FOLLOWS:
            severity = "info"
            message += "; the first update does not follow the gradient's scale, so it may do no harm"
        self.fire(run, "RNN301", message, evidence, severity)

    def _judge_start(self, run: Run, found: LossKind, evidence: dict[str, float | int | str]) -> None:
        uniform = math.log(found.vocab_size)
        ratio = self._losses[0] / uniform
        if found.kind == "unclear" and ratio <= TOO_LARGE:
            for code in ("RNN301", "RNN302"):
                run.diagnosis.cannot_check(code, "pass closure= to run.backward: the first loss does not tell")
        run.diagnosis.check("RNN303")
        if ratio > TOO_LARGE:
            message = (
                f"the first loss is {self._losses[0]:.6g}, {ratio:.3g} times ln {found.vocab_size} = {uniform:.6g}, "
            )
            message += "what a network loses that knows nothing: it is sure of what is wrong"
            self.fire(run, "RNN303", message, evidence | {"ratio": ratio})

    def _give_up(self, run: Run, why: str) -> None:
        self._settled = True
        for code in self.codes:
            run.diagnosis.cannot_check(code, why)
