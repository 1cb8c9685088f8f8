r"""Directional derivatives of the loss: central differences along chosen steps, compared with the gradients.

For a small step :math:`v` of the parameters :math:`\theta`, the gradient :math:`g` of the loss :math:`f` satisfies

.. math:: f(\theta + v) - f(\theta - v) = 2\, g \cdot v + O(\lVert v \rVert^3).

All arrays move at once, each by a step that should change the loss by the same small share. The second difference
:math:`f(\theta + v) + f(\theta - v) - 2 f(\theta)` measures kinks and curvature along the step; where it is large, the
comparison is inconclusive.

Source: Nocedal and Wright, "Numerical Optimization", second edition (2006), section 8.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array, named_arrays, parameters_of
from rnncallbacks.arrays.gradients import Gradients, global_norm
from rnncallbacks.core.closure import ClosureError, evaluate_closure, evaluate_closure_once, restore_afterwards
from rnncallbacks.detectors.gradient.central_difference import (
    DIRECTIONAL,
    CentralDifference,
    DirectionalComparison,
)
from rnncallbacks.detectors.gradient.clipped import ClippingBounds, find_clipping

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch


class DirectionalDerivatives:
    """Evaluates the loss at perturbed parameters, and compares its changes with the predictions of the gradients.

    Parameters
    ----------
    closure:
        Returns the loss at the current parameters.
    params, gradients:
        Arrays under the same names; :func:`perturbable_params` finds them. Both have any shape and a floating dtype of
        at least 32 bits. Parameters are changed in place, and restored bit for bit.
    loss:
        The loss that the script reported.
    clipping:
        The bounds of clipping: entries at a bound are not moved, and their gradients count as zero.
    base_loss:
        The closure's loss at the current parameters; evaluated if it is None.

    Attributes
    ----------
    step_factors:
        Factors of the step size, in the order in which they are tried.
    norms:
        The norm of each array's gradient.
    norm_floor:
        Steps of arrays whose gradient is smaller than this are sized as if it were this large.
    rounding_error:
        Bound of the rounding error of a difference of two losses.

    Raises
    ------
    ClosureError
        There is nothing to move, the precision is too low, or the closure's loss is not the reported one.

    Example
    -------
    >>> weights = {"w": np.array([1.0, 2.0])}
    >>> loss = lambda: float((weights["w"] ** 2).sum())
    >>> derivatives = DirectionalDerivatives(loss, weights, {"w": weights["w"].copy()}, loss())
    >>> round(derivatives.compare(derivatives.step_factors[0]).ratio, 3)
    2.0
    """

    def __init__(
        self,
        closure: Callable[[], Any],
        params: Mapping[str, Array],
        gradients: Mapping[str, Array],
        loss: float,
        *,
        clipping: ClippingBounds | None = None,
        base_loss: float | None = None,
    ) -> None:
        if not params:
            raise ClosureError("give parameters and gradients the same names, and arrays that can be written to")
        itemsize = min(array.itemsize for array in params.values())
        if itemsize < 4:
            raise ClosureError("half precision is too coarse for differences of the loss")
        self.closure, self.params, self.loss = closure, params, loss
        self.clipping = ClippingBounds() if clipping is None else clipping
        self.gradients = {name: gradients[name].astype(np.float64) for name in params}
        self._moved_entries = {name: 1.0 - mask for name, mask in self.clipping.entries.items() if name in params}
        for name, moved in self._moved_entries.items():
            self.gradients[name] *= moved
        self.step_factors = DIRECTIONAL.float32_step_factors if itemsize == 4 else DIRECTIONAL.float64_step_factors
        self.base_loss = evaluate_closure(closure) if base_loss is None else base_loss
        if not abs(self.base_loss - loss) <= DIRECTIONAL.closure_tolerance * max(abs(loss), DIRECTIONAL.smallest_loss):
            again = evaluate_closure(closure)
            raise ClosureError(
                "the closure gives another loss at each call: let it use the batch's own dropout mask"
                if again != self.base_loss and not math.isnan(again)
                else f"the closure gives the loss {self.base_loss:.6g}, and run.backward was given {loss:.6g}: "
                "let it evaluate the same batch with the same entering state and dropout mask"
            )
        self.norms = {name: global_norm([gradient]) for name, gradient in self.gradients.items()}
        self.norm_floor = DIRECTIONAL.relative_norm_floor * max(self.norms.values())
        epsilon = float(max(np.finfo(array.dtype).eps for array in params.values()))
        self.rounding_error = DIRECTIONAL.rounding_errors * epsilon * abs(self.base_loss)
        self._closure_responds = False

    def with_gradients(self, gradients: Mapping[str, Array]) -> DirectionalDerivatives:
        """The same loss and parameters with other gradients; evaluates nothing."""
        return DirectionalDerivatives(
            self.closure,
            self.params,
            gradients,
            self.loss,
            clipping=self.clipping,
            base_loss=self.base_loss,
        )

    def compare(self, step_factor: float, scale: float = 1.0) -> DirectionalComparison:
        """Central differences of all arrays together, along the gradients and along random signs.

        ``step_factor`` multiplies the steps. ``scale`` is an estimate of the true / the reported gradient.

        Raises
        ------
        ClosureError
            The closure does not depend on the parameters.
        """
        names = list(self.params)
        along_gradient = self.along_gradient(names, step_factor, scale)
        seeds = range(DIRECTIONAL.random_directions)
        along_random = tuple(self.along_random_signs(names, step_factor, scale, seed) for seed in seeds)
        if not self._closure_responds:
            self._check_that_the_closure_responds()
        unit = min(one.unit for one in (along_gradient, *along_random))
        return DirectionalComparison(along_gradient, along_random, self.rounding_error / unit)

    def along_gradient(self, names: Sequence[str], step_factor: float, scale: float) -> CentralDifference:
        """The central difference when each of these arrays moves along its gradient."""
        steps = {
            name: self.gradients[name]
            * (step_factor * min(self._step_length(name, scale), self._longest_step(name)) / self.norms[name])
            for name in names
            if self.norms[name] > 0.0
        }
        difference = self.difference(steps)
        return attrs.evolve(difference, unit=abs(scale * difference.predicted) or 1.0)

    def along_random_signs(
        self, names: Sequence[str], step_factor: float, scale: float, seed: int
    ) -> CentralDifference:
        """The central difference when all entries of these arrays move by the same length, with random signs."""
        generator = np.random.default_rng(seed)
        steps, squares = {}, 0.0
        for name in names:
            array = self.params[name]
            longest = self._longest_step(name) / math.sqrt(array.size)
            length = step_factor * min(self._step_length(name, scale), longest)
            signs = np.where(generator.random(array.shape) < 0.5, -length, length)
            steps[name] = signs * self._moved_entries.get(name, 1.0)
            squares += (2.0 * length * scale * max(self.norms[name], self.norm_floor)) ** 2
        return self.difference(steps, math.sqrt(squares))

    def along_params(self) -> CentralDifference:
        """The central difference when each array moves along itself, where weight decay changes the loss most."""
        share = DIRECTIONAL.relative_step_along_params
        return self.difference(
            {name: share * array * self._moved_entries.get(name, 1.0) for name, array in self.params.items()}
        )

    def difference(self, steps: Mapping[str, Array], unit: float = 1.0) -> CentralDifference:
        """Evaluate the loss at the parameters plus and minus the steps, and restore the parameters."""
        ends: list[dict[str, Array]] = []
        losses = []
        with restore_afterwards(self.params[name] for name in steps):
            start = {name: self.params[name].copy() for name in steps}
            for sign in (1.0, -1.0):
                for name, step in steps.items():
                    self.params[name][...] = start[name] + sign * step
                ends.append({name: self.params[name].astype(np.float64) for name in steps})
                losses.append(evaluate_closure(self.closure))
        # In single precision rounding changes the steps noticeably, so they are measured at the arrays.
        apart = {name: end - ends[1][name] for name, end in ends[0].items()}
        penalties = {name: float(np.vdot(start[name].astype(np.float64), step)) for name, step in apart.items()}
        self._closure_responds = self._closure_responds or losses != [self.base_loss, self.base_loss]
        return CentralDifference(
            change=losses[0] - losses[1],
            predicted=sum(float(np.vdot(self.gradients[name], step)) for name, step in apart.items()),
            second_difference=losses[0] + losses[1] - 2.0 * self.base_loss,
            penalties=(sum(one for name, one in penalties.items() if is_matrix(start[name])), sum(penalties.values())),
            unit=unit,
        )

    def _check_that_the_closure_responds(self) -> None:
        self.difference(
            {name: np.array(self._longest_step(name) / math.sqrt(array.size)) for name, array in self.params.items()}
        )
        if not self._closure_responds:
            raise ClosureError(
                "the closure does not see run.params: write run.params = params after an update that makes new arrays"
            )

    def _step_length(self, name: str, scale: float) -> float:
        """The length of step that changes the loss by the intended share, if it is along the gradient."""
        change = DIRECTIONAL.relative_loss_change * max(abs(self.base_loss), DIRECTIONAL.smallest_loss)
        return change / (2.0 * scale * max(self.norms[name], self.norm_floor))

    def _longest_step(self, name: str) -> float:
        array = self.params[name]
        usual_square = array.size / max(array.shape) if is_matrix(array) else array.size
        return DIRECTIONAL.relative_step * max(global_norm([array]), math.sqrt(usual_square))


def derivatives_of_batch(
    batch: Batch, params: object, gradients: Gradients, loss: float, base_loss: float | None = None
) -> DirectionalDerivatives:
    """The directional derivatives of a batch that has a closure, at the parameters of ``run.backward``.

    Raises
    ------
    ClosureError
        There is no closure or no parameters, or :class:`DirectionalDerivatives` cannot compare the two.
    """
    if batch.closure is None or params is None:
        lacking = batch.no_closure if batch.closure is None else "give the parameters to Run(params)"
        raise ClosureError(lacking)
    base = evaluate_closure_once(batch) if base_loss is None else base_loss
    return derivatives_of_closure(batch.closure, params, gradients, loss, base)


def derivatives_of_closure(
    closure: Callable[[], Any], params: object, gradients: Gradients, loss: float, base_loss: float
) -> DirectionalDerivatives:
    """The directional derivatives of a closure whose loss at the parameters of ``run.backward`` is ``base_loss``.

    Arrays whose own norm was clipped are left out.

    Raises
    ------
    ClosureError
        As in :class:`DirectionalDerivatives`.
    """
    clipping = find_clipping(gradients)
    moved = perturbable_params(named_arrays(params), gradients)
    moved = {name: array for name, array in moved.items() if name not in clipping.arrays}
    return DirectionalDerivatives(closure, moved, gradients, loss, clipping=clipping, base_loss=base_loss)


def perturbable_params(params: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters that can be perturbed one by one and whose gradient is known, under the gradient's name.

    Read-only arrays are left out, and so are arrays that share memory, whose gradient may be that of one use or of all
    uses.

    Example
    -------
    >>> shared = np.ones((2, 3))
    >>> params = {"w": np.ones(4), "embedding": shared, "head": shared.T}
    >>> list(perturbable_params(params, {name: np.zeros(array.shape) for name, array in params.items()}))
    ['w']
    """
    pairs = {
        name: array
        for name, array in parameters_of(gradients, params).items()
        if array.flags.writeable and array.dtype.kind == "f" and array.size
    }
    names = list(pairs)
    tied = {
        name
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if np.shares_memory(pairs[one], pairs[other])
        for name in (one, other)
    }
    return {name: array for name, array in pairs.items() if name not in tied}


def is_matrix(array: Array) -> bool:
    """Whether an array has two or more axes longer than 1; a single column or row is a vector."""
    return len([length for length in array.shape if length > 1]) > 1
