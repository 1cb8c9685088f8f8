"""The independent scripts were written for the benchmark, by other hands than the passes that recognize them."""

import numpy as np
import pytest

from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.reconstruction.loss_formulas import LossFormula, matching_formula
from rnncallbacks.detectors.reconstruction.recognized_network import recognized_networks
from rnncallbacks.testing.independent import IndependentScript
from rnncallbacks.testing.independent.styled_network import CORRECT_BACKPROPAGATION


def first_batch(style, task, cell, dtype=np.float64):
    script = IndependentScript(style, task, cell, "adam", seed=0, level="bare")
    arrays = named_arrays(script.net.params)
    for array in arrays.values():
        array[...] = array.astype(dtype)
    x, y = script.training[0]
    loss, forward, errors = script.batch_loss(x, y, script.net.zero_state(script.rows))
    gradients = named_arrays(script.net.backward_pass(forward, errors, CORRECT_BACKPROPAGATION))
    batch = Batch(script.net.shown_batch(x, y, script.task.where == "each step"), "train", 1)
    return {name: array.astype(dtype) for name, array in arrays.items()}, batch, loss, gradients


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
@pytest.mark.parametrize("task", ["parity", "sine", "bag", "adding"])
@pytest.mark.parametrize("style", ["lists", "rows", "single"])
def test_networks_of_three_styles_are_recognized_and_their_gradients_computed(style, task, cell):
    arrays, batch, loss, gradients = first_batch(style, task, cell)
    network = next(recognized_networks(arrays, batch, loss))
    assert network.form.kind == cell
    forward = network.evaluate(arrays, network.read(batch), ((None, None),))
    assert forward.loss == pytest.approx(loss, rel=1e-10)
    computed = network.backward(forward, arrays)
    assert computed.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert computed[name] == pytest.approx(gradient, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("style", ["lists", "rows"])
def test_single_precision_is_enough(style):
    arrays, batch, loss, _ = first_batch(style, "depth", "lstm", np.float32)
    assert next(recognized_networks(arrays, batch, float(np.float32(loss)))).form.kind == "lstm"


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_one_network_gives_the_loss_and_no_other(cell):
    arrays, batch, loss, _ = first_batch("lists", "depth", cell)
    assert len(list(recognized_networks(arrays, batch, loss))) == 1


@pytest.mark.parametrize("change", [1e-7, -1e-4, 0.1])
@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_a_loss_that_is_another_one_is_not_recognized(cell, change):
    arrays, batch, loss, _ = first_batch("lists", "depth", cell)
    assert list(recognized_networks(arrays, batch, loss * (1.0 + change))) == []


def test_arrays_of_another_network_are_not_recognized():
    arrays, batch, loss, _ = first_batch("lists", "depth", "tanh")
    assert list(recognized_networks(arrays | {"W2": arrays["W"].copy()}, batch, loss)) == []
    assert list(recognized_networks({"W": arrays["W"]}, batch, loss)) == []


def test_a_batch_without_data_is_not_recognized():
    arrays, _, loss, _ = first_batch("lists", "depth", "tanh")
    assert list(recognized_networks(arrays, Batch(None, "train", 1), loss)) == []


@pytest.mark.parametrize("factor", [14.0, 16.0, 14.0 * 16.0, 1.0 / 14.0])
def test_sums_and_means_over_counts_are_recognized(factor):
    arrays, batch, loss, gradients = first_batch("lists", "depth", "gru")
    network = next(recognized_networks(arrays, batch, factor * loss))
    computed = network.backward(network.evaluate(arrays, network.read(batch), ((None, None),)), arrays)
    for name, gradient in gradients.items():
        assert computed[name] == pytest.approx(factor * gradient, rel=1e-9, abs=1e-13)


def test_a_table_with_a_row_a_token_beside_matrices_that_columns_are_multiplied_by():
    generator, units = np.random.default_rng(3), 7
    shapes = {"table": (4, units), "recurrent": (units, units), "bias": (units,), "outputs": (5, units)}
    arrays = {name: generator.normal(0.0, 0.5, shape) for name, shape in shapes.items()}
    tokens, targets = generator.integers(0, 4, 9), np.append(generator.integers(0, 4, 8), 4)

    def loss_of_rows():
        state, losses = np.zeros(units), []
        for token, target in zip(tokens, targets, strict=True):
            state = np.maximum(0.0, arrays["table"][token] + arrays["recurrent"] @ state + arrays["bias"])
            scores = arrays["outputs"] @ state
            losses.append(np.log(np.exp(scores).sum()) - scores[target])
        return float(np.mean(losses))

    batch, loss = Batch((tokens, targets), "train", 1), loss_of_rows()
    [network] = recognized_networks(arrays, batch, loss)
    computed = network.backward(network.evaluate(arrays, network.read(batch), ((None, None),)), arrays)
    for name in arrays:
        place = np.unravel_index(np.abs(computed[name]).argmax(), computed[name].shape)
        arrays[name][place] += 1e-6
        assert computed[name][place] == pytest.approx((loss_of_rows() - loss) / 1e-6, rel=1e-4)
        arrays[name][place] -= 1e-6


@pytest.mark.parametrize("sign", [1, -1])
def test_the_mean_of_signed_errors_is_a_formula_of_its_own(sign):
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(2, 5, 3, 2))
    formula = matching_formula(outputs, targets, sign * float(np.mean(outputs - targets)), 1e-9)
    assert formula == LossFormula(classes=False, signed=sign)
    assert formula.derivative(outputs, targets) == pytest.approx(np.full((5, 3, 2), sign / 30))
