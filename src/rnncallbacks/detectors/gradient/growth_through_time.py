r"""RNN401 of a recognized network: a change of the entering state grows on its way through the time steps of a batch.

Gradients that go back from the last step to the first are multiplied by the same Jacobian
:math:`\partial h_T / \partial h_0` as changes that go forward, so its size says whether they explode.

Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2.
"""

from __future__ import annotations

import math

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.detectors.reconstruction.layer_states import States
from rnncallbacks.detectors.reconstruction.recognized_network import NetworkPass, RecognizedNetwork
from rnncallbacks.detectors.reconstruction.stacked_pass import stacked_forward


@attrs.frozen(kw_only=True)
class GrowthThresholds:
    """Growth of a change of the state through time from which gradients explode."""

    growth: float = 30.0
    """Norm of the change after the last step over that of the entering change. 110 healthy runs measured up to 0.33,
    18 runs with recurrent weights 5/3 times the usual size, as scripts for tanh draw them, up to 27, and those with
    weights four times too large 12 to 2,900."""
    growth_per_step: float = 1.25
    """The same per time step, as its geometric mean: up to 0.93 in healthy runs, 1.19 to 1.9 in exploding ones."""
    smallest_doubt: float = 3.0
    """Growth above which gradients of usual length do not prove that nothing explodes: ten times that of healthy runs.
    Chosen by eye."""
    change: float = 1e-6
    """Standard deviation of the entering change, small against states of about 1. Chosen by eye."""


GROWTH = GrowthThresholds()


def state_growth(network: RecognizedNetwork, forward: NetworkPass) -> float:
    """The growth of a random change of the entering hidden states through all time steps; one forward pass.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> from rnncallbacks.detectors.reconstruction.recognized_network import recognized_networks
    >>> arrays = {"Wx": np.zeros((2, 3)), "Wh": 2.0 * np.eye(2), "Wy": np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 1.0]])}
    >>> batch = Batch((np.zeros((5, 4), int), np.ones((5, 4), int)), "train", 1)
    >>> network = next(recognized_networks(arrays, batch, loss=math.log(3.0)))
    >>> round(state_growth(network, network.evaluate(arrays, network.read(batch), ((None, None),))))  # 2 ** 5
    32
    """
    generator = np.random.default_rng(0)
    changes = [GROWTH.change * generator.standard_normal(one.states[0].shape) for one in forward.passed]
    entering: States = tuple(
        (one.states[0] + change, cell_state)
        for one, change, (_, cell_state) in zip(forward.passed, changes, forward.entering, strict=True)
    )
    with np.errstate(all="ignore"):
        changed = stacked_forward(network.form, forward.weights, forward.reading.inputs, entering)
        ends = [new.states[-1] - old.states[-1] for new, old in zip(changed, forward.passed, strict=True)]
        return float(global_norm(ends) / global_norm(changes))


def grows(growth: float, steps: int) -> str:
    """The growth in words.

    Example
    -------
    >>> grows(8.25, 14)
    'a change of the state that enters the first batch grows 8.25 times in 14 time steps (at most 1 is usual)'
    """
    return (
        f"a change of the state that enters the first batch grows {growth:.3g} times in {steps} time steps (at most 1 "
        "is usual)"
    )


def check_growth(network: RecognizedNetwork, forward: NetworkPass, max_norm: float) -> CheckResult:
    """RNN401 if changes grow through the first batch, before any update.

    A finding comes with the doubt that it leaves if the growth does no harm.
    """
    growth, steps = state_growth(network, forward), len(forward.states) - 1
    doubt = {"RNN401": grows(growth, steps)}
    explodes = growth > max(GROWTH.growth, GROWTH.growth_per_step**steps) and math.isfinite(growth)
    if not explodes:
        return CheckResult(cannot_tell=doubt if growth > GROWTH.smallest_doubt else {})
    recurrent = [array for (_, part), array in forward.weights.items() if part == "recurrent"]
    squares = [square for array in recurrent for square in np.split(array, network.form.gates)]
    radius = max(float(np.abs(np.linalg.eigvals(square)).max()) for square in squares)
    names = ", ".join(map(repr, network.roles.names("recurrent")))
    finding = Finding(
        "RNN401",
        f"{grows(growth, steps)}, and so do gradients on their way back; the recurrent weights in {names} have the "
        f"spectral radius {radius:.3g}",
        {"growth": growth, "expected": 1.0, "steps": steps, "spectral_radius": radius},
        cause="gradients explode through time",
        remedy=f"divide the initial recurrent weights by {radius:.2g}, for a spectral radius of 1, and clip gradients "
        f"at the norm {max_norm:g} (gradient_clipping)",
    )
    return CheckResult(finding=finding, cannot_tell=doubt)
