"""Published rules for the fault benchmark, which run on the same batches as the guards.

Each is implemented from its source, with the source's defaults. Each of its findings is mapped to one of our codes; in
doubt, the mapping favors the rule. No rule stops the run, so that all rules see the same batches as the guards. A
finding counts from the batch in which it was first made.
"""

from __future__ import annotations

import math
from collections import deque

import attrs
import numpy as np
from comparator import Comparator
from symptom_rules import AutoTrainer, DeepDiagnosis

from rnncallbacks.core.batch import Batch, EpochSummary
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.detectors.sequences import sequences_of


def _train_loss(batch: Batch) -> float | None:
    return batch.loss if batch.phase == "train" else None


class NanOnly(Comparator):
    """The loss is NaN or infinite: "invalid loss" (RNN403).

    Source: Keras, callback TerminateOnNaN.
    """

    label = "NaN only (Keras)"

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        loss = _train_loss(batch)
        if loss is not None and not math.isfinite(loss):
            self.find(run, "RNN403")


@attrs.define(eq=False)
class LossNotDecreasing(Comparator):
    """Over ``num_steps`` (10) steps, the loss fell by less than ``diff_percent`` (0.1 %): "loss not decreasing".

    It maps to RNN601, or to RNN602 if the loss rose by more than ``increase_threshold_percent`` (5 %), which favors the
    rule.

    Source: Amazon SageMaker Debugger, list of built-in rules, LossNotDecreasing. Adapted: the loss of each batch is
    saved.
    """

    label = "SageMaker LossNotDecreasing"

    num_steps: int = 10
    diff_percent: float = 0.1
    increase_threshold_percent: float = 5.0
    _before: float | None = None
    _count: int = 0

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        loss = _train_loss(batch)
        if loss is None:
            return
        if self._count % self.num_steps == 0:
            if self._before is not None and loss > self._before * (1 - self.diff_percent / 100):
                higher = loss > self._before * (1 + self.increase_threshold_percent / 100)
                self.find(run, "RNN602" if higher else "RNN601")
            self._before = loss
        self._count += 1


@attrs.define(eq=False)
class TheDeepChecker(Comparator):
    """Compares the last ``window`` (5) means over ``period`` (10) batches.

    - stagnation: no mean is lower than the one before by 5 % or more (RNN601);
    - divergence: each mean is at least twice the one before (RNN602);
    - the first loss differs from ln V by ln V or more (RNN303);
    - a loss is not finite (RNN403).

    Source: Ben Braiek and Khomh, "Testing feedforward neural networks training programs" (2023), and its program.
    Adapted: the original runs these checks while it overfits a single batch, this version during training. Its check of
    fluctuations and the checks that need a separate run are left out.
    """

    label = "TheDeepChecker"

    period: int = 10
    window: int = 5
    decrease: float = 0.05
    growth: float = 2.0
    deviation: float = 1.0
    _recent: list[float] = attrs.field(factory=list, init=False)
    _means: deque[float] = attrs.field(factory=lambda: deque(maxlen=5), init=False)

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        loss = _train_loss(batch)
        if loss is None:
            return
        if run.step == 1:
            self._check_first(run, batch, loss)
        if not math.isfinite(loss):
            self.find(run, "RNN403")
            return
        self._recent.append(loss)
        if len(self._recent) < self.period:
            return
        self._means.append(float(np.mean(self._recent)))
        self._recent.clear()
        means = np.array(self._means)
        if len(means) < self.window:
            return
        if ((means[:-1] - means[1:]) / means[:-1] < self.decrease).all():
            self.find(run, "RNN601")
        if (means[1:] / means[:-1] >= self.growth).all():
            self.find(run, "RNN602")

    def _check_first(self, run: Run, batch: Batch, loss: float) -> None:
        shown = sequences_of(batch)
        if shown.targets is None or shown.targets.dtype.kind != "i":
            return
        expected = math.log(max(shown.vocab_size or int(shown.targets.max()) + 1, 2))
        if not abs(loss - expected) < self.deviation * expected:
            self.find(run, "RNN303")


@attrs.define(eq=False)
class Umlaut(Comparator):
    """Checks at the end of each epoch.

    - the learning rate is above 0.01 (RNN501) or below 1e-7 (RNN502);
    - the loss is NaN (RNN403);
    - the validation loss rose since the last epoch and the training loss did not (RNN604).

    Source: Schoop, Huang and Hartmann, "UMLAUT: debugging deep learning programs using program structure and model
    behavior" (2021), and its program. Adapted: the checks of inputs, accuracy, dropout and layers, which need a Keras
    model, are left out.
    """

    label = "UMLAUT"

    highest: float = 0.01
    lowest: float = 1e-7
    _before: tuple[float, float] | None = None

    @hookimpl(trylast=True)
    def on_epoch_end(self, run: Run, summary: EpochSummary) -> None:
        if run.learning_rate > self.highest:
            self.find(run, "RNN501")
        if run.learning_rate < self.lowest:
            self.find(run, "RNN502")
        train, validation = summary.losses.get("train", math.nan), summary.losses.get("val", math.nan)
        if math.isnan(train):
            self.find(run, "RNN403")
        if self._before is not None and train <= self._before[0] and validation > self._before[1]:
            self.find(run, "RNN604")
        self._before = train, validation


@attrs.define(eq=False)
class SpikeDetection(Comparator):
    """The loss rose, and differs from the running mean of ten by twice that mean or more (RNN605).

    A loss that is not finite is RNN403.

    Source: Lightning Fabric, SpikeDetection with window=10, warmup=1, rtol=2.0. Adapted: the original ends the
    run at the first spike. In this version the run continues, and the mean excludes the spike.
    """

    label = "Lightning SpikeDetection"

    window: int = 10
    warmup: int = 1
    rtol: float = 2.0
    _losses: list[float] = attrs.field(factory=list, init=False)

    @hookimpl
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        loss = _train_loss(batch)
        if loss is None:
            return
        if not math.isfinite(loss):
            self.find(run, "RNN403")
            return
        if len(self._losses) >= self.warmup:
            mean = float(np.mean(self._losses[-self.window :]))
            if loss > self._losses[-1] and abs(loss - mean) >= self.rtol * abs(mean):
                self.find(run, "RNN605")
                return
        self._losses.append(loss)


COMPARATORS: tuple[type[Comparator], ...] = (
    NanOnly,
    LossNotDecreasing,
    TheDeepChecker,
    Umlaut,
    SpikeDetection,
    AutoTrainer,
    DeepDiagnosis,
)
