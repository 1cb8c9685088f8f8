"""Published rules for the fault benchmark that look for symptoms in gradients, weights and states."""

from __future__ import annotations

import math

import attrs
import numpy as np
from comparator import Comparator

from rnncallbacks.arrays.containers import Array, named_arrays
from rnncallbacks.arrays.gradients import Gradients
from rnncallbacks.core.batch import Batch, EpochSummary
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run


def _kernels(arrays: dict[str, Array]) -> list[Array]:
    """The weight matrices, in the order of the layers."""
    return [array for array in arrays.values() if array.ndim == 2 and min(array.shape) > 1]


@attrs.define(eq=False)
class AutoTrainer(Comparator):
    """Finds at most one symptom in a run, at the end of an epoch from the third on.

    - "explode" (RNN401): a loss or gradient is not finite, or the validation loss is at least 1e5.
    - While the accuracy is below 0.6, or never rose by 0.01 in an epoch: "dying ReLU" (RNN407) if 70 % of the gradients
      are zero; "explode" (RNN401) if the gradient of the first kernel is over 70 times that of the last; "vanish"
      (RNN402) if it is below 1e-4 and a thousandth of that of the last; "slow convergence" (RNN502) if none of these
      applies and the accuracy never rose.
    - Otherwise "oscillating loss" (RNN501) if the accuracy rose and fell by 0.03 in a fifth of the epochs.

    Source: Zhang, Zhai, Ma and Shen, "AUTOTRAINER: an automatic DNN training problem detection and repair system"
    (2021), and its program. Adapted: exp(-loss), the geometric mean of the targets' probabilities, replaces the
    accuracy. The third epoch replaces 30 % of the epochs, because a loop need not know their number.
    """

    label = "AUTOTRAINER"

    high: float = 70.0
    low_ratio: float = 1e-3
    low: float = 1e-4
    dead: float = 0.7
    swing: float = 0.03
    swings: float = 0.2
    rise: float = 0.01
    accuracy: float = 0.6
    _seen: set[str] = attrs.field(factory=set, init=False)
    _train: list[float] = attrs.field(factory=list, init=False)
    _validation: list[float] = attrs.field(factory=list, init=False)

    @hookimpl(tryfirst=True)
    def on_backward(self, batch: Batch, grads: Gradients) -> None:
        if batch.index != 1:
            return
        arrays = dict(grads.items())
        if not all(np.isfinite(array).all() for array in arrays.values()):
            self._seen.add("not finite")
            return
        kernels = _kernels(arrays)
        if not kernels:
            return
        first, last = (float(np.linalg.norm(kernel)) for kernel in (kernels[0], kernels[-1]))
        ratio = first / last if last else math.inf
        if ratio < self.low_ratio and first < self.low:
            self._seen.add("vanish")
        if ratio > self.high:
            self._seen.add("explode")
        zeros = sum(int((array == 0).sum()) for array in arrays.values())
        if zeros >= self.dead * sum(array.size for array in arrays.values()):
            self._seen.add("dying")

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        train, validation = summary.losses.get("train", math.nan), summary.losses.get("val", math.nan)
        if self.findings:
            return
        if not (math.isfinite(train) and math.isfinite(validation)) or validation >= 1e5 or "not finite" in self._seen:
            self.find(run, "RNN401")
            return
        self._train.append(math.exp(-max(train, 0.0)))
        self._validation.append(math.exp(-max(validation, 0.0)))
        if len(self._train) < 3:
            return
        slow = max(np.diff(self._train).max(), np.diff(self._validation).max()) < self.rise
        if slow or min(max(self._train), max(self._validation)) < self.accuracy:
            if "dying" in self._seen:
                self.find(run, "RNN407")
            elif "explode" in self._seen:
                self.find(run, "RNN401")
            elif "vanish" in self._seen:
                self.find(run, "RNN402")
            elif slow:
                self.find(run, "RNN502")
        elif self._oscillates():
            self.find(run, "RNN501")

    def _oscillates(self) -> bool:
        inner = range(1, len(self._train) - 1)
        before, here, after = (np.array([self._train[place + shift] for place in inner]) for shift in (-1, 0, 1))
        tops, bottoms = here[(here >= before) & (here >= after)], here[(here <= before) & (here <= after)]
        pairs = zip(tops, bottoms, strict=False)
        return bool(sum(top - bottom >= self.swing for top, bottom in pairs) >= self.swings * len(self._train))


@attrs.define(eq=False)
class DeepDiagnosis(Comparator):
    """Looks for symptoms at the end of each epoch, and derives a fix from them.

    - numerical error: a loss, or the mean of a gradient, is NaN or infinite, or a gradient is zero (RNN403);
    - vanishing gradient: its mean magnitude is below 1e-7 (RNN402);
    - every fifth epoch: more than half of the pre-activations exceed 5 in magnitude, "saturated" (RNN407); the mean of
      a weight matrix did not change over five epochs, "unchanged weight" (RNN503); the mean of the last five losses
      equals their maximum, "loss not decreasing" (RNN601).

    The fix is "poor weight" (RNN303) if the variance of a weight matrix is below 1e-5 or above 10. Otherwise it is
    "learning rate" if the norm of an update divided by that of the weights is above 0.1 (RNN501) or below 1e-5
    (RNN502).

    Source: Wardat, Cruz, Le and Rajan, "DeepDiagnosis: automatically diagnosing faults and recommending actionable
    fixes in deep learning programs" (2022), and its program. Adapted: the ratio compares norms in place of means. A
    gradient counts as zero if all entries are, because the gradient of a softmax layer always has the mean zero. The
    checks of the output range, and of dead units in the last epoch, are left out.
    """

    label = "DeepDiagnosis"

    every: int = 5
    _gradients: dict[str, Array] = attrs.field(factory=dict, init=False)
    _saturated: float = 0.0
    _means: list[tuple[float, ...]] = attrs.field(factory=list, init=False)
    _losses: list[float] = attrs.field(factory=list, init=False)

    @hookimpl(tryfirst=True)
    def on_backward(self, batch: Batch, grads: Gradients) -> None:
        if batch.index != 1:
            return
        self._gradients = {name: array.copy() for name, array in grads.items()}
        states = batch.observed.get("hidden_states")
        if states is not None and np.min(states[-1]) < 0.0:  # tanh
            self._saturated = float((np.abs(np.asarray(states[1:])) >= math.tanh(5.0)).mean())

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        loss = summary.losses.get("train", math.nan)
        weights = _kernels(dict(named_arrays(run.params, "params")))
        gradients = _kernels(self._gradients)
        symptoms = []
        if not math.isfinite(loss) or any(not math.isfinite(g.mean()) or not g.any() for g in gradients):
            symptoms.append("RNN403")
        if any(np.abs(gradient).mean() < 1e-7 for gradient in gradients):
            symptoms.append("RNN402")
        self._means.append(tuple(float(weight.mean()) for weight in weights))
        self._losses.append(loss)
        if len(self._losses) == self.every:
            if self._saturated > 0.5:
                symptoms.append("RNN407")
            if any(len(set(one)) == 1 for one in zip(*self._means, strict=False)):
                symptoms.append("RNN503")
            if np.mean(self._losses) == np.max(self._losses):
                symptoms.append("RNN601")
            self._means.clear()
            self._losses.clear()
        for symptom in symptoms:
            self.find(run, symptom)
        if symptoms:
            self._find_fix(run, weights, gradients)

    def _find_fix(self, run: Run, weights: list[Array], gradients: list[Array]) -> None:
        if any(not 1e-5 <= weight.var(ddof=1) <= 10 for weight in weights):
            self.find(run, "RNN303")
            return
        for weight, gradient in zip(weights, gradients, strict=False):
            ratio = run.learning_rate * np.linalg.norm(gradient) / np.linalg.norm(weight)
            if not 1e-5 <= ratio <= 0.1:
                self.find(run, "RNN502" if ratio < 1e-5 else "RNN501")
                return
