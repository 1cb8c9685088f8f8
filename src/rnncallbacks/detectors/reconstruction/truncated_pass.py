"""Gradients of truncated backpropagation through time, by a recognized network: of chunks and windows of steps.

Source: Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
trajectories" (1990).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.reconstruction.array_roles import Slot
from rnncallbacks.detectors.reconstruction.batch_readings import Readout
from rnncallbacks.detectors.reconstruction.cell_forms import CellPass
from rnncallbacks.detectors.reconstruction.recognized_network import NetworkPass, RecognizedNetwork
from rnncallbacks.detectors.reconstruction.stacked_pass import stacked_backward

MOST_STEPS = 8000
"""Time steps of all backward passes that are tried, at most: some tenths of a second. Chosen by eye."""


@attrs.frozen
class StepSpan:
    """Time steps from ``start`` to before ``stop``, in which the errors from ``first`` on go back."""

    start: int
    stop: int
    first: int


def truncations(steps: int) -> Iterator[list[StepSpan]]:
    """The spans of each way to truncate a sequence: chunks from the beginning or to the end, and windows of steps.

    Example
    -------
    >>> [[(span.start, span.stop, span.first) for span in spans] for spans in truncations(2)]
    [[(0, 1, 0), (1, 2, 1)], [(0, 1, 0), (1, 2, 1)]]
    """
    for length in range(1, steps):
        offsets = {0, steps % length}
        for offset in sorted(offsets):
            bounds = sorted({0, steps, *range(offset, steps, length)})
            yield [StepSpan(start, stop, start) for start, stop in pairwise(bounds)]
        yield [StepSpan(max(0, last - length + 1), last + 1, last) for last in range(steps)]


def truncated_gradients(
    network: RecognizedNetwork, forward: NetworkPass, arrays: Mapping[str, Array]
) -> Iterator[dict[str, Array]]:
    """The gradients of the script's arrays for each way to truncate backpropagation, from a pass of the network."""
    reading, steps = forward.reading, len(forward.reading.inputs)
    if (0, "head") in forward.weights and reading.readout == "mean":
        return  # outputs of a mean state are no sum over those of the steps
    with np.errstate(all="ignore"):
        errors = _by_step(network.formula.derivative(forward.outputs, reading.targets), steps, reading.readout)
    cost = 0
    for spans in truncations(steps):
        shown = [span for span in spans if errors[span.first : span.stop].any()]
        cost += sum(span.stop - span.start for span in shown)
        if cost > MOST_STEPS:
            return
        parts = _sum_over(shown, network, forward, errors)
        if parts:
            yield network.roles.put(parts, arrays)


def _sum_over(
    spans: Iterable[StepSpan], network: RecognizedNetwork, forward: NetworkPass, errors: Array
) -> dict[Slot, Array]:
    total: dict[Slot, Array] = {}
    for span in spans:
        chosen = errors[span.start : span.stop].copy()
        chosen[: span.first - span.start] = 0.0
        passed = tuple(_part_of(one, span) for one in forward.passed)
        inputs = forward.reading.inputs[span.start : span.stop]
        with np.errstate(all="ignore"):
            parts = stacked_backward(
                network.form, forward.weights, inputs, passed, chosen, "each", activation=network.activation
            )
        total = {slot: total[slot] + part if slot in total else part for slot, part in parts.items()}
    return total


def _part_of(passed: CellPass, span: StepSpan) -> CellPass:
    states, steps = slice(span.start, span.stop + 1), slice(span.start, span.stop)
    return CellPass(
        passed.states[states],
        None if passed.cells is None else passed.cells[states],
        passed.gates[steps],
        None if passed.pre is None else passed.pre[steps],
    )


def _by_step(errors: Array, steps: int, readout: Readout) -> Array:
    """The derivatives of the loss by the outputs of each step, had each step outputs of its own."""
    if readout == "each":
        return errors
    if readout == "mean":
        return np.repeat(errors / steps, steps, axis=0)
    every = np.zeros((steps, *errors.shape[1:]))
    every[-1:] = errors
    return every
