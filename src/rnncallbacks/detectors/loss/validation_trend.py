"""Whether the validation loss fell while the training loss rose: the batches became harder, and the network better."""

from __future__ import annotations

import attrs

from rnncallbacks.core.plugin_state import state_field


@attrs.define(eq=False)
class ValidationTrend:
    """The mean losses of the validations of a run, each with the number of training batches before its end.

    Of several phases other than "train", each is followed by itself.

    Example
    -------
    >>> trend = ValidationTrend()
    >>> trend.add("val", 2.0, 100)
    >>> trend.add("val", 1.5, 200)
    >>> trend.fell_since(120, within=30, now=210)
    'the loss of val fell from 2 to 1.5 meanwhile'
    """

    passes: dict[str, list[tuple[int, float]]] = state_field(factory=dict)
    open_passes: dict[str, tuple[int, float, int]] = state_field(factory=dict)

    def add(self, phase: str, loss: float, batches: int) -> None:
        """Add a batch of another phase than "train"; ``batches`` training batches were seen before it."""
        if phase in self.open_passes and self.open_passes[phase][0] != batches:
            self.end_pass()
        _, total, count = self.open_passes.get(phase, (batches, 0.0, 0))
        self.open_passes[phase] = batches, total + loss, count + 1

    def end_pass(self) -> None:
        """End the validations that are open, as at the end of an epoch."""
        for phase, (batches, total, count) in self.open_passes.items():
            self.passes[phase] = [*self.passes.get(phase, ()), (batches, total / count)]
        self.open_passes = {}

    def fell_since(self, batch: int, *, within: int, now: int) -> str:
        """How the validation loss fell to its lowest value since a training batch; empty if it did not.

        The last validation must be among the last ``within`` of ``now`` batches.
        """
        self.end_pass()
        for phase, losses in self.passes.items():
            earlier = [loss for number, loss in losses if number <= batch]
            number, last = losses[-1]
            if earlier and number >= now - within and last < min(loss for _, loss in losses[:-1]):
                return f"the loss of {phase} fell from {min(earlier):.4g} to {last:.4g} meanwhile"
        return ""
