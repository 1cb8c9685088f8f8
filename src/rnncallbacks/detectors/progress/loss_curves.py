"""The loss curves of a run: the mean batch loss of each epoch, in training and in validation."""

from __future__ import annotations

import attrs

from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class CurveLimits:
    """The limit of :class:`LossCurves`."""

    longest: int = 200
    """Last epochs that are kept: the Theil-Sen slope takes memory quadratic in their number."""
    validation_batches: int = 64
    """Validation batches whose losses are kept one by one, at most. Chosen by eye, for the memory of a checkpoint."""


CURVE_LIMITS = CurveLimits()


@attrs.define(eq=False)
class LossCurves:
    """Mean batch losses of the last epochs, from the losses of the batches.

    ``training`` holds those of the phase "train", ``validation`` those of the first other phase of each epoch.
    ``batches`` holds the losses of that phase's batches, an empty list for an epoch with too many.

    Example
    -------
    >>> curves = LossCurves()
    >>> for phase, loss in (("train", 2.0), ("train", 1.0), ("val", 1.25)):
    ...     curves.add(phase, loss)
    >>> curves.end_epoch()
    (True, True)
    >>> curves.training, curves.validation
    ([1.5], [1.25])
    """

    training: list[float] = state_field(factory=list)
    validation: list[float] = state_field(factory=list)
    batches: list[list[float]] = state_field(factory=list)
    sums: dict[str, list[float]] = state_field(factory=dict)
    open_batches: list[float] = state_field(factory=list)

    def begin_epoch(self) -> None:
        """Forget the batches of an epoch that was not completed."""
        self.sums, self.open_batches = {}, []

    def add(self, phase: str, *losses: float) -> None:
        """Add the losses of batches."""
        for loss in losses:
            total = self.sums.setdefault(phase, [0.0, 0.0])
            total[0] += loss
            total[1] += 1.0
            if phase == "train" or total[1] > CURVE_LIMITS.validation_batches + 1:
                continue
            if phase == self._validation_phase():
                self.open_batches.append(loss)

    def end_epoch(self) -> tuple[bool, bool]:
        """Append this epoch's means; return whether it has a training loss, and whether it also has a validation loss.

        The validation loss of an epoch without training is left out, so that both curves end at the same epoch.
        """
        training, validation = self.sums.get("train"), self.sums.get(self._validation_phase())
        if training is None:
            return False, False
        _append(self.training, training)
        if validation is None:
            return True, False
        _append(self.validation, validation)
        kept = len(self.open_batches) <= CURVE_LIMITS.validation_batches
        self.batches.append(self.open_batches if kept else [])
        del self.batches[: -CURVE_LIMITS.longest]
        return True, True

    def _validation_phase(self) -> str:
        return next((phase for phase in self.sums if phase != "train"), "")


def _append(curve: list[float], total: list[float]) -> None:
    curve.append(total[0] / total[1])
    del curve[: -CURVE_LIMITS.longest]
