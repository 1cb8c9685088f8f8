"""A network whose forward pass gives the losses that a script reports, and therefore is the script's own.

The shapes of a script's arrays leave few networks: one-layer vanilla networks, LSTMs and GRUs in the forms that scripts
use (:mod:`cell_forms <rnncallbacks.detectors.reconstruction.cell_forms>`). One of them that gives the reported loss to
nine digits is taken for the script's. Its backward pass then gives the gradient that the script should have, without a
closure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np

from rnncallbacks.arrays import Array
from rnncallbacks.detectors.reconstruction.array_roles import ArrayRoles, Part, array_roles
from rnncallbacks.detectors.reconstruction.batch_readings import (
    BatchReading,
    ReadingKey,
    batch_readings,
    entering_states,
    read_batch,
    shown_sequences,
)
from rnncallbacks.detectors.reconstruction.cell_forms import (
    BackwardFault,
    CellForm,
    CellPass,
    backward_pass,
    cell_forms,
    forward_pass,
)
from rnncallbacks.detectors.reconstruction.loss_formulas import LossFormula, matching_formula

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.detectors.sequences import Sequences


@attrs.frozen(kw_only=True)
class RecognitionThresholds:
    """When a network counts as the script's, and how far the search goes."""

    tolerance: float = 1e-9
    """Relative distance between its loss and the reported one, in double precision. Sums in another order differ by
    1e-15 a term. Chosen by eye."""
    tolerance_of_float32: float = 2e-6
    """The same in single precision. Chosen by eye."""
    candidates: int = 128
    """Networks that are tried, at most. Chosen by eye, for its cost."""
    operations: float = 3e9
    """Multiplications in all of them, at most. Chosen by eye, for its cost."""
    layouts: int = 8
    """Ways to read the arrays, at most, for each number of gates. Chosen by eye."""

    def tolerance_of(self, arrays: Mapping[str, Array]) -> float:
        """The tolerance for arrays of their precision."""
        single = any(array.dtype.itemsize < 8 for array in arrays.values())
        return self.tolerance_of_float32 if single else self.tolerance


RECOGNITION = RecognitionThresholds()


States: TypeAlias = tuple[Array | None, Array | None]
"""The hidden and the cell state that enter a batch, of shape (batch, units); None for zeros."""


@attrs.frozen(eq=False)
class NetworkPass:
    """A forward pass of a recognized network over a batch.

    Attributes
    ----------
    entering:
        The states that entered.
    weights:
        The parts of the network at that time.
    reading:
        The inputs and targets.
    passed:
        The states of all time steps.
    outputs:
        The network's outputs, of shape (time, batch, outputs).
    loss:
        The loss.
    """

    entering: States
    weights: Mapping[Part, Array]
    reading: BatchReading
    passed: CellPass
    outputs: Array
    loss: float

    @property
    def operations(self) -> float:
        """The number of multiplications in the pass, about."""
        steps, rows = self.passed.states.shape[:2]
        return float(steps * rows) * sum(array.size for array in self.weights.values())

    @property
    def final(self) -> States:
        """The states after the last time step."""
        return self.passed.states[-1], None if self.passed.cells is None else self.passed.cells[-1]


@attrs.frozen
class RecognizedNetwork:
    """A network, how it reads the script's arrays and batches, and the formula of its loss."""

    roles: ArrayRoles
    form: CellForm
    key: ReadingKey
    formula: LossFormula

    def read(self, batch: Batch) -> BatchReading | None:
        """The inputs and targets of a batch; None if it cannot be read as the first one was."""
        shown = shown_sequences(batch)
        return None if shown is None else read_batch(shown, self.key, self.roles.inputs, self.roles.outputs)

    def evaluate(self, arrays: Mapping[str, Array], reading: BatchReading, entering: States) -> NetworkPass:
        """Run the network over inputs and targets that were read."""
        weights = _cell_weights(self.roles, self.form, arrays)
        with np.errstate(all="ignore"):
            passed = forward_pass(self.form, weights, reading.inputs, *entering)
            outputs = network_outputs(weights, passed, last_step=reading.last_step)
            loss = self.formula.value(outputs, reading.targets)
        return NetworkPass(entering, weights, reading, passed, outputs, loss)

    def backward(
        self, forward: NetworkPass, arrays: Mapping[str, Array], fault: BackwardFault = ""
    ) -> dict[str, Array]:
        """The gradients of the script's arrays, from a pass; ``fault`` makes the backward pass a wrong one."""
        states = forward.passed.states[1:]
        with np.errstate(all="ignore"):
            errors = self.formula.derivative(forward.outputs, forward.reading.targets)
            used = states[-len(errors) :].reshape(-1, states.shape[-1])
            d_states = np.zeros_like(states)
            d_states[-len(errors) :] = errors @ forward.weights["output"]
            parts = backward_pass(self.form, forward.weights, forward.reading.inputs, forward.passed, d_states, fault)
        flat = errors.reshape(-1, errors.shape[-1])
        whole = {part: self.form.disordered(gradient) for part, gradient in parts.items()}
        whole |= {"output": flat.T @ used, "output bias": flat.sum(axis=0)}
        return self.roles.put(whole, arrays)


def network_outputs(weights: Mapping[Part, Array], passed: CellPass, *, last_step: bool) -> Array:
    """The outputs of shape (time, batch, outputs), of the last step alone where only that one is used."""
    states = passed.states[-1:] if last_step else passed.states[1:]
    return np.asarray(states @ weights["output"].T + weights.get("output bias", 0.0))


def recognized_networks(
    arrays: Mapping[str, Array], batch: Batch, loss: float, thresholds: RecognitionThresholds = RECOGNITION
) -> Iterator[RecognizedNetwork]:
    """The networks that give the reported loss of a batch, by the parameters before its update.

    Example
    -------
    >>> from rnncallbacks.core.batch import Batch
    >>> generator = np.random.default_rng(0)
    >>> arrays = {name: generator.normal(size=shape) for name, shape in
    ...           {"Wx": (6, 3), "Wh": (6, 6), "b": (6,), "Wy": (3, 6)}.items()}
    >>> tokens = generator.integers(0, 3, (8, 5))
    >>> h, losses = np.zeros((5, 6)), []
    >>> for t in range(7):
    ...     h = np.tanh(arrays["Wx"].T[tokens[t]] + h @ arrays["Wh"].T + arrays["b"])
    ...     y = h @ arrays["Wy"].T
    ...     losses.append(np.log(np.exp(y).sum(axis=1)) - y[range(5), tokens[t + 1]])
    >>> batch = Batch((tokens[:-1], tokens[1:]), "train", 1)
    >>> [found] = recognized_networks(arrays, batch, float(np.mean(losses)))
    >>> found.form.kind, found.roles.names("recurrent")
    ('tanh', ('Wh',))
    """
    shown = shown_sequences(batch)
    if shown is None or not np.isfinite(loss) or loss == 0.0:
        return
    tolerance = thresholds.tolerance_of(arrays)
    operations = 0.0
    for roles, form in islice(_candidates(arrays, shown, thresholds), thresholds.candidates):
        weights = _cell_weights(roles, form, arrays)
        for key, reading in batch_readings(shown, roles.inputs, roles.outputs):
            for state, cell_state in entering_states(batch, reading.inputs.shape[1], roles.hidden):
                steps, rows = reading.inputs.shape[:2]
                operations += float(steps * rows) * (weights["recurrent"].size + weights["output"].size)
                if operations > thresholds.operations:
                    return
                with np.errstate(all="ignore"):
                    passed = forward_pass(form, weights, reading.inputs, state, cell_state)
                    outputs = network_outputs(weights, passed, last_step=reading.last_step)
                    formula = matching_formula(outputs, reading.targets, loss, tolerance)
                if formula is not None:
                    yield RecognizedNetwork(roles, form, key, formula)


def _candidates(
    arrays: Mapping[str, Array], shown: Sequences, thresholds: RecognitionThresholds
) -> Iterator[tuple[ArrayRoles, CellForm]]:
    """All networks that fit the shapes of the arrays, those of the usual forms first."""
    inputs = np.asarray(shown.inputs)
    widths: tuple[int | None, ...] = (None,)
    if inputs.dtype.kind == "f":
        widths = tuple(dict.fromkeys([*inputs.shape[::-1], *([1] if inputs.ndim == 2 else [])]))
    for gates in (1, 4, 3):
        layouts = [
            roles
            for width in widths
            for roles in islice(array_roles(arrays, gates, width, shown.vocab_size), thresholds.layouts)
        ]
        for form in cell_forms(gates):
            for roles in layouts:
                yield roles, form


def _cell_weights(roles: ArrayRoles, form: CellForm, arrays: Mapping[str, Array]) -> dict[Part, Array]:
    """The parts of the network in double precision, with gates in the order of the cell."""
    return {
        part: np.asarray(array if part.startswith("output") else form.ordered(array), dtype=np.float64)
        for part, array in roles.take(arrays).items()
    }
