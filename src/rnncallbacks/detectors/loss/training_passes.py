"""Validation batches that count as training: the validation loss is the mean of a pass through that phase."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from rnncallbacks.alarms.finding import Finding
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import TRAIN
from rnncallbacks.detectors.loss.denominator import DENOMINATOR, is_batch_mean, is_validation, rounding_error
from rnncallbacks.detectors.loss.phase_losses import PhaseLosses


@attrs.define(eq=False)
class TrainingPasses:
    """Compares reported validation losses with the passes of an epoch through the training phase.

    A script that iterates its validation set without a phase of its own passes through the phase twice in an epoch. The
    agreement counts once two epochs in a row have it.

    Example
    -------
    >>> passes = [PhaseLosses(), PhaseLosses()]
    >>> for one, losses in zip(passes, ([3.0, 2.5, 2.0], [1.7512345, 1.2512345]), strict=True):
    ...     for loss in losses:
    ...         one.add(loss)
    >>> found = TrainingPasses()
    >>> [finding] = [one for _ in range(2) if (one := found.check({"val": 1.5012345}, passes)) is not None]
    >>> finding.code
    'RNN102'
    """

    agreed_before: bool = state_field(False)

    def check(self, reported: Mapping[str, object], passes: Sequence[PhaseLosses]) -> Finding | None:
        """RNN102, for the reported losses of names that have no phase, and all passes of an epoch through training."""
        agreed = next((found for name, value in reported.items() if (found := _agreement(name, value, passes))), None)
        confirmed, self.agreed_before = self.agreed_before, agreed is not None
        if agreed is None or not confirmed:
            return None
        name, value, batches = agreed
        return Finding(
            "RNN102",
            f"{name}_loss is the mean of {batches} batches of the phase {TRAIN}: {value:.4g}; they count in its loss, "
            "in the steps of the run, and in schedules",
            {f"{name}_loss": value, "batches": batches, "passes": len(passes)},
            cause="validation batches count as training",
            remedy=f"give these {batches} batches a phase of their own, {name!r}",
        )


def _agreement(name: str, value: object, passes: Sequence[PhaseLosses]) -> tuple[str, float, int] | None:
    """The name, the value, and the number of batches of the one pass whose mean it is."""
    if len(passes) < 2 or not is_validation(name) or not isinstance(value, float | int) or not 0.0 < value < math.inf:
        return None
    if rounding_error(float(value)) > DENOMINATOR.largest_rounding_error:
        return None
    matching = [one for one in passes if one.is_comparable and is_batch_mean(float(value), one)]
    return (name, float(value), matching[0].batches) if len(matching) == 1 else None
