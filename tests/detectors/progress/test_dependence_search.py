"""What a dependence is one of: the own sequence, the own step, or series that change slowly."""

import numpy as np
import pytest

from rnncallbacks.detectors.progress.dependence import Dependence
from rnncallbacks.detectors.progress.dependence_search import of_other_sequences, strongest_of, within_sequences
from rnncallbacks.detectors.progress.sequence_pairs import SequencePairs

RANDOM = np.random.default_rng(0)
SLOW = np.abs(np.cumsum(RANDOM.integers(-1, 2, (2, 10, 400)), axis=2)) % 8


@pytest.mark.parametrize("own", [False, True])
def test_slow_tokens_seem_to_depend_on_other_sequences(own):
    inputs, targets = SLOW[0], np.roll(SLOW[0], 2, axis=1) if own else SLOW[1]
    way = (inputs, targets, np.repeat(np.arange(20), 20))
    found = strongest_of([way], tokens=True)
    assert found.z > 5.0
    assert (of_other_sequences(found, way) < 0.5 * found.z) is own


@pytest.mark.parametrize(("between", "tested"), [("the present input", True), ("the input 9 steps before", False)])
def test_a_dependence_is_compared_within_sequences_where_it_could_be_there(between, tested):
    inputs = RANDOM.integers(0, 4, (200, 12))
    found = Dependence(9.0, between, 1, 2400, 0.1)
    assert (within_sequences(found, inputs, RANDOM.permuted(inputs, axis=1)) is not None) is tested
    assert within_sequences(found, inputs, inputs) is None


@pytest.mark.parametrize(("inputs", "repeated"), [("same", True), ("zeros", False), ("other", False)])
def test_inputs_that_are_those_of_the_first_batch_are_seen(inputs, repeated):
    pairs = SequencePairs()
    first = RANDOM.integers(0, 4, (5, 8))
    for _ in range(4):
        pairs.inputs.append({"same": first, "zeros": 0 * first, "other": RANDOM.integers(0, 4, (5, 8))}[inputs])
        pairs.targets.append(RANDOM.integers(0, 4, (5, 8)))
    assert pairs.repeats_inputs is repeated


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_dependence_on_an_input_that_is_lost_in_another_order_is_one_of_its_step(shuffled):
    random = np.random.default_rng(6)
    stream = random.integers(0, 20, 1201)
    for step in range(3, 1201):
        stream[step] = stream[step - 3] if random.random() < 0.75 else stream[step]
    inputs, targets = (one.reshape(100, 12) for one in (stream[:-1], stream[1:]))
    targets = random.permuted(targets, axis=1) if shuffled else targets
    found = strongest_of([(inputs, targets, None)], tokens=True)
    assert (within_sequences(found, inputs, targets) is not None) == shuffled
