from __future__ import annotations

import copy
import importlib.util
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncallbacks.arrays.containers import map_arrays, named_arrays
from rnncallbacks.errors import (
    ContainerError,
    DataError,
    OptionError,
    RnnCallbacksError,
    RunStateError,
    ShapeError,
)
from rnncallbacks.rnn.cells.gru import GRUCell
from rnncallbacks.rnn.cells.lstm import LSTMCell
from rnncallbacks.rnn.cells.original_gru import OriginalGRUCell
from rnncallbacks.rnn.cells.vanilla import VanillaCell
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel

REFERENCE = Path(__file__).parent / "reference"
STORED = np.load(REFERENCE / "models.npz")
CASES = sorted({key.split("/")[0] for key in STORED.files})


def make_reference() -> ModuleType:
    pytest.importorskip("torch", reason="PyTorch is not installed; its stored numbers are compared all the same")
    spec = importlib.util.spec_from_file_location("make_reference", REFERENCE / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def states_in(case: dict[str, np.ndarray], what: str, model: RecurrentModel) -> Any:
    """A case's states, (layers * directions, batch, hidden), in the model's form."""
    parts = [case[f"{what}/{part}"] for part in ("hidden", "cell") if f"{what}/{part}" in case]
    states = [one[0] if len(one) == 1 else one for one in zip(*parts, strict=True)]
    return states[0] if len(states) == 1 else tuple(states)


def compare_with_case(case: dict[str, np.ndarray], options: dict[str, Any], kernels: str = "numpy") -> None:
    dtype, loose = ("float64", 1.0) if kernels == "numpy" else ("float32", 1e6)
    model = RecurrentModel(case["state/hidden"].shape[2], dtype=dtype, kernels=kernels, **options)
    for name, parameter in model.parameters.items():
        parameter[...] = case[f"parameter/{name}"]
    batch = SequenceBatch(case["inputs"], case["targets"], case.get("mask"))
    loss, final = model.forward(batch, states_in(case, "state", model))
    gradients = model.backward()
    assert loss == pytest.approx(float(case["loss"]), rel=1e-12 * loose)
    wanted = named_arrays(states_in(case, "final", model))
    assert named_arrays(final).keys() == wanted.keys()
    for name, array in named_arrays(final).items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-12 * loose, atol=1e-15 if loose == 1.0 else 1e-6)
    assert list(gradients) == [key.removeprefix("gradient/") for key in case if key.startswith("gradient/")]
    for name, gradient in gradients.items():
        wanted_gradient = case[f"gradient/{name}"]
        if kernels == "numpy":
            np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-9, atol=1e-14, err_msg=name)
        else:
            np.testing.assert_allclose(gradient, wanted_gradient, atol=3e-6 * np.abs(wanted_gradient).max())


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "masked"}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_stored_numbers_of_pytorch(name: str, kernels: str) -> None:
    case = {key.removeprefix(f"{name}/"): STORED[key] for key in STORED.files if key.startswith(f"{name}/")}
    compare_with_case(case, chosen(json.loads(str(case.pop("options")))), kernels)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_stored_numbers_of_pytorch_in_segments(
    name: str, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sequences are short here, so that no cell would go back in more than one piece."""
    monkeypatch.setattr("rnncallbacks.rnn.cells.segments._MIN_SEGMENT_ELEMENTS", 1)
    for cell in (VanillaCell, LSTMCell, GRUCell, OriginalGRUCell):
        monkeypatch.setattr(cell, "max_segments", 3)
    test_agrees_with_stored_numbers_of_pytorch(name, kernels)


def test_long_sequences_are_backpropagated_in_segments(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for most in (1, 5):
        monkeypatch.setattr(VanillaCell, "max_segments", most)
        model = RecurrentModel(128, vocab_size=30, num_layers=2, dropout=0.3, layer_norm=True, kernels=kernels)
        batch = random_batch(model, 40, 20)
        model.forward(batch, model.zero_state(20))
        found.append(model.backward().flat.copy())
        assert len(list(model._stack.segments(40, 20))) == min(most, 2)
    np.testing.assert_allclose(found[1], found[0], atol=1e-5 * np.abs(found[0]).max())
    assert (found[1] != found[0]).any()


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_pytorch_as_installed(name: str) -> None:
    maker = make_reference()
    options = maker.MODELS[name]
    for seed in (101, 102, 103):
        compare_with_case(maker.model_case(options, seed), chosen(options))


def tokens_model(**options: Any) -> RecurrentModel:
    """In double precision, unless told otherwise or told to compute with compiled kernels."""
    dtype = "float32" if options.get("kernels") == "numba" else "float64"
    return RecurrentModel(5, **{"vocab_size": 4, "dtype": dtype, **options})


def random_batch(model: RecurrentModel, seq_len: int, batch: int, lengths: Any = None, seed: int = 0) -> SequenceBatch:
    generator = np.random.default_rng(seed)
    steps = (seq_len, batch)
    if model.vocab_size is not None:
        inputs = generator.integers(0, model.vocab_size, steps)
    else:
        inputs = generator.standard_normal((*steps, model.input_size))
    leading = steps if model.output == "step" else (batch,)
    if model.loss == "nll":
        targets = generator.integers(0, model.output_size, leading)
    else:
        targets = generator.standard_normal((*leading, model.output_size))
    mask = None if lengths is None else np.arange(seq_len)[:, None] < np.array(lengths)
    return SequenceBatch(inputs, targets, mask)


def random_state(batch: int, hidden_size: int = 5) -> np.ndarray:
    return np.random.default_rng(9).standard_normal((batch, hidden_size))


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_gradients_of_states_are_computed_beside_a_training_step(cell: str, kernels: str) -> None:
    model = tokens_model(cell=cell, num_layers=2, dropout=0.5, layer_norm=True, kernels=kernels)
    batch, state = random_batch(model, 6, 3, [3, 6, 5]), model.zero_state(3)
    model.forward(batch, state)
    written = model.backward().flat.copy()
    model.forward(batch, state)
    found = model.hidden_gradients(batch, state)
    np.testing.assert_array_equal(model.gradients.flat, written)
    assert found.shape == (6, 3, 5)
    # Nothing reaches a sequence from behind its end, and what the last step gets comes from the head alone.
    assert not found[3:, 0].any()
    assert found[2, 0].all()
    np.testing.assert_array_equal(model.hidden_gradients(batch, state), found)
    # With the dropout of the pass that waits, which is still there to go back through.
    model.backward()
    model.forward(batch, state)
    assert (model.hidden_gradients(batch, state) != found).any()


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_the_norm_of_the_gradient_of_a_state_is_the_slope_of_the_loss_along_it(cell: str) -> None:
    """Half of a sequence, and the loss of the other half as a function of the state in between."""
    model = RecurrentModel(4, vocab_size=3, cell=cell, dtype="float64")
    tokens = np.random.default_rng(0).integers(0, 3, (7, 2))
    mask = np.repeat([False, False, False, True, True, True], 2).reshape(6, 2)
    gradient = model.hidden_gradients(SequenceBatch(tokens[:-1], tokens[1:], mask), model.zero_state(2))[2]
    norm = np.linalg.norm(gradient)
    _, between = model.predict(tokens[:3], model.zero_state(2))
    late = SequenceBatch(tokens[3:6], tokens[4:7])
    losses = []
    for change in (1e-6 * gradient / norm, -1e-6 * gradient / norm):
        moved = (between[0] + change, between[1]) if cell == "lstm" else between + change
        losses.append(model.evaluate(late, moved)[0])
    assert norm == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6)


def slopes_of(loss: Callable[[], float], flat: np.ndarray) -> np.ndarray:
    """Finite differences of the loss along each parameter."""
    slopes = np.empty_like(flat)
    for index, value in enumerate(flat.copy()):
        flat[index] = value + 1e-6
        above = loss()
        flat[index] = value - 1e-6
        below = loss()
        flat[index] = value
        slopes[index] = (above - below) / 2e-6
    return slopes


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("output", ["step", "last"])
@pytest.mark.parametrize("loss", ["nll", "mse"])
@pytest.mark.parametrize("lengths", [None, [3, 1, 5]])
@pytest.mark.parametrize(
    "inputs",
    [
        {"vocab_size": 4},
        {"vocab_size": 20},
        {"vocab_size": 4, "embedding_size": 3},
        {"vocab_size": 20, "embedding_size": 3},
        {"input_size": 3},
    ],
    ids=["table", "columns", "embedding_table", "embedding_rows", "dense"],
)
def test_gradients_are_the_slopes_of_the_loss(
    nonlinearity: str, output: str, loss: str, lengths: list[int] | None, inputs: dict[str, int]
) -> None:
    model = RecurrentModel(
        5, output_size=3, nonlinearity=nonlinearity, output=output, loss=loss, dtype="float64", seed=3, **inputs
    )
    batch, state = random_batch(model, 5, 3, lengths), random_state(3)
    model.forward(batch, state)
    gradients = model.backward().flat.copy()
    slopes = slopes_of(lambda: model.forward(batch, state)[0], model.parameters.flat)
    np.testing.assert_allclose(gradients, slopes, atol=2e-9)
    assert np.abs(gradients).max() > 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm"},
        {"cell": "gru"},
        {"cell": "gru", "reset_after": False},
        {"cell": "lstm", "num_layers": 2, "bidirectional": True, "dropout": 0.4},
        {"cell": "gru", "num_layers": 3, "residual": True, "layer_norm": True, "dropout": 0.3},
        {"num_layers": 2, "bidirectional": True, "residual": True, "nonlinearity": "relu"},
        {"cell": "gru", "reset_after": False, "embedding_size": 3, "tie_weights": True, "layer_norm": True},
        {"cell": "lstm", "embedding_size": 3, "num_layers": 2, "output": "last", "bidirectional": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
@pytest.mark.parametrize("lengths", [None, [3, 1, 5]])
def test_gradients_of_every_architecture_are_the_slopes_of_the_loss(
    options: dict[str, Any], lengths: list[int] | None
) -> None:
    model = RecurrentModel(3, vocab_size=4, dtype="float64", seed=3, **options)
    rows = 3 if lengths else 2
    batch = random_batch(model, 5 if lengths else 3, rows, lengths)
    state = map_arrays(
        lambda zeros: np.random.default_rng(zeros.size).standard_normal(zeros.shape), model.zero_state(rows)
    )
    model.forward(batch, state)
    gradients = model.backward().flat.copy()
    slopes = slopes_of(lambda: model.reevaluate(batch, state), model.parameters.flat)
    np.testing.assert_allclose(gradients, slopes, atol=5e-9)
    assert np.abs(gradients).max() > 1e-3


def plain_forward(model: RecurrentModel, inputs: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of all steps and the last state, as the equations say them, in float64."""
    parameters = {name: array.astype(np.float64) for name, array in model.parameters.items()}
    if model.vocab_size is not None:
        inputs = np.eye(model.vocab_size)[inputs]
        if "embedding.weight" in parameters:
            inputs = inputs @ parameters["embedding.weight"]
    outputs = []
    for x in inputs:
        state = (
            x @ parameters["rnn.weight_ih_l0"].T
            + parameters["rnn.bias_ih_l0"]
            + parameters["rnn.bias_hh_l0"]
            + (state @ parameters["rnn.weight_hh_l0"].T)
        )
        state = np.tanh(state) if model.nonlinearity == "tanh" else np.maximum(state, 0)
        outputs.append(state @ parameters["head.weight"].T + parameters["head.bias"])
    return np.array(outputs), state


@pytest.mark.parametrize(("batch_size", "hidden_size"), [(1, 100), (32, 16), (32, 128), (32, 256), (20, 256)])
def test_sizes_that_are_multiplied_in_segments_agree_with_the_equations(
    batch_size: int, hidden_size: int, kernels: str
) -> None:
    model = RecurrentModel(hidden_size, vocab_size=30, seed=1, kernels=kernels)
    batch = random_batch(model, 12, batch_size)
    state = np.random.default_rng(2).standard_normal((batch_size, hidden_size)).astype(np.float32)
    outputs, final = plain_forward(model, batch.inputs, state)
    predicted, predicted_final = model.predict(batch.inputs, state)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, outputs, atol=2e-5)
    np.testing.assert_allclose(predicted_final, final, atol=1e-5)
    loss, forward_final = model.forward(batch, state)
    log_likelihood = outputs - np.log(np.exp(outputs).sum(axis=-1, keepdims=True))
    assert loss == pytest.approx(-np.take_along_axis(log_likelihood, batch.targets[..., None], -1).mean(), rel=1e-5)
    np.testing.assert_array_equal(forward_final, predicted_final)

    double = RecurrentModel(hidden_size, vocab_size=30, seed=1, dtype="float64")
    double.parameters.flat[:] = model.parameters.flat
    double.forward(batch, state)
    wanted = double.backward()
    for name, gradient in model.backward().items():
        np.testing.assert_allclose(gradient, wanted[name], atol=1e-5 * np.abs(wanted[name]).max(), err_msg=name)


@pytest.mark.parametrize("output", ["step", "last"])
def test_padding_is_as_if_each_sequence_came_alone(output: str) -> None:
    model = tokens_model(output=output)
    lengths = [2, 6, 3]
    batch, state = random_batch(model, 6, 3, lengths), random_state(3)
    loss, final = model.forward(batch, state)
    gradient = model.backward().flat.copy()
    total, total_gradient, weights = 0.0, np.zeros_like(gradient), 0
    for row, length in enumerate(lengths):
        targets = batch.targets[:length, [row]] if output == "step" else batch.targets[[row]]
        alone = SequenceBatch(batch.inputs[:length, [row]], targets)
        alone_loss, alone_final = model.forward(alone, state[[row]])
        np.testing.assert_allclose(final[[row]], alone_final, rtol=1e-12)
        weight = length if output == "step" else 1
        total += weight * alone_loss
        total_gradient += weight * model.backward().flat
        weights += weight
    assert loss == pytest.approx(total / weights)
    np.testing.assert_allclose(gradient, total_gradient / weights, atol=1e-14)


def test_what_stands_in_padded_positions_changes_nothing(kernels: str) -> None:
    model = tokens_model(kernels=kernels)
    batch, state = random_batch(model, 6, 3, [2, 6, 3]), random_state(3)
    loss, final = model.forward(batch, state)
    gradient = model.backward().flat.copy()
    inputs = np.where(batch.mask, batch.inputs, 3 - batch.inputs)
    targets = np.where(batch.mask, batch.targets, 3 - batch.targets)
    other_loss, other_final = model.forward(SequenceBatch(inputs, targets, batch.mask), state)
    assert other_loss == loss
    np.testing.assert_array_equal(other_final, final)
    np.testing.assert_array_equal(model.backward().flat, gradient)


def test_a_row_without_a_position_that_counts_keeps_the_state_that_it_entered_with() -> None:
    model = tokens_model()
    state = random_state(3)
    _, final = model.forward(random_batch(model, 4, 3, [4, 0, 2]), state)
    np.testing.assert_array_equal(final[1], state[1])
    assert not np.allclose(final[2], state[2])


def test_a_carried_state_continues_the_sequence() -> None:
    model = tokens_model()
    batch = random_batch(model, 9, 2)
    whole, final = model.predict(batch.inputs, model.zero_state(2))
    first, between = model.predict(batch.inputs[:4], model.zero_state(2))
    second, last = model.predict(batch.inputs[4:], between)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-12)
    np.testing.assert_allclose(last, final, rtol=1e-12)


@settings(max_examples=25)
@given(shapes=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9)), min_size=2, max_size=6))
def test_batches_of_changing_shapes_do_not_disturb_one_another(shapes: list[tuple[int, int]], kernels: str) -> None:
    used = tokens_model(kernels=kernels)
    for index, (seq_len, batch_size) in enumerate(shapes):
        batch = random_batch(used, seq_len, batch_size, seed=index)
        fresh = tokens_model(kernels=kernels)
        state = random_state(batch_size)
        loss, final = used.forward(batch, state)
        assert loss == fresh.forward(batch, state)[0]
        np.testing.assert_array_equal(used.backward().flat, fresh.backward().flat)
        np.testing.assert_array_equal(final, fresh.predict(batch.inputs, state)[1])


def test_predict_does_not_disturb_a_pass_under_way(kernels: str) -> None:
    model = tokens_model(kernels=kernels)
    batch, state = random_batch(model, 6, 3), random_state(3)
    model.forward(batch, state)
    wanted = model.backward().flat.copy()
    model.forward(batch, state)
    model.predict(random_batch(model, 6, 3, seed=5).inputs, model.zero_state(3))
    np.testing.assert_array_equal(model.backward().flat, wanted)


@pytest.mark.parametrize("output", ["step", "last"])
def test_returned_states_and_outputs_are_the_callers_own(output: str, kernels: str) -> None:
    model = tokens_model(output=output, kernels=kernels)
    batch, state = random_batch(model, 6, 3), random_state(3)
    model.forward(batch, state)
    wanted = model.backward().flat.copy()
    _, final = model.forward(batch, state)
    final.fill(np.nan)
    np.testing.assert_array_equal(model.backward().flat, wanted)
    outputs, final = model.predict(batch.inputs, state)
    kept = outputs.copy(), final.copy()
    model.predict(batch.inputs, np.ones((3, 5)))
    np.testing.assert_array_equal(outputs, kept[0])
    np.testing.assert_array_equal(final, kept[1])


def test_the_entering_state_and_the_batch_are_left_alone() -> None:
    model = tokens_model(vocab_size=None, input_size=3, output_size=2, loss="mse")
    batch, state = random_batch(model, 6, 3), random_state(3)
    before = batch.inputs.copy(), batch.targets.copy(), state.copy()
    model.forward(batch, state)
    model.backward()
    for array, kept in zip((batch.inputs, batch.targets, state), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_the_last_output_is_that_of_the_last_step() -> None:
    step, last = tokens_model(), tokens_model(output="last")
    tokens = random_batch(step, 6, 3).inputs
    every, _ = step.predict(tokens, step.zero_state(3))
    only, _ = last.predict(tokens, last.zero_state(3))
    assert only.shape == (3, 4)
    np.testing.assert_allclose(only, every[-1], rtol=1e-12)


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_the_same_seed_gives_the_same_numbers_bit_for_bit(cell: str, kernels: str) -> None:
    def train(seed: int) -> tuple[bytes, bytes]:
        model = RecurrentModel(64, vocab_size=30, embedding_size=16, cell=cell, seed=seed, kernels=kernels)
        batch, state = random_batch(model, 20, 16), model.zero_state(16)
        start = model.parameters.flat.tobytes()
        for _ in range(5):
            _, state = model.forward(batch, state)
            model.parameters.flat[:] -= 0.1 * model.backward().flat
        return start, model.parameters.flat.tobytes()

    assert train(4) == train(4)
    assert train(4)[0] != train(5)[0]


def test_float32_unless_told_otherwise() -> None:
    model = RecurrentModel(3, vocab_size=4)
    assert {array.dtype for array in (*model.parameters.values(), model.zero_state(2))} == {np.dtype(np.float32)}
    assert tokens_model().zero_state(2).dtype == np.float64
    assert model.zero_state(2).shape == (2, 3)
    assert not model.zero_state(2).any()


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_model_that_diverged_reports_it_in_the_loss_without_a_warning(batch_size: int, kernels: str) -> None:
    model = RecurrentModel(8, vocab_size=4, nonlinearity="relu", seed=1, kernels=kernels)
    model.parameters["rnn.weight_hh_l0"][:] = 1e30
    model.parameters["rnn.bias_ih_l0"][:] = 1.0
    loss, _ = model.forward(random_batch(model, 9, batch_size), model.zero_state(batch_size))
    assert not np.isfinite(loss)
    assert not np.isfinite(model.backward().flat).all()


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_a_parameter_that_is_not_a_number_is_seen_in_the_loss_and_all_gradients_before_it(
    cell: str, kernels: str
) -> None:
    for batch_size in (1, 2):
        model = RecurrentModel(8, vocab_size=4, cell=cell, kernels=kernels)
        model.parameters["rnn.weight_hh_l0"][3, 3] = np.nan
        loss, _ = model.forward(random_batch(model, 5, batch_size), model.zero_state(batch_size))
        gradients = model.backward()
        assert np.isnan(loss)
        for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight"):
            assert np.isnan(gradients[name]).any()


def test_large_logits_give_an_exact_loss(kernels: str) -> None:
    model = tokens_model(dtype="float32", kernels=kernels)
    model.parameters["head.weight"].fill(0.0)
    model.parameters["head.bias"][:] = [1000.0, 0.0, -1000.0, 0.0]
    batch = SequenceBatch(np.zeros((1, 2), int), np.array([[0, 2]]))
    loss, _ = model.forward(batch, model.zero_state(2))
    assert loss == 1000.0
    np.testing.assert_array_equal(model.backward()["head.bias"], [0.5, 0.0, -0.5, 0.0])


def test_any_integer_dtype_serves_as_tokens() -> None:
    model = tokens_model()
    batch = random_batch(model, 6, 3)
    wanted, _ = model.forward(batch, random_state(3))
    for dtype in (np.uint8, np.int16, np.uint64):
        narrow = SequenceBatch(np.asfortranarray(batch.inputs.astype(dtype)), batch.targets.astype(dtype))
        assert model.forward(narrow, random_state(3))[0] == wanted


def test_backward_needs_a_forward_pass_of_its_own() -> None:
    model = tokens_model()
    with pytest.raises(RunStateError, match="call forward before each backward"):
        model.backward()
    model.forward(random_batch(model, 3, 2), model.zero_state(2))
    model.backward()
    with pytest.raises(RunStateError):
        model.backward()


def test_a_refused_batch_leaves_no_earlier_pass_to_go_back_through() -> None:
    model = tokens_model(output="last")
    model.forward(random_batch(model, 3, 2), model.zero_state(2))
    with pytest.raises(DataError):
        model.forward(random_batch(model, 3, 2, [3, 0]), model.zero_state(2))
    with pytest.raises(RunStateError):
        model.backward()


TOKENS = np.zeros((3, 2), int)
FLOATS = np.zeros((3, 2, 4))
BAD_BATCHES: list[tuple[dict[str, Any], np.ndarray, np.ndarray, Any, type[RnnCallbacksError], str]] = [
    ({}, np.array([[0], [4]]), np.zeros((2, 1), int), None, DataError, r"inputs: token 4 at \(1, 0\).*vocab_size is 4"),
    ({}, np.array([[0, 1], [-1, 0]]), np.zeros((2, 2), int), None, DataError, r"inputs: token -1 at \(1, 0\)"),
    ({}, TOKENS, TOKENS + 4, None, DataError, r"targets: token 4 at \(0, 0\).*6 of 6"),
    ({}, FLOATS, TOKENS, None, ShapeError, r"inputs: expected tokens.*\(3, 2, 4\)"),
    ({}, TOKENS, FLOATS, None, DataError, r"targets: expected token numbers.*float64 \(3, 2, 4\)"),
    ({}, TOKENS, np.zeros(2, int), None, ShapeError, r"targets of shape \(2,\).*expected \(3, 2\)"),
    ({"output": "last"}, TOKENS, TOKENS, None, ShapeError, r"targets of shape \(3, 2\).*expected \(2,\)"),
    ({"output": "last"}, TOKENS, TOKENS[0], np.array([[True, False]] * 3), DataError, "row 1 has no unmasked step"),
    ({"vocab_size": None, "input_size": 4, "output_size": 3}, TOKENS, TOKENS, None, DataError, "expected floats"),
    (
        {"vocab_size": None, "input_size": 5, "output_size": 3},
        FLOATS,
        TOKENS,
        None,
        ShapeError,
        r"expected shape \(seq_len, batch, 5\), got \(3, 2, 4\)",
    ),
    (
        {"vocab_size": None, "input_size": 4, "output_size": 3},
        np.where(np.arange(24).reshape(3, 2, 4) == 13, np.nan, 0.0),
        TOKENS,
        None,
        DataError,
        r"inputs: expected finite values, got nan at \(1, 1, 1\)",
    ),
    ({"loss": "mse"}, TOKENS, TOKENS, None, DataError, r"targets: expected floats of shape \(3, 2, 4\)"),
    ({"loss": "mse"}, TOKENS, np.zeros((3, 2, 3)), None, ShapeError, r"\(3, 2, 3\).*\(3, 2, 4\)"),
    ({"loss": "mse"}, TOKENS, FLOATS * np.nan, None, DataError, r"targets: expected finite values, got nan at"),
]


@pytest.mark.parametrize(("options", "inputs", "targets", "mask", "error", "message"), BAD_BATCHES)
def test_a_bad_batch_is_refused_and_the_next_one_is_as_if_nothing_had_been(
    options: dict[str, Any],
    inputs: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray | None,
    error: type[RnnCallbacksError],
    message: str,
) -> None:
    model, other = tokens_model(**options), tokens_model(**options)
    with pytest.raises(error, match=message):
        model.forward(SequenceBatch(inputs, targets, mask), np.zeros((2, 5)))
    batch = random_batch(model, 4, 2)
    assert model.forward(batch, random_state(2))[0] == other.forward(batch, random_state(2))[0]
    np.testing.assert_array_equal(model.backward().flat, other.backward().flat)


def test_features_whose_squares_overflow_are_no_error() -> None:
    model = RecurrentModel(3, input_size=1, output_size=2)
    inputs = np.full((2, 1, 1), 1e30, np.float32)
    loss, _ = model.forward(SequenceBatch(inputs, np.zeros((2, 1), int)), model.zero_state(1))
    assert np.isfinite(loss)


def test_predict_refuses_an_empty_batch() -> None:
    with pytest.raises(DataError, match=r"at least one sequence of one step, got shape \(3, 0\)"):
        tokens_model().predict(np.zeros((3, 0), int), np.zeros((0, 5)))


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (np.zeros((3, 5)), ShapeError, r"state of shape \(3, 5\).*expected \(2, 5\)"),
        (np.zeros((2, 6)), ShapeError, r"state of shape \(2, 6\).*expected \(2, 5\)"),
        (np.zeros((2, 5), int), ContainerError, "state: expected a float array, got an array of int64"),
        (None, ContainerError, "state: expected a float array, got NoneType"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state: Any, error: type[Exception], message: str) -> None:
    model = tokens_model()
    with pytest.raises(error, match=message):
        model.forward(random_batch(model, 3, 2), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": None}, "either vocab_size or input_size, got vocab_size None and input_size None"),
        ({"input_size": 3}, "either vocab_size or input_size, got vocab_size 4 and input_size 3"),
        ({"vocab_size": None, "input_size": 3}, "input_size needs output_size"),
        ({"vocab_size": None, "input_size": 3, "output_size": 2, "embedding_size": 2}, "embedding_size needs"),
        ({"vocab_size": 0}, "RecurrentModel: vocab_size: expected an integer >= 1, got 0"),
        ({"embedding_size": 2.0}, "embedding_size: expected an integer"),
        ({"seed": -1}, "seed: expected an integer >= 0"),
        ({"nonlinearity": "tahn"}, "expected 'tanh' or 'relu', got 'tahn'\n  hint: did you mean 'tanh'"),
        ({"output": "all"}, "output: expected 'step' or 'last'"),
        ({"loss": "mae"}, "loss: expected 'nll' or 'mse'"),
        ({"dtype": "float16"}, "dtype: expected 'float32' or 'float64'"),
        ({"kernels": "torch"}, "kernels: expected 'numpy' or 'numba', got 'torch'"),
        ({"initialization": "zeros"}, "initialization: expected 'orthogonal' or 'uniform'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        tokens_model(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_weights_travel_to_pytorch_and_back(name: str, tmp_path: Path) -> None:
    maker = make_reference()
    from safetensors.torch import load_file, save_file

    options = maker.MODELS[name]
    network = maker.Network(options)
    model = RecurrentModel(maker.HIDDEN, dtype="float64", seed=5, **chosen(options))
    model.save(tmp_path / "ours.safetensors")
    network.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    case = maker.outputs_of(network, options, seed=6)
    np.testing.assert_allclose(
        model.predict(case["inputs"], states_in(case, "state", model))[0], case["outputs"], rtol=1e-9
    )
    save_file({key: tensor.clone() * 2 for key, tensor in network.state_dict().items()}, tmp_path / "theirs")
    before = model.parameters.flat.copy()
    model.load_parameters(tmp_path / "theirs")
    np.testing.assert_array_equal(model.parameters.flat, before * 2)


def test_a_file_that_pytorch_wrote_gives_its_outputs() -> None:
    """The stored file is a state_dict of PyTorch's; see make_reference.py."""
    options = json.loads(str(STORED["lstm_both_ways_masked/options"]))
    model = RecurrentModel(5, dtype="float64", **chosen(options))
    model.load_parameters(REFERENCE / "state_dict.safetensors")
    case = {
        key.removeprefix("lstm_both_ways_masked/"): STORED[key]
        for key in STORED.files
        if "lstm_both_ways_masked" in key
    }
    loss, _ = model.forward(
        SequenceBatch(case["inputs"], case["targets"], case["mask"]), states_in(case, "state", model)
    )
    assert loss == pytest.approx(float(case["loss"]), rel=1e-12)


def test_training_learns_a_language(kernels: str) -> None:
    """Tokens that count up modulo 5 with a random start: after training, nothing but the first step is uncertain."""
    model = RecurrentModel(16, vocab_size=5, seed=2, kernels=kernels)
    tokens = (np.arange(9)[:, None] + np.arange(5)) % 5
    batch = SequenceBatch(tokens[:-1], tokens[1:])
    first, _ = model.forward(batch, model.zero_state(5))
    model.backward()
    for _ in range(200):
        loss, _ = model.forward(batch, model.zero_state(5))
        model.parameters.flat[:] -= 0.5 * model.backward().flat
    assert first == pytest.approx(np.log(5), rel=0.1)
    assert loss < 0.05


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm", "num_layers": 2, "dropout": 0.5, "layer_norm": True},
        {"cell": "gru", "embedding_size": 4, "tie_weights": True},
        {"bidirectional": True},
    ],
)
def test_a_copy_computes_what_the_model_computes_and_learns_by_itself(
    copied: Callable[[RecurrentModel], RecurrentModel], options: dict[str, Any]
) -> None:
    model = RecurrentModel(4, vocab_size=3, **options)
    batch = SequenceBatch(np.array([[0, 1], [2, 0], [1, 1]]), np.array([[2, 0], [1, 1], [0, 2]]))
    state = model.zero_state(2)
    model.forward(batch, state)
    model.backward()
    other = copied(model)
    assert other.gradients.flat.tolist() == model.gradients.flat.tolist()
    with pytest.raises(RunStateError, match="no forward pass"):
        other.backward()
    for one in (model, other):
        one.parameters.flat[:] *= 0.5
    assert other.forward(batch, state)[0] == model.forward(batch, state)[0]
    assert other.backward().flat.tolist() == model.backward().flat.tolist()
    other.parameters.flat[:] = 0.0
    assert model.evaluate(batch, state)[0] != other.evaluate(batch, state)[0]


@pytest.mark.parametrize(("name", "value"), [("cell", "gru"), ("dropout", 0.0), ("output_size", 4), ("hidden_size", 2)])
def test_an_option_that_is_set_later_is_refused_for_it_would_change_nothing(name: str, value: object) -> None:
    model = RecurrentModel(4, vocab_size=3, num_layers=2, dropout=0.5)
    with pytest.raises(OptionError, match=f"{name} is fixed when the model is made"):
        setattr(model, name, value)
    assert (model.cell, model.dropout, model.output_size, model.hidden_size) == ("vanilla", 0.5, 3, 4)


@pytest.mark.parametrize(
    ("options", "structure"),
    [
        ({}, (2, 3)),
        ({"cell": "gru"}, (2, 3)),
        ({"cell": "lstm"}, ((2, 3), (2, 3))),
        ({"num_layers": 2}, ((2, 3), (2, 3))),
        ({"cell": "lstm", "bidirectional": True}, (((2, 3), (2, 3)), ((2, 3), (2, 3)))),
    ],
)
def test_the_zero_state_is_built_like_the_network(options: dict[str, Any], structure: Any) -> None:
    def shapes(state: Any) -> Any:
        return tuple(map(shapes, state)) if isinstance(state, tuple) else state.shape

    model = RecurrentModel(3, vocab_size=4, **options)
    state = model.zero_state(2)
    assert shapes(state) == structure
    _, final = model.predict(np.zeros((1, 2), int), state)
    assert shapes(final) == structure
