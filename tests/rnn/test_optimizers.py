from __future__ import annotations

import copy
import importlib.util
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnncallbacks import rnn
from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.errors import OptionError, RunStateError, ShapeError
from rnncallbacks.rnn.optimizer import BLOCK_ELEMENTS, Optimizer
from rnncallbacks.rnn.optimizers import SGD, Adagrad, Adam, AdamW, RMSProp

REFERENCE = Path(__file__).parent / "reference"
STORED = np.load(REFERENCE / "optimizers.npz")
CASES = sorted({key.split("/")[0] for key in STORED.files}, key=int)
EVERY = [
    SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    Adagrad(weight_decay=0.1),
    RMSProp(momentum=0.9, weight_decay=0.1),
    Adam(weight_decay=0.1),
    AdamW(),
]


COMPILED = [Adam(weight_decay=0.1, kernels="numba"), AdamW(kernels="numba")]


def usable(optimizer: Optimizer) -> Optimizer:
    """The optimizer; the test is skipped if it is told to compute by kernels that cannot be compiled."""
    if optimizer in COMPILED:
        pytest.importorskip("numba", reason="numba is not installed, which the extra 'fast' brings")
    return optimizer


def describe(optimizer: Optimizer) -> str:
    return type(optimizer).__name__ + " compiled" * (optimizer in COMPILED)


def make(name: str, options: dict[str, Any]) -> Optimizer:
    optimizer = getattr(rnn, name)(**options)
    assert isinstance(optimizer, Optimizer)
    return optimizer


def flat_arrays(values: np.ndarray) -> FlatArrays:
    arrays = FlatArrays({"weight": values.shape}, dtype=values.dtype)
    arrays["weight"][...] = values
    return arrays


def compare_with_case(
    case: dict[str, np.ndarray], name: str, options: dict[str, Any], dtype: Any = np.float64, rtol: float = 1e-12
) -> None:
    optimizer, parameters = make(name, options), flat_arrays(case["path"][0].astype(dtype))
    optimizer.bind(parameters)
    for step, gradient in enumerate(case["gradients"]):
        optimizer.step(flat_arrays(gradient.astype(dtype)), float(case["learning_rates"][step]))
        np.testing.assert_allclose(parameters.flat, case["path"][step + 1], rtol=rtol, err_msg=f"step {step}")


def stored(key: str) -> tuple[dict[str, np.ndarray], str, dict[str, Any]]:
    case = {name.removeprefix(f"{key}/"): STORED[name] for name in STORED.files if name.startswith(f"{key}/")}
    name, options = json.loads(str(case["options"]))
    return case, name, options


@pytest.mark.parametrize("key", CASES)
def test_takes_the_path_of_pytorch_that_is_stored(key: str) -> None:
    compare_with_case(*stored(key))


@pytest.mark.parametrize("key", [key for key in CASES if stored(key)[1] in ("Adam", "AdamW")])
def test_compiled_kernels_take_the_path_of_pytorch_that_is_stored(key: str) -> None:
    pytest.importorskip("numba", reason="numba is not installed, which the extra 'fast' brings")
    case, name, options = stored(key)
    compare_with_case(case, name, {**options, "kernels": "numba"}, np.float32, 1e-5)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_compiled_kernels_are_for_float32(kind: type[Adam]) -> None:
    with pytest.raises(OptionError, match=rf'{kind.__name__}: kernels="numba" need dtype float32, got float64'):
        kind(kernels="numba").bind(flat_arrays(np.ones(3)))


def test_every_optimizer_has_stored_paths_with_and_without_options() -> None:
    cases = [stored(key)[1:] for key in CASES]
    for optimizer in EVERY:
        options = [options for name, options in cases if name == type(optimizer).__name__]
        assert {} in options
        assert len(options) > 1


@pytest.mark.parametrize("index", range(len(CASES)))
def test_takes_the_path_of_pytorch_as_installed(index: int) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed; its stored numbers are compared all the same")
    spec = importlib.util.spec_from_file_location("make_reference", REFERENCE / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    name, options = maker.OPTIMIZERS[index]
    for seed in (101, 102, 103):
        compare_with_case(maker.optimizer_case(name, options, seed), name, options)


@given(
    gradients=hnp.arrays(np.float64, (3, 2), elements=st.floats(-1e3, 1e3)),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0, 0.999),
)
def test_adam_is_algorithm_1_of_the_paper(gradients: np.ndarray, beta1: float, beta2: float) -> None:
    parameters, optimizer = flat_arrays(np.ones(2)), Adam(betas=(beta1, beta2))
    optimizer.bind(parameters)
    wanted, m, v = np.ones(2), np.zeros(2), np.zeros(2)
    for t, g in enumerate(gradients, start=1):
        optimizer.step(flat_arrays(g), 0.1)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        wanted = wanted - 0.1 * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + 1e-8)
    np.testing.assert_allclose(parameters.flat, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("optimizer", [*EVERY, *COMPILED], ids=describe)
def test_a_buffer_of_several_blocks_is_treated_number_by_number(optimizer: Optimizer) -> None:
    usable(optimizer)
    generator = np.random.default_rng(0)
    size = 2 * BLOCK_ELEMENTS + 5
    start, gradients = generator.standard_normal(size), generator.standard_normal((3, size))
    whole = flat_arrays(start.astype(np.float32))
    optimizer.bind(whole)
    for gradient in gradients:
        optimizer.step(flat_arrays(gradient.astype(np.float32)), 0.01)
    pieces = []
    for part in np.array_split(np.arange(size), 7):
        piece = flat_arrays(start[part].astype(np.float32))
        optimizer.bind(piece)
        for gradient in gradients:
            optimizer.step(flat_arrays(gradient[part].astype(np.float32)), 0.01)
        pieces.append(piece.flat)
    np.testing.assert_array_equal(whole.flat, np.concatenate(pieces))
    assert not np.array_equal(whole.flat, start.astype(np.float32))


@pytest.mark.parametrize("optimizer", [*EVERY, *COMPILED], ids=describe)
def test_gradients_are_left_as_they_are(optimizer: Optimizer) -> None:
    gradients = flat_arrays(np.array([1.0, -2.0, 3.0], np.float32))
    usable(optimizer).bind(flat_arrays(np.ones(3, np.float32)))
    optimizer.step(gradients, 0.1)
    np.testing.assert_array_equal(gradients.flat, [1.0, -2.0, 3.0])


@pytest.mark.parametrize("optimizer", [*EVERY, *COMPILED], ids=describe)
def test_a_state_written_back_in_place_continues_bit_for_bit(optimizer: Optimizer) -> None:
    usable(optimizer)
    generator = np.random.default_rng(0)
    gradients = [flat_arrays(gradient) for gradient in generator.standard_normal((6, 10)).astype(np.float32)]
    parameters = flat_arrays(np.ones(10, np.float32))
    optimizer.bind(parameters)
    for gradient in gradients[:3]:
        optimizer.step(gradient, 0.1)
    saved = {name: array.copy() for name, array in optimizer.state.items()}
    resumed = flat_arrays(parameters.flat.copy())
    for gradient in gradients[3:]:
        optimizer.step(gradient, 0.1)

    optimizer.bind(resumed)
    assert not any(array.any() for name, array in optimizer.state.items())
    for name, array in optimizer.state.items():
        array[...] = saved[name]
    for gradient in gradients[3:]:
        optimizer.step(gradient, 0.1)
    np.testing.assert_array_equal(resumed.flat, parameters.flat)
    assert optimizer.state["step"] == 6


def test_binding_again_to_the_same_parameters_keeps_the_state() -> None:
    optimizer, parameters = Adam(), flat_arrays(np.ones(3))
    optimizer.bind(parameters)
    optimizer.step(flat_arrays(np.ones(3)), 0.1)
    state = optimizer.state
    optimizer.bind(parameters)
    assert optimizer.state is state
    assert state["step"] == 1


def test_a_learning_rate_of_zero_moves_no_parameter_and_counts_as_a_step() -> None:
    optimizer, parameters = AdamW(), flat_arrays(np.ones(3))
    optimizer.bind(parameters)
    optimizer.step(flat_arrays(np.ones(3)), 0.0)
    np.testing.assert_array_equal(parameters.flat, np.ones(3))
    assert optimizer.state["step"] == 1


def test_a_step_needs_parameters() -> None:
    with pytest.raises(RunStateError, match="Adam: step before bind"):
        Adam().step(flat_arrays(np.ones(2)), 0.1)


def test_gradients_of_another_size_are_refused() -> None:
    optimizer = SGD()
    optimizer.bind(flat_arrays(np.ones(3)))
    with pytest.raises(ShapeError, match="SGD: expected gradients of 3 numbers, as in the parameters, got 2"):
        optimizer.step(flat_arrays(np.ones(2)), 0.1)


@pytest.mark.parametrize("learning_rate", [-0.1, math.inf, math.nan])
def test_a_bad_learning_rate_is_refused_before_anything_changes(learning_rate: float) -> None:
    optimizer, parameters = SGD(), flat_arrays(np.ones(3))
    optimizer.bind(parameters)
    with pytest.raises(OptionError, match="learning_rate: expected a finite number of 0 or more"):
        optimizer.step(flat_arrays(np.ones(3)), learning_rate)
    np.testing.assert_array_equal(parameters.flat, np.ones(3))
    assert optimizer.state["step"] == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SGD", {"momentum": 1.0}, "SGD: momentum: expected a number >= 0 and < 1, got 1.0"),
        ("SGD", {"nesterov": True}, "nesterov needs a momentum above 0"),
        ("SGD", {"nesterov": 1, "momentum": 0.9}, "SGD: nesterov: expected True or False, got 1"),
        ("SGD", {"weight_decay": -1.0}, "weight_decay: expected a number >= 0, got -1.0"),
        ("Adagrad", {"eps": math.nan}, "Adagrad: eps: expected"),
        ("Adagrad", {"initial_accumulator_value": "1"}, "initial_accumulator_value: expected"),
        ("RMSProp", {"alpha": -0.1}, "RMSProp: alpha: expected"),
        ("Adam", {"betas": (0.9, 1.0)}, "Adam: betas: expected two numbers"),
        ("Adam", {"betas": 0.9}, "Adam: betas: expected two numbers"),
        ("Adam", {"kernels": "jax"}, "Adam: kernels: expected 'numpy' or 'numba', got 'jax'"),
        ("AdamW", {"eps": math.inf}, "AdamW: eps: expected"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        make(name, options)
    assert message in str(caught.value)


@pytest.mark.parametrize("optimizer", EVERY, ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_from_the_same_state_with_the_copied_parameters(
    copied: Callable[[Any], Any], optimizer: Optimizer
) -> None:
    parameters, gradients = flat_arrays(np.array([1.0, -2.0])), flat_arrays(np.array([0.5, 0.25]))
    optimizer.bind(parameters)
    optimizer.step(gradients, 0.1)
    kept, other = copied((parameters, optimizer))
    for one in (optimizer, other):
        one.step(gradients, 0.1)
    assert kept["weight"].tolist() == parameters["weight"].tolist()
    other.step(gradients, 0.1)
    assert kept["weight"].tolist() != parameters["weight"].tolist()
    assert int(optimizer.state["step"]) == int(other.state["step"]) - 1 == 2
