"""The network of a script during a run: the states that enter its first batches, and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, TypeGuard

import attrs
import numpy as np

from rnncallbacks.arrays.containers import Array
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.reconstruction.batch_readings import BatchReading
from rnncallbacks.detectors.reconstruction.cell_forms import BackwardFault
from rnncallbacks.detectors.reconstruction.layer_states import States
from rnncallbacks.detectors.reconstruction.recognized_network import (
    RECOGNITION,
    NetworkPass,
    RecognizedNetwork,
    recognized_networks,
)
from rnncallbacks.detectors.reconstruction.replaced_targets import ReplacedTargets, find_replaced_targets
from rnncallbacks.detectors.reconstruction.truncated_pass import truncated_gradients

if TYPE_CHECKING:
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.detectors.training_batch import TrainingBatch


@attrs.frozen(kw_only=True)
class ScriptNetworkThresholds:
    """In how many batches the states of the network are followed."""

    followed_batches: int = 12
    """First training batches whose entering state is found out. Chosen by eye, for its cost: a forward pass each."""
    operations: float = 2e8
    """Multiplications in these passes, after which no further batch is followed. Chosen by eye, for its cost."""
    fewest_batches: int = 4
    """Batches that are followed in any case."""


SCRIPT_NETWORK = ScriptNetworkThresholds()


@attrs.define(eq=False)
class ScriptNetwork:
    """Recognizes the network of a run in its first batch, and follows the states of the batches after it.

    A batch enters with zeros, with the final state of the batch before, or with a state that the script shows: the one
    with which the network gives the reported loss. Where the script shows no states, those of the recognized network
    are added to what the batch shows.

    Attributes
    ----------
    network:
        The network; None if it is not recognized.
    follows:
        Whether the states of the next batch can be found out.
    replaced_targets:
        What the targets of the first batch are, if they are certainly not those that its loader yielded.
    """

    network: RecognizedNetwork | None = state_field(None)
    follows: bool = state_field(True)
    replaced_targets: ReplacedTargets | None = state_field(None, saved=False)
    _open: tuple[Batch, NetworkPass] | None = state_field(None, saved=False)
    _final: States | None = state_field(None)
    _carries: bool = state_field(False)  # the final state of the batch before entered the last one
    _has_carried: bool = state_field(False)  # in any batch
    _operations: float = state_field(0.0)

    def follow(self, given: TrainingBatch) -> None:
        """Add a training batch before its update."""
        self._open = None
        if not self.follows:
            return
        number, batch, arrays = given.number, given.batch, given.parameters
        if number == 1 and arrays:
            self.network = next(recognized_networks(arrays, batch, given.loss), None)
            if self.network is None:
                self.replaced_targets = find_replaced_targets(arrays, given.gradients, batch, given.loss)
                batch.replaces_targets = self.replaced_targets is not None
        limits = SCRIPT_NETWORK
        affordable = number <= limits.fewest_batches or self._operations <= limits.operations
        self.follows = self.network is not None and number <= limits.followed_batches and affordable
        if self.network is None or not self.follows:
            return
        passes = self._reproducing(given)
        if len(passes) != 1:  # none, or rounding hides which state entered
            self.follows = False
            return
        found = passes[0]
        self._operations += found.operations
        self._carries = self._final is not None and found.entering is self._final
        self._open, self._final = (batch, found), found.final
        _show(batch, found)
        self._has_carried |= self._carries
        known = batch.batch_size is not None and not self._has_carried  # the state of run.hidden is the one that enters
        self.follows = not known or number < limits.fewest_batches

    def pass_of(self, given: TrainingBatch) -> NetworkPass | None:
        """A pass that gives the reported loss of a batch, at the parameters before its update; None if none does."""
        if self._open is not None and self._open[0] is given.batch:
            return self._open[1]
        if self.network is None:
            return None
        passes = self._reproducing(given)
        return passes[0] if len(passes) == 1 else None

    def loss(self, given: TrainingBatch) -> float | None:
        """The loss of a batch at the parameters as they are; None if it cannot be computed.

        Batches that are not followed enter with the state that they show, or with zeros.
        """
        batch, arrays = given.batch, given.parameters
        if self.network is None or not arrays:
            return None
        if self._open is not None and self._open[0] is batch:
            reading, entering = self._open[1].reading, self._open[1].entering
        else:
            found = self.network.read(batch)
            if found is None:
                return None
            reading = found
            entering = self.network.entering_states(batch, reading)[0]
        return self.network.evaluate(arrays, reading, entering).loss

    def forget(self) -> None:
        """Forget the network, as another one gives the same losses."""
        self.network, self.follows, self._open, self._final = None, False, None, None

    def gradients(self, forward: NetworkPass, given: TrainingBatch, fault: BackwardFault = "") -> dict[str, Array]:
        """The gradients that belong to a pass, by the names of those that the script gave.

        ``fault`` makes the backward pass a wrong one.
        """
        assert self.network is not None
        computed = self.network.backward(forward, given.parameters, fault)
        return {name: array for name, array in computed.items() if name in given.gradients}

    def truncated_gradients(self, forward: NetworkPass, given: TrainingBatch) -> Iterator[dict[str, Array]]:
        """The gradients for each way to truncate backpropagation, by the names of those that the script gave."""
        assert self.network is not None
        for computed in truncated_gradients(self.network, forward, given.parameters):
            yield {name: array for name, array in computed.items() if name in given.gradients}

    def closure(self, forward: NetworkPass, given: TrainingBatch) -> Callable[[], float]:
        """A function that evaluates the loss of the pass's batch at the parameters as they are."""
        network, arrays = self.network, given.parameters
        assert network is not None
        return lambda: network.evaluate(arrays, forward.reading, forward.entering).loss

    def is_certain(self, forward: NetworkPass, given: TrainingBatch, wrong: Collection[str]) -> bool:
        """Whether all networks that give the loss of a batch's pass agree on the gradient of a wrong array.

        Arrays that are zero leave open where the network reads them, such as the biases of two layers before the first
        update. That changes their own gradients only. Where the outputs vary, a network of other layers gives the same
        loss by no more than chance.
        """
        batch, arrays, agreed = given.batch, given.parameters, set(wrong)
        first: dict[str, Array] = {}
        carried = self._open[1].entering if self._open is not None and self._open[0] is batch else None
        varied = bool((forward.outputs != forward.outputs[:1, :1]).any())
        like = self.network if varied else None
        for network in recognized_networks(arrays, batch, forward.loss, carried, like):
            reading = network.read(batch)
            if reading is None:
                continue
            states = network.entering_states(batch, reading)
            if carried is not None and _same_layers(states[0], carried):
                states = [*states, carried]
            for entering in states:
                other = network.evaluate(arrays, reading, entering)
                if not self._reproduces(other, forward.loss, arrays):
                    continue
                found = network.backward(other, arrays)
                first = first or found
                agreed = {name for name in agreed if np.allclose(found[name], first[name], rtol=1e-6, atol=1e-12)}
                if not agreed:
                    return False
        return bool(first)

    def _reproducing(self, given: TrainingBatch) -> list[NetworkPass]:
        """The passes that give the reported loss: one, unless rounding hides the difference of entering states."""
        batch, arrays = given.batch, given.parameters
        reading = None if self.network is None or not arrays else self.network.read(batch)
        if self.network is None or reading is None:
            return []
        states = self.network.entering_states(batch, reading)
        zeros = all(state is None for layer in states[0] for state in layer)
        if zeros and self.follows and _fits(self._final, reading):
            states = [states[0], self._final]
            states = states[::-1] if self._carries else states
        found = []
        for entering in states:
            forward = self.network.evaluate(arrays, reading, entering)
            if not self._reproduces(forward, given.loss, arrays):
                continue
            found.append(forward)
            if RECOGNITION.tolerance_of(arrays) == RECOGNITION.tolerance:
                break  # in double precision, nine digits are enough to tell the states apart
        return found

    def _reproduces(self, forward: NetworkPass, loss: float, arrays: Mapping[str, Array]) -> bool:
        return abs(forward.loss - loss) <= RECOGNITION.tolerance_of(arrays) * abs(loss)


def _fits(states: States | None, reading: BatchReading) -> TypeGuard[States]:
    """Whether states may enter a batch: they have a row for each of its sequences."""
    return states is not None and all(
        hidden is not None and len(hidden) == reading.inputs.shape[1] for hidden, _ in states
    )


def _same_layers(one: States, other: States) -> bool:
    """Whether the states of two passes belong to as many layers."""
    return len(one) == len(other)


def _show(batch: Batch, forward: NetworkPass) -> None:
    """Add the number of sequences to a batch, and the uppermost states and outputs if its script shows no states."""
    state, cell_state = forward.entering[-1]
    zeros = np.zeros_like(forward.states[0])
    hidden = zeros if state is None else state
    if forward.passed[-1].cells is None:
        entering: Array | tuple[Array, Array] = hidden
    else:
        entering = (hidden, zeros if cell_state is None else cell_state)
    shown = {"entering_state": entering, "hidden_states": forward.states}
    if forward.reading.readout == "each":
        shown["logits"] = forward.outputs
    observed = batch.observed
    if batch.batch_size is not None:
        return
    batch.network_rows = forward.reading.inputs.shape[1]
    if not any(name in observed for name in ("entering_state", "hidden_states")):
        observed.update({name: value for name, value in shown.items() if name not in observed})
