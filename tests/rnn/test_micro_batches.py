"""Slices of a batch: loss, gradients and states are those of the whole, and memory is that of one slice."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.arrays.containers import map_arrays, named_arrays
from rnncallbacks.errors import DataError, ShapeError
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.micro_batches import MicroBatches
from rnncallbacks.rnn.model import RecurrentModel

CELLS = [
    {"cell": "vanilla"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "lstm", "num_layers": 2, "layer_norm": True},
    {"cell": "gru", "bidirectional": True},
]
TASKS = [{"output": "step", "loss": "nll"}, {"output": "last", "loss": "nll"}]
TASKS += [{"output": one["output"], "loss": "mse"} for one in TASKS]


def network(**options):
    return RecurrentModel(5, input_size=3, output_size=4, dtype="float64", **options)


def batch_for(output, loss, masked, size=7, steps=6, seed=0):
    generator = np.random.default_rng(seed)
    leading = (steps, size) if output == "step" else (size,)
    targets = generator.integers(4, size=leading) if loss == "nll" else generator.normal(size=(*leading, 4))
    lengths = generator.integers(1, steps + 1, size=size)
    mask = np.arange(steps)[:, None] < lengths if masked else None
    return SequenceBatch(generator.normal(size=(steps, size, 3)), targets, mask, np.arange(size) % 2 == 0)


def entering_state(model, size):
    generator = np.random.default_rng(9)
    return map_arrays(lambda array: generator.normal(size=array.shape), model.zero_state(size))


def assert_same_state(one, other):
    ones, others = named_arrays(one), named_arrays(other)
    assert list(ones) == list(others)
    for name, array in ones.items():
        np.testing.assert_allclose(array, others[name], rtol=1e-12, atol=1e-14)


def compare(model, batch, size):
    """The whole batch against slices of it."""
    state = entering_state(model, batch.size)
    loss, final = model.forward(batch, state)
    gradients = model.backward().flat.copy()
    evaluated, left = model.evaluate(batch, state)
    micro = MicroBatches(model, size)
    found, leaving, accumulated = micro.learn(batch, state)
    assert found == pytest.approx(loss, rel=1e-12)
    assert_same_state(leaving, final)
    assert accumulated is model.gradients
    np.testing.assert_allclose(accumulated.flat, gradients, rtol=1e-9, atol=1e-13)
    assert micro.reevaluate(batch, state) == pytest.approx(loss, rel=1e-12)
    again, leaving = micro.evaluate(batch, state)
    assert again == pytest.approx(evaluated, rel=1e-12)
    assert_same_state(leaving, left)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("cell", CELLS)
def test_slices_are_the_whole(cell, task, masked):
    compare(network(**cell, **task), batch_for(**task, masked=masked), 3)


@given(
    st.integers(1, 12), st.integers(1, 14), st.integers(1, 5), st.sampled_from(TASKS), st.booleans(), st.integers(0, 99)
)
def test_slices_of_any_size_are_the_whole(rows, size, steps, task, masked, seed):
    compare(network(cell="gru", **task), batch_for(**task, masked=masked, size=rows, steps=steps, seed=seed), size)


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_rows_of_which_nothing_counts_stay_as_they_are(size):
    batch = batch_for("step", "nll", masked=True)
    batch.mask[:, 2:6] = False
    model = network(cell="lstm")
    compare(model, batch, size)
    state = entering_state(model, batch.size)
    _, (hidden, cell), _ = MicroBatches(model, size).learn(batch, state)
    np.testing.assert_array_equal(hidden[2:6], state[0][2:6])
    np.testing.assert_array_equal(cell[2:6], state[1][2:6])


def test_batches_of_many_lengths():
    generator = np.random.default_rng(0)
    model = RecurrentModel(5, vocab_size=6, embedding_size=3, cell="lstm", dtype="float64")
    ragged = SequenceLoader([generator.integers(6, size=size) for size in generator.integers(2, 20, 26)], 8)
    documents = StreamLoader(generator.integers(6, size=120), 5, 7, document_starts=[0, 3, 9, 30, 41, 42, 70, 99])
    seen = 0
    for batch in [*ragged, *documents]:
        compare(model, batch, 3)
        seen += batch.mask is not None
    assert seen > 3


@pytest.mark.parametrize("size", [None, 7, 8])
def test_a_batch_that_is_not_cut_gives_the_very_same_numbers(size):
    batch = batch_for("step", "nll", masked=True)
    one, other = (network(cell="lstm", num_layers=2, dropout=0.4) for _ in range(2))
    state = one.zero_state(7)
    micro = MicroBatches(other, size)
    assert micro.whole(batch)
    for _ in range(2):
        loss, (top, _) = one.forward(batch, state)
        gradients = one.backward()
        found, (leaving, _), accumulated = micro.learn(batch, state)
        assert found == loss
        assert accumulated.flat.tobytes() == gradients.flat.tobytes()
        np.testing.assert_array_equal(leaving, top)
        assert micro.reevaluate(batch, state) == loss
        assert micro.evaluate(batch, state)[0] == one.evaluate(batch, state)[0]


@pytest.mark.parametrize("empty", [False, True])
def test_dropout_is_the_same_when_the_loss_is_asked_for_again(empty):
    batch, model = batch_for("step", "nll", masked=True), network(cell="lstm", num_layers=2, dropout=0.4)
    batch.mask[:, 3:6] &= not empty
    state, micro = model.zero_state(7), MicroBatches(model, 3)
    first, _, gradients = micro.learn(batch, state)
    gradients = gradients.flat.copy()
    assert [micro.reevaluate(batch, state) for _ in range(2)] == [first, first]
    # Slices have dropout of their own, and another one the next time.
    assert first != pytest.approx(micro.evaluate(batch, state)[0], rel=1e-3)
    direction = np.random.default_rng(1).normal(size=gradients.size)
    changed = []
    for step in (1e-5, -2e-5):
        model.parameters.flat[:] += step * direction
        changed.append(micro.reevaluate(batch, state))
    model.parameters.flat[:] += 1e-5 * direction
    assert (changed[0] - changed[1]) / 2e-5 == pytest.approx(gradients @ direction, rel=1e-6)
    assert micro.learn(batch, state)[0] != first


def test_what_is_not_finite_comes_out_without_a_warning():
    generator = np.random.default_rng(0)
    model = RecurrentModel(5, input_size=3, output_size=1, loss="mse", dtype="float64")
    model.parameters["head.weight"][:] = 1e200
    batch = SequenceBatch(generator.normal(size=(1, 7, 3)), generator.normal(size=(1, 7, 1)))
    signs = set()
    for row in range(7):
        alone = SequenceBatch(batch.inputs[:, [row]], batch.targets[:, [row]])
        _, _, gradients = MicroBatches(model, None).learn(alone, model.zero_state(1))
        signs.add(gradients["rnn.bias_hh_l0"][0])
    assert signs == {np.inf, -np.inf}
    loss, _, gradients = MicroBatches(model, 1).learn(batch, model.zero_state(7))
    assert loss == np.inf
    assert np.isnan(gradients["rnn.bias_hh_l0"]).all()
    assert np.isfinite(gradients["head.bias"]).all()


def test_errors_say_which_slice_it_was():
    batch, model = batch_for("last", "nll", masked=True), network(output="last")
    batch.mask[:, 4] = False
    with pytest.raises(DataError, match="row 1 has no unmasked step") as caught:
        MicroBatches(model, 3).learn(batch, model.zero_state(7))
    assert caught.value.__notes__ == ["in the slice of the batch that begins with row 3"]


def test_a_state_of_another_size_is_refused():
    model = network()
    with pytest.raises(ShapeError, match=r"state of shape \(8, 5\).*expected \(7, 5\)"):
        MicroBatches(model, 3).learn(batch_for("step", "nll", masked=False), model.zero_state(8))


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_memory_is_that_of_a_slice(cell):
    def peak(rows, size):
        model = RecurrentModel(32, vocab_size=300, cell=cell)
        tokens = np.random.default_rng(0).integers(300, size=(41, rows))
        batch, micro = SequenceBatch(tokens[:-1], tokens[1:]), MicroBatches(model, size)
        state = model.zero_state(rows)
        micro.learn(SequenceBatch(tokens[:2, :1], tokens[1:3, :1]), model.zero_state(1))  # what does not depend on rows
        tracemalloc.start()
        try:
            micro.learn(batch, state)
            micro.reevaluate(batch, state)
            micro.evaluate(batch, state)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    slice_alone = peak(4, None)
    # State and gradients of the whole are little beside 40 steps of 4 rows.
    assert peak(64, 4) < 1.3 * slice_alone
    assert peak(64, None) > 8 * slice_alone
