"""Guard: what the curves and the data say where no structural cause does. No signal, overfitting, no progress."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.finding import Finding
from rnncallbacks.detectors.loss.constant_baseline import entropy
from rnncallbacks.detectors.progress.dependence import MISSING, Dependence, dependence
from rnncallbacks.detectors.progress.statistics import mann_kendall, rise_in_noise, theil_sen
from rnncallbacks.detectors.sequences import sequences_of

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

FIRST_PAIRS, MOST_PAIRS, MOST_BATCHES = 1000, 8000, 400
"""Inputs with their targets that are tested at first, and at most, and the batches they may come from."""

CLEAR, UNCLEAR, VISIBLE = 5.0, 4.0, 0.25
"""A dependence is there above the first of these standard normal numbers, and none below the second, if one of this
strength would have shown."""

REACHED = (0.9, 1.5)
"""Beside the entropy of the targets, the loss of a network that knows their distribution and no more."""

SINCE, ERRORS, RISE, FALL = 5, 5.0, 0.1, 0.02
"""Overfitting: epochs since the best validation, standard errors of the rise since, its share of that loss, and the
share by which the training loss fell meanwhile."""

LONG, NEVER, SLOW = 20, 50, 0.01
"""A plateau: epochs that are looked at, those of a run that never learned anything, and the share of the first loss by
which they fell at most."""

CURVE = 200
"""Epochs of the curves that are kept."""


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class ProgressGuard(Guard):
    """Looks at whether there is anything to learn, and at the curves of training and validation.

    - RNN603, no signal: the loss is about the entropy of the targets, and the targets depend on no input: on none at
      any lag, on no two inputs together, on none together with the target before. Tested on up to 8,000 tokens of the
      first batches, by :func:`rnncallbacks.detectors.progress.dependence.dependence`. Targets that are all one
      token are a note.
    - RNN604, overfitting: for 5 epochs or more, the validation loss has been above its best by a tenth and by 5
      standard errors of its own noise, while the training loss fell.
    - RNN601, plateau: at the end of a run, if the last 20 epochs did not improve the loss, and it is not even half of
      the first. A note; a warning if 50 epochs or more taught the network nothing at all. A plateau that the run left
      by itself is none. :class:`~rnncallbacks.plugins.PlateauAlarm` acts while the run goes on.

    Losses are those of the batches, each epoch's mean over a phase.

    Options
    -------
    action:
        What to do about RNN603 and RNN604: "warn" goes on, "stop" ends the run, "raise" ends it with an error. "repair"
        warns, as no repair can help.

    Example
    -------
    >>> ProgressGuard(action="stop").codes
    ('RNN601', 'RNN603', 'RNN604')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN601", "RNN603", "RNN604")

    _sums: dict[str, list[float]] = state_field(factory=dict)
    _train: list[float] = state_field(factory=list)
    _validation: list[float] = state_field(factory=list)
    _batches: int = state_field(0)
    _recent: list[float] = state_field(factory=list)
    _inputs: list[Array] = state_field(factory=list)
    _targets: list[Array] = state_field(factory=list)
    _carried: bool = state_field(False)
    _needed: int = state_field(FIRST_PAIRS)
    _signal: str = state_field("unknown")  # then "some", "none" or "constant"
    _entropy: float = state_field(0.0)
    _tested: str = state_field("")
    _raised: list[str] = state_field(factory=list)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.epoch == 0:  # a run that resumes goes on with what the checkpoint put back
            self._sums, self._train, self._validation, self._recent = {}, [], [], []
            self._inputs, self._targets, self._raised = [], [], []
            self._batches, self._needed, self._carried = 0, FIRST_PAIRS, False
            self._signal, self._entropy, self._tested = "unknown", 0.0, ""

    @hookimpl
    def on_epoch_start(self) -> None:
        self._sums = {}

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        loss = batch.loss
        if loss is None or batch.skipped or not math.isfinite(loss):
            return
        sums = self._sums.setdefault(batch.phase, [0.0, 0.0])
        sums[0] += loss
        sums[1] += 1.0
        if batch.phase != "train":
            return
        self._batches += 1
        self._recent.append(loss)
        if len(self._recent) > 30:
            del self._recent[0]
        if self._needed:
            self._collect(run, batch)

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        train = self._sums.get("train")
        validation = next((sums for phase, sums in self._sums.items() if phase != "train"), None)
        if train is not None:
            self._train = [*self._train[1 - CURVE :], train[0] / train[1]]
            self._judge_signal(run)
        if validation is not None and train is not None:
            self._validation = [*self._validation[1 - CURVE :], validation[0] / validation[1]]
            self._judge_overfitting(run)
        elif not self._validation:
            run.diagnosis.cannot_check("RNN604", "validate in each epoch: run.batches(val_loader, phase='val')")

    @hookimpl(tryfirst=True)
    def on_fit_end(self, run: Run) -> None:
        self._judge_plateau(run)
        super().on_fit_end(run)

    # Is there a signal? ---------------------------------------------------------------------------------------------

    def _collect(self, run: Run, batch: Batch) -> None:
        """Keep a batch's tokens, and test them when there are enough."""
        pair = _tokens_of(batch)
        if isinstance(pair, str):
            run.diagnosis.cannot_check("RNN603", pair)
            self._needed = 0
            return
        self._inputs.append(pair[0])
        self._targets.append(pair[1])
        self._carried |= batch.entering_state is not None and pair[1].ndim == 2
        pairs = sum(int((targets >= 0).sum()) for targets in self._targets)
        if pairs >= self._needed or len(self._targets) >= MOST_BATCHES:
            self._test(run, last=pairs >= MOST_PAIRS or len(self._targets) >= MOST_BATCHES)

    def _test(self, run: Run, *, last: bool) -> None:
        inputs, targets = _joined(self._inputs, self._carried), _joined(self._targets, self._carried)
        counts = np.unique(targets[targets >= 0], return_counts=True)[1]
        self._entropy = entropy(counts)
        if len(counts) == 1:
            self._finish(run, "constant", f"all {int(counts.sum())} targets are one and the same token")
            return
        # Chunks of a stream differ in what they are about; that alone is no dependence of targets on inputs.
        chunks = [array.shape[1] for array in self._inputs if len(array) == len(inputs)]
        groups = np.repeat(np.arange(len(chunks)), chunks) if self._carried else None
        found = dependence(inputs, targets, groups)
        if found.z > CLEAR:
            self._finish(run, "some", found.where)
        elif last:
            none = found.z < UNCLEAR and found.visible < VISIBLE
            self._finish(run, "none" if none else "unknown", _in_words(found))
        else:
            self._needed = MOST_PAIRS

    def _finish(self, run: Run, signal: str, tested: str) -> None:
        self._signal, self._tested, self._needed = signal, tested, 0
        self._inputs, self._targets = [], []
        if signal == "unknown":
            run.diagnosis.cannot_check("RNN603", "there are too few tokens to tell chance from a weak dependence")
        else:
            run.diagnosis.check("RNN603")

    def _judge_signal(self, run: Run) -> None:
        if self._needed and self._batches >= 30 and self._targets and self._train and len(self._train) == 1:
            self._test(run, last=True)  # a later epoch would show the same sequences again
        if self._signal not in ("none", "constant") or "RNN603" in self._raised or len(self._recent) < 30:
            return
        loss = float(np.median(self._recent))
        low, high = REACHED
        if self._signal == "constant":
            self._raised.append("RNN603")
            self.fire(run, Finding("RNN603", self._tested, {"entropy": 0.0, "loss": loss}, severity="info"))
        elif low * self._entropy < loss < high * self._entropy:
            self._raised.append("RNN603")
            self.fire(
                run,
                Finding(
                    "RNN603",
                    f"the loss is {loss:.6g}, and the entropy of the targets is {self._entropy:.6g}; {self._tested}",
                    {"loss": loss, "entropy": self._entropy, "epochs": len(self._train)},
                ),
            )

    # The curves -----------------------------------------------------------------------------------------------------

    def _judge_overfitting(self, run: Run) -> None:
        train, validation = self._train[-len(self._validation) :], self._validation
        if len(validation) < SINCE + 3:
            return
        run.diagnosis.check("RNN604")
        best = int(np.argmin(validation))
        since = len(validation) - 1 - best
        if since < SINCE:
            self._raised = [code for code in self._raised if code != "RNN604" or since]
            return
        rise, errors = rise_in_noise(validation, best, SINCE)
        fell = -theil_sen(train[best:]) * since
        clear = errors >= ERRORS and rise > max(RISE * abs(validation[best]), FALL * abs(self._train[0]))
        falls = fell > FALL * abs(train[best]) and mann_kendall(train[best:]) < -2.0
        if not (clear and falls) or "RNN604" in self._raised:
            return
        self._raised.append("RNN604")
        self.fire(
            run,
            Finding(
                "RNN604",
                f"in {since} epochs since its best, {validation[best]:.6g}, the validation loss rose to "
                f"{validation[-1]:.6g}, while the training loss fell from {train[best]:.6g} to {train[-1]:.6g}",
                {
                    "best_validation": validation[best],
                    "validation": validation[-1],
                    "rise_in_standard_errors": errors,
                    "train_at_best": train[best],
                    "train": train[-1],
                    "epochs_since_best": since,
                },
            ),
        )

    def _judge_plateau(self, run: Run) -> None:
        curve = self._train
        if len(curve) < LONG or curve[0] <= 0.0:
            return
        run.diagnosis.check("RNN601")
        first, last = abs(curve[0]), curve[-LONG:]
        fell = -theil_sen(last) * LONG
        level = float(np.median(last))
        if fell > SLOW * first or level < 0.5 * curve[0]:
            return
        nothing = len(curve) >= NEVER and self._batches >= 500 and min(curve) > (1 - 2 * SLOW) * curve[0]
        learned = "nothing at all was learned" if nothing else f"it is {level / curve[0]:.0%} of the first"
        run.raise_alarm(
            "RNN601",
            f"the last {LONG} epochs lowered the training loss by {max(fell, 0.0):.2g}, and {learned}",
            evidence={"train": level, "first": curve[0], "slope": -fell / LONG, "epochs": len(curve)},
            severity="warning" if nothing else "info",
        )


def _tokens_of(batch: Batch) -> tuple[Array, Array] | str:
    """Token numbers of inputs and targets, sequences in rows; or why there are none."""
    shown = sequences_of(batch)
    inputs, targets = shown.inputs, shown.targets
    if inputs is None or targets is None:
        return "show the batch's tokens: run.observe(inputs=..., targets=...)"
    per_sequence = targets.ndim == 1 and len(targets) == shown.batch_size
    if shown.time_axis is None:
        return "say which axis is the batch: run.backward(..., sequences=) or run.hidden(batch_size)"
    if inputs.ndim != 2 or not ((shown.per_step and targets.ndim == 2) or per_sequence):
        return "inputs and targets are no tokens"
    if any(not np.array_equal(some, np.rint(some)) for some in (inputs, targets) if some.dtype.kind == "f"):
        return "inputs and targets are no tokens"
    x, y = inputs.astype(np.intp), targets.astype(np.intp)
    mask = getattr(batch.data, "mask", None)
    if isinstance(mask, np.ndarray) and mask.shape == x.shape:
        x = np.where(mask, x, MISSING)
        y = np.where(mask, y, MISSING) if y.ndim == 2 else y
    if shown.time_axis == 0:
        x, y = x.T, y.T
    return x, y


def _joined(arrays: list[Array], carried: bool) -> Array:
    """The batches below each other; side by side where each continues the one before."""
    if arrays[0].ndim == 1:
        return np.concatenate(arrays)
    rows = len(arrays[0])
    if carried:
        return np.hstack([array for array in arrays if len(array) == rows])
    longest = max(array.shape[1] for array in arrays)
    padded = [np.pad(one, ((0, 0), (0, longest - one.shape[1])), constant_values=MISSING) for one in arrays]
    return np.vstack(padded)


def _in_words(found: Dependence) -> str:
    return (
        f"the targets depend on no input: none of {found.tests} tests on {found.pairs} of them shows a dependence, and "
        f"one of {found.visible:.0%} would have shown"
    )
