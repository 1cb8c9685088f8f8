from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnncallbacks.errors import DataError, ShapeError
from rnncallbacks.rnn.layers.losses import MeanSquaredError, SoftmaxNll
from rnncallbacks.rnn.linalg.workspace import Workspace


def softmax_nll(kernels: str) -> tuple[SoftmaxNll, Any, float]:
    """The loss, the dtype that it is for, and what rounding makes of a 1 there."""
    if kernels == "numpy":
        return SoftmaxNll(), np.float64, 1e-10
    return importlib.import_module("rnncallbacks.rnn.kernels.compiled_layers").CompiledSoftmaxNll(), np.float32, 1e-6


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5))


@st.composite
def scored(draw: st.DrawFn, size: float) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Logits, targets, and a mask that leaves a position, or none."""
    positions, classes = draw(SHAPES)
    logits = draw(hnp.arrays(np.float64, (positions, classes), elements=st.floats(-size, size)))
    targets = draw(hnp.arrays(np.intp, positions, elements=st.integers(0, classes - 1)))
    mask = draw(st.none() | hnp.arrays(bool, positions).filter(np.any))
    return logits, targets, mask


def plain_nll(logits: np.ndarray, targets: np.ndarray, mask: np.ndarray | None) -> float:
    """The definition in extended precision."""
    counted = range(len(logits)) if mask is None else np.flatnonzero(mask)
    total = np.longdouble(0)
    for n in counted:
        shifted = logits[n].astype(np.longdouble) - logits[n].max()
        total += np.log(np.exp(shifted).sum()) - shifted[targets[n]]
    return float(total / len(counted))


@given(case=scored(800.0) | scored(5.0))
def test_nll_is_that_of_the_definition_for_logits_of_any_size(
    case: tuple[np.ndarray, np.ndarray, np.ndarray | None], kernels: str
) -> None:
    logits, targets, mask = case
    loss, dtype, rounding = softmax_nll(kernels)
    logits = logits.astype(dtype)
    value = loss.forward(Workspace(dtype), logits.copy(), targets, mask)
    assert value == pytest.approx(plain_nll(logits, targets, mask), rel=rounding, abs=rounding)


@given(case=scored(300.0) | scored(5.0))
def test_nll_gradient_is_the_softmax_less_the_target(
    case: tuple[np.ndarray, np.ndarray, np.ndarray | None], kernels: str
) -> None:
    logits, targets, mask = case
    loss, dtype, rounding = softmax_nll(kernels)
    logits = logits.astype(dtype)
    loss.forward(Workspace(dtype), logits.copy(), targets, mask)
    logits = logits.astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    wanted = shifted / shifted.sum(axis=1, keepdims=True) - np.eye(logits.shape[1])[targets]
    counted = np.ones(len(logits), bool) if mask is None else mask
    atol = 1e-12 if dtype == np.float64 else rounding
    np.testing.assert_allclose(loss.backward(), wanted * counted[:, None] / counted.sum(), atol=atol)


def test_nll_keeps_its_digits_in_float32_on_both_sides_of_the_bound(kernels: str) -> None:
    generator = np.random.default_rng(0)
    for size in (59.0, 61.0, 1e4):
        logits = generator.uniform(-size, size, (50, 20)).astype(np.float32)
        targets = generator.integers(0, 20, 50)
        loss = softmax_nll(kernels)[0].forward(Workspace("float32"), logits.copy(), targets, None)
        assert loss == pytest.approx(plain_nll(logits, targets, None), rel=1e-6)


def test_nll_of_logits_that_are_not_finite_is_not_finite(kernels: str) -> None:
    loss, dtype, _ = softmax_nll(kernels)
    for bad in (np.nan, np.inf):
        logits = np.array([[0.0, bad], [0.0, 0.0]], dtype)
        with np.errstate(invalid="ignore"):
            assert np.isnan(loss.forward(Workspace(dtype), logits, np.array([0, 0]), None))
            assert np.isnan(loss.backward()[0]).any()


@given(
    outputs=SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, (2, *shape), elements=st.floats(-1e3, 1e3))),
    data=st.data(),
)
def test_mse_is_that_of_the_definition(outputs: np.ndarray, data: st.DataObject) -> None:
    outputs, targets = outputs
    mask = data.draw(st.none() | hnp.arrays(bool, len(outputs)).filter(np.any))
    loss = MeanSquaredError()
    counted = np.ones(len(outputs), bool) if mask is None else mask
    wanted = ((outputs - targets)[counted] ** 2).mean()
    assert loss.forward(Workspace("float64"), outputs.copy(), targets, mask) == pytest.approx(wanted)
    np.testing.assert_allclose(
        loss.backward(), 2 * (outputs - targets) * counted[:, None] / (counted.sum() * outputs.shape[1]), rtol=1e-12
    )


def test_nll_refuses_targets_that_do_not_fit() -> None:
    loss = SoftmaxNll()
    assert loss.check(np.array([[0, 3]]), (1, 2), 4).tolist() == [0, 3]
    with pytest.raises(ShapeError, match=r"targets of shape \(2,\).*expected \(1, 2\)"):
        loss.check(np.array([0, 3]), (1, 2), 4)
    with pytest.raises(DataError, match=r"targets: token 4 at \(0, 1\) is out of range: output_size is 4"):
        loss.check(np.array([[0, 4]]), (1, 2), 4)
    with pytest.raises(DataError, match=r"targets: expected token numbers.*float64"):
        loss.check(np.array([[0.0, 1.0]]), (1, 2), 4)


def test_mse_refuses_targets_that_do_not_fit() -> None:
    loss = MeanSquaredError()
    assert loss.check(np.zeros((2, 3, 4)), (2, 3), 4).shape == (6, 4)
    with pytest.raises(ShapeError, match=r"targets of shape \(2, 3, 5\).*expected \(2, 3, 4\)"):
        loss.check(np.zeros((2, 3, 5)), (2, 3), 4)
    with pytest.raises(DataError, match="targets: expected floats"):
        loss.check(np.zeros((2, 3), int), (2, 3), 4)
