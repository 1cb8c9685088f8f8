"""The loss curves of a run: the mean batch loss of each epoch, in training and in validation."""

from __future__ import annotations

import attrs

from rnncallbacks.core.plugin_state import state_field


@attrs.frozen(kw_only=True)
class CurveLimits:
    """The limit of :class:`LossCurves`."""

    longest: int = 200
    """Last epochs that are kept: the Theil-Sen slope takes memory quadratic in their number."""


CURVE_LIMITS = CurveLimits()


@attrs.define(eq=False)
class LossCurves:
    """Mean batch losses of the last epochs, from the losses of the batches.

    ``training`` holds those of the phase "train", ``validation`` those of the first other phase of each epoch.

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
    sums: dict[str, list[float]] = state_field(factory=dict)

    def begin_epoch(self) -> None:
        """Forget the batches of an epoch that was not completed."""
        self.sums = {}

    def add(self, phase: str, loss: float) -> None:
        """Add the loss of a batch."""
        total = self.sums.setdefault(phase, [0.0, 0.0])
        total[0] += loss
        total[1] += 1.0

    def end_epoch(self) -> tuple[bool, bool]:
        """Append this epoch's means; return whether it has a training loss, and whether it also has a validation loss.

        The validation loss of an epoch without training is left out, so that both curves end at the same epoch.
        """
        training = self.sums.get("train")
        validation = next((total for phase, total in self.sums.items() if phase != "train"), None)
        if training is None:
            return False, False
        _append(self.training, training)
        if validation is None:
            return True, False
        _append(self.validation, validation)
        return True, True


def _append(curve: list[float], total: list[float]) -> None:
    curve.append(total[0] / total[1])
    del curve[: -CURVE_LIMITS.longest]
