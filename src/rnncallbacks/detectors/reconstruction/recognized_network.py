"""A network whose forward pass gives the losses that a script reports, and therefore is the script's own.

The shapes of a script's arrays leave few networks: one to three layers of vanilla cells, LSTMs or GRUs in the forms
that scripts use (:mod:`cell_forms <rnncallbacks.detectors.reconstruction.cell_forms>`), over features, tokens or an
embedding table, with outputs of each step, of the last one, or of the mean state, with or without one layer of units
between state and outputs. One of them that gives the reported
loss to nine digits is taken for the script's. Its backward pass then gives the gradient that the script should have,
without a closure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.detectors.reconstruction.array_roles import OUTER_PARTS, ArrayRoles, Slot
from rnncallbacks.detectors.reconstruction.batch_readings import (
    BatchReading,
    ReadingKey,
    batch_readings,
    outputs_of,
    read_batch,
    shown_sequences,
)
from rnncallbacks.detectors.reconstruction.cell_forms import BackwardFault, CellForm, CellPass, cell_forms
from rnncallbacks.detectors.reconstruction.layer_states import States, entering_states
from rnncallbacks.detectors.reconstruction.loss_formulas import LossFormula, matching_formula
from rnncallbacks.detectors.reconstruction.role_search import array_roles
from rnncallbacks.detectors.reconstruction.stacked_pass import (
    HeadActivation,
    network_outputs,
    stacked_backward,
    stacked_forward,
)

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.detectors.sequences import Sequences


@attrs.frozen(kw_only=True)
class RecognitionThresholds:
    """Tolerances of a recognized network, and limits of the search."""

    tolerance: float = 1e-9
    """Relative distance between its loss and the reported one, in double precision. Sums in another order differ by
    1e-15 a term. Chosen by eye."""
    tolerance_of_float32: float = 2e-6
    """The same in single precision. Chosen by eye."""
    candidates: int = 128
    """Networks that are tried, at most. Chosen by eye, for its cost."""
    operations: float = 1.5e9
    """Multiplications in all of them, at most: two seconds, where no network fits. Chosen by eye, for its cost."""
    layouts: int = 8
    """Ways to read the arrays, at most, for each number of gates and layers. Chosen by eye."""
    layers: int = 3
    """Layers of a network, at most. Chosen by eye."""
    operations_of_step: float = 2e4
    """Smallest cost of a time step of a layer, in multiplications, for the time of the calls. Chosen by eye."""

    def tolerance_of(self, arrays: Mapping[str, Array]) -> float:
        """The tolerance for arrays of their precision."""
        single = any(array.dtype.itemsize < 8 for array in arrays.values())
        return self.tolerance_of_float32 if single else self.tolerance


RECOGNITION = RecognitionThresholds()


@attrs.frozen(eq=False)
class NetworkPass:
    """A forward pass of a recognized network over a batch.

    Attributes
    ----------
    entering:
        The states that entered each layer.
    weights:
        The parts of the network at that time.
    reading:
        The inputs and targets.
    passed:
        The states of all time steps, of each layer.
    outputs:
        The network's outputs, of shape (time, batch, outputs).
    loss:
        The loss.
    """

    entering: States
    weights: Mapping[Slot, Array]
    reading: BatchReading
    passed: tuple[CellPass, ...]
    outputs: Array
    loss: float

    @property
    def states(self) -> Array:
        """The states of the uppermost layer, of shape (time + 1, batch, units), the entering one first."""
        return self.passed[-1].states

    @property
    def operations(self) -> float:
        """The number of multiplications in the pass, about."""
        steps, rows = self.reading.inputs.shape[:2]
        return float(steps * rows) * sum(array.size for (_, part), array in self.weights.items() if part != "embedding")

    @property
    def final(self) -> States:
        """The states of each layer after the last time step."""
        return tuple((one.states[-1], None if one.cells is None else one.cells[-1]) for one in self.passed)


@attrs.frozen
class RecognizedNetwork:
    """A network, how it reads the script's arrays and batches, and the formula of its loss."""

    roles: ArrayRoles
    form: CellForm
    key: ReadingKey
    formula: LossFormula
    activation: HeadActivation = "tanh"

    @property
    def structure(self) -> tuple[bool, int, bool, int]:
        """Whether it has a head, its number of layers, whether it has an embedding table, its number of gates."""
        sizes = self.roles.sizes
        return (0, "head") in self.roles.blocks, len(sizes.hidden), self.roles.tokens is not None, sizes.gates

    def read(self, batch: Batch) -> BatchReading | None:
        """The inputs and targets of a batch; None if it cannot be read as the first one was."""
        shown = shown_sequences(batch)
        return None if shown is None else read_batch(shown, self.key, self.roles.inputs, self.roles.sizes.outputs)

    def entering_states(self, batch: Batch, reading: BatchReading) -> list[States]:
        """The states that may have entered a batch: those that it shows, else zeros."""
        return entering_states(batch, reading.inputs.shape[1], self.roles.sizes.hidden)

    def evaluate(self, arrays: Mapping[str, Array], reading: BatchReading, entering: States) -> NetworkPass:
        """Run the network over inputs and targets that were read."""
        weights = _weights(self.roles, self.form, arrays)
        with np.errstate(all="ignore"):
            passed = stacked_forward(self.form, weights, reading.inputs, entering)
            outputs = network_outputs(weights, passed[-1], reading.readout, self.activation)
            loss = self.formula.value(outputs, reading.targets)
        return NetworkPass(entering, weights, reading, passed, outputs, loss)

    def backward(
        self, forward: NetworkPass, arrays: Mapping[str, Array], fault: BackwardFault = ""
    ) -> dict[str, Array]:
        """The gradients of the script's arrays, from a pass; ``fault`` makes the backward pass a wrong one."""
        reading = forward.reading
        with np.errstate(all="ignore"):
            errors = self.formula.derivative(forward.outputs, reading.targets)
            parts = stacked_backward(
                self.form,
                forward.weights,
                reading.inputs,
                forward.passed,
                errors,
                reading.readout,
                fault,
                self.activation,
            )
        return self.roles.put(parts, arrays)


def recognized_networks(
    arrays: Mapping[str, Array],
    batch: Batch,
    loss: float,
    carried: States | None = None,
    like: RecognizedNetwork | None = None,
) -> Iterator[RecognizedNetwork]:
    """The networks that give the reported loss of a batch, by the parameters before its update.

    ``carried`` are further states that may have entered it. Those that it shows, and zeros, are tried as well. ``like``
    is a network whose numbers of layers and gates they have, and with which they share a head or an embedding table.

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
    if not np.isfinite(loss) or loss == 0.0:
        return
    tolerance = RECOGNITION.tolerance_of(arrays)
    for network, reading, outputs, _ in network_passes(arrays, batch, carried, like):
        with np.errstate(all="ignore"):
            formula = matching_formula(outputs, reading.targets, loss, tolerance)
        if formula is not None:
            yield attrs.evolve(network, formula=formula)


def network_passes(
    arrays: Mapping[str, Array],
    batch: Batch,
    carried: States | None = None,
    like: RecognizedNetwork | None = None,
) -> Iterator[tuple[RecognizedNetwork, BatchReading, Array, tuple[CellPass, ...]]]:
    """The networks that fit the shapes of arrays, whose formula is unknown, and their outputs for a batch."""
    shown = shown_sequences(batch)
    if shown is None:
        return
    operations = 0.0
    # Networks that differ in what lies above their layers share the passes of these.
    passes: dict[tuple[object, ...], list[tuple[CellPass, ...]]] = {}
    for roles, form in islice(_candidates(arrays, shown, like), RECOGNITION.candidates):
        weights = _weights(roles, form, arrays)
        sizes = roles.sizes
        layers = (form, sizes.hidden, tuple(sorted(item for item in roles.blocks.items() if _is_below(item[0]))))
        for key, reading in batch_readings(shown, roles.inputs, sizes.outputs):
            steps, rows = reading.inputs.shape[:2]
            entering = entering_states(batch, rows, sizes.hidden)
            if carried is not None and _state_shapes(carried) == [(rows, hidden) for hidden in sizes.hidden]:
                entering = [*entering, carried]
            if (layers, key.axes) not in passes:
                cells = max(rows * sum(weights[layer, "recurrent"].size for layer in range(len(sizes.hidden))), 1)
                operations += steps * len(entering) * max(cells, RECOGNITION.operations_of_step * len(sizes.hidden))
                if operations > RECOGNITION.operations:
                    return
                with np.errstate(all="ignore"):
                    passes[layers, key.axes] = [stacked_forward(form, weights, reading.inputs, one) for one in entering]
            for passed, activation in product(passes[layers, key.axes], _activations(weights)):
                operations += float(steps * rows) * weights[0, "output"].size
                with np.errstate(all="ignore"):
                    outputs = network_outputs(weights, passed[-1], reading.readout, activation)
                unknown = LossFormula(classes=reading.targets.dtype.kind in "iu")
                yield RecognizedNetwork(roles, form, key, unknown, activation), reading, outputs, passed


def _candidates(
    arrays: Mapping[str, Array],
    shown: Sequences,
    like: RecognizedNetwork | None,
) -> Iterator[tuple[ArrayRoles, CellForm]]:
    """All networks that fit the shapes of the arrays, those of the usual forms first."""
    inputs = np.asarray(shown.inputs)
    features = inputs.dtype.kind == "f"
    widths: tuple[int | None, ...] = (None,)
    if features:
        widths = tuple(dict.fromkeys([*inputs.shape[::-1], *([1] if inputs.ndim == 2 else [])]))
    fewest = 1 if features else int(inputs.max()) + 1
    may_be_outputs = outputs_of(np.asarray(shown.targets))
    structures = product((False, True), range(1, RECOGNITION.layers + 1), (False,) if features else (False, True))
    for (headed, layers, embedded), gates in product(structures, (1, 4, 3)):
        if like is not None and like.structure != (headed, layers, embedded, gates):
            continue
        search = (
            roles
            for width in widths
            for roles in islice(
                array_roles(
                    arrays,
                    gates,
                    width,
                    shown.vocab_size,
                    layers=layers,
                    embedded=embedded,
                    headed=headed,
                    fewest_inputs=fewest,
                    may_be_outputs=may_be_outputs,
                ),
                RECOGNITION.layouts,
            )
        )
        layouts: list[ArrayRoles] = []
        for form in cell_forms(gates):
            for roles in layouts or _appended(search, layouts):  # often, the first one fits, and the search ends
                yield roles, form


def _appended(search: Iterator[ArrayRoles], layouts: list[ArrayRoles]) -> Iterator[ArrayRoles]:
    """The layouts of a search, each added to the list."""
    for roles in search:
        layouts.append(roles)
        yield roles


def _is_below(slot: Slot) -> bool:
    """Whether the states depend on a part."""
    return slot[1] == "embedding" or slot[1] not in OUTER_PARTS


def _activations(weights: Mapping[Slot, Array]) -> tuple[HeadActivation, ...]:
    """The activations that a head may have; one if there is no head."""
    return ("relu", "tanh", "sigmoid") if (0, "head") in weights else ("tanh",)


def _state_shapes(states: States) -> list[tuple[int, ...]]:
    return [() if hidden is None else hidden.shape for hidden, _ in states]


def _weights(roles: ArrayRoles, form: CellForm, arrays: Mapping[str, Array]) -> dict[Slot, Array]:
    """The parts of the network in double precision, with gates in the order of the cell."""
    return {
        slot: np.asarray(array if slot[1] in OUTER_PARTS else form.ordered(array), dtype=np.float64)
        for slot, array in roles.take(arrays).items()
    }
