import numpy as np
import pytest

from rnncallbacks.detectors.reconstruction.cell_forms import backward_pass, cell_forms, forward_pass

STEPS, ROWS, INPUTS, UNITS = 4, 3, 2, 3
FORMS = [form for gates in (1, 3, 4) for form in list(cell_forms(gates))[:6]]


def weights_of(form, generator, second_bias):
    shapes = {
        "input": (form.gates * UNITS, INPUTS),
        "recurrent": (form.gates * UNITS, UNITS),
        "bias": form.gates * UNITS,
    }
    if second_bias:
        shapes["second bias"] = form.gates * UNITS
    return {part: generator.normal(size=shape) for part, shape in shapes.items()}


@pytest.mark.parametrize("second_bias", [False, True])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_gradients_are_those_of_finite_differences(form, tokens, second_bias):
    generator = np.random.default_rng(0)
    weights = weights_of(form, generator, second_bias)
    inputs = generator.integers(0, INPUTS, (STEPS, ROWS)) if tokens else generator.normal(size=(STEPS, ROWS, INPUTS))
    state, cell_state = generator.normal(size=(2, ROWS, UNITS))
    seen = generator.normal(size=(STEPS, ROWS, UNITS))

    def loss():
        return float(np.sum(seen * forward_pass(form, weights, inputs, state, cell_state).states[1:]))

    gradients, _ = backward_pass(form, weights, inputs, forward_pass(form, weights, inputs, state, cell_state), seen)
    for part, array in weights.items():
        direction = generator.normal(size=array.shape)
        start = array.copy()
        array[...] = start + 1e-6 * direction
        above = loss()
        array[...] = start - 1e-6 * direction
        below = loss()
        array[...] = start
        assert np.sum(gradients[part] * direction) == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_order_of_gates_is_undone(form):
    part = np.arange(form.gates * UNITS * 2.0).reshape(-1, 2)
    assert np.array_equal(form.disordered(form.ordered(part)), part)


@pytest.mark.parametrize("fault", ["no recurrence", "no state", "untransposed", "wraps"])
@pytest.mark.parametrize("form", [next(cell_forms(gates)) for gates in (1, 3, 4)], ids=str)
def test_each_mistake_changes_the_gradients(form, fault):
    generator = np.random.default_rng(1)
    weights = weights_of(form, generator, second_bias=False)
    inputs, seen = generator.normal(size=(STEPS, ROWS, INPUTS)), generator.normal(size=(STEPS, ROWS, UNITS))
    passed = forward_pass(form, weights, inputs, None, None)
    right, _ = backward_pass(form, weights, inputs, passed, seen)
    wrong, _ = backward_pass(form, weights, inputs, passed, seen, fault)
    assert not np.allclose(right["recurrent"], wrong["recurrent"])
