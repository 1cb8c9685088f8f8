"""The networks of the three styles are correct: their gradients are those of finite differences."""

import numpy as np
import pytest

from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.testing.independent.independent_script import NETWORKS
from rnncallbacks.testing.independent.styled_network import CORRECT_BACKPROPAGATION, Backpropagation

STEPS, INPUTS, HIDDEN, OUTPUTS = 5, 4, 6, 3
CELLS = ("tanh", "lstm", "gru")


def shapes(container):
    return {name: array.shape for name, array in named_arrays(container).items()}


class Example:
    """A network, a batch and an entering state, with the sum of weighted outputs as the loss."""

    def __init__(self, style, cell):
        self.generator = np.random.default_rng([3, len(style), len(cell)])
        self.net = NETWORKS[style](cell, INPUTS, HIDDEN, OUTPUTS, self.generator)
        rows = 1 if style == "single" else 3
        self.x = self.generator.normal(size=(STEPS, rows, INPUTS))
        self.weights = self.generator.normal(size=(STEPS, rows, OUTPUTS))
        zeros = self.net.zero_state(rows)
        self.state = tuple(map(self.noise, zeros)) if isinstance(zeros, tuple) else self.noise(zeros)

    def noise(self, array):
        return array + 0.3 * self.generator.normal(size=array.shape)

    def loss(self):
        return float(np.sum(self.net.forward_pass(self.x, self.state).outputs * self.weights))

    def grads(self, backpropagation=CORRECT_BACKPROPAGATION):
        return self.net.backward_pass(self.net.forward_pass(self.x, self.state), self.weights, backpropagation)

    def numerical(self):
        found = {}
        for name, array in named_arrays(self.net.params).items():
            found[name] = np.zeros_like(array)
            for place in np.ndindex(array.shape):
                before = array[place]
                array[place] = before + 1e-6
                above = self.loss()
                array[place] = before - 1e-6
                found[name][place] = (above - self.loss()) / 2e-6
                array[place] = before
        return found


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("style", NETWORKS)
def test_gradients_are_those_of_finite_differences(style, cell):
    example = Example(style, cell)
    grads = named_arrays(example.grads())
    for name, expected in example.numerical().items():
        np.testing.assert_allclose(grads[name], expected, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("style", NETWORKS)
@pytest.mark.parametrize(
    "wrong", [Backpropagation(recurrent=lambda matrix: matrix), Backpropagation(wraps=True)], ids=["matrix", "wraps"]
)
def test_wrong_backpropagation_changes_gradients(style, cell, wrong):
    example = Example(style, cell)
    correct, other = named_arrays(example.grads()), named_arrays(example.grads(wrong))
    recurrent = example.net.representatives["recurrent"]
    assert not np.allclose(correct[recurrent], other[recurrent], rtol=1e-3)
    assert np.allclose(correct[example.net.representatives["output"]], other[example.net.representatives["output"]])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("style", NETWORKS)
def test_blocks_are_views_of_all_parameters(style, cell):
    net = Example(style, cell).net
    arrays = named_arrays(net.params)
    blocks = net.blocks(arrays)
    assert {block.shape[0] == HIDDEN or HIDDEN in block.shape for block in blocks["recurrent"]} == {True}
    for views in blocks.values():
        for view in views:
            view[...] = np.nan
    assert all(np.isnan(array).all() for array in arrays.values())
    assert set(net.representatives) == set(blocks)
    assert set(net.representatives.values()) <= set(arrays)


@pytest.mark.parametrize("style", NETWORKS)
def test_gradients_have_the_container_of_the_parameters(style):
    example = Example(style, "lstm")
    assert type(example.grads()) is type(example.net.params)
    assert shapes(example.grads()) == shapes(example.net.params)


def test_the_styles_lay_their_arrays_out_differently():
    assert shapes(Example("lists", "lstm").net.params)["W"] == (4 * HIDDEN, HIDDEN + INPUTS)
    assert shapes(Example("rows", "gru").net.params) == {
        "0": (INPUTS, 3 * HIDDEN),
        "1": (HIDDEN, 3 * HIDDEN),
        "2": (3 * HIDDEN,),
        "3": (HIDDEN, OUTPUTS),
        "4": (OUTPUTS,),
    }
    assert shapes(Example("single", "tanh").net.params) == {
        "0": (HIDDEN, INPUTS),
        "1": (HIDDEN, HIDDEN),
        "2": (HIDDEN, 1),
        "3": (OUTPUTS, HIDDEN),
        "4": (OUTPUTS, 1),
    }


def test_an_update_is_in_place_but_for_rows():
    for style, in_place in (("lists", True), ("rows", False), ("single", True)):
        net = Example(style, "tanh").net
        before = named_arrays(net.params)
        net.update({name: array + 1.0 for name, array in before.items()})
        after = named_arrays(net.params)
        assert all((after[name] is before[name]) == in_place for name in before)


def test_batches_are_shown_in_the_layout_of_the_style():
    tokens, labels = np.arange(10).reshape(5, 2), np.array([3, 1])
    numbers = np.zeros((5, 2, 4))
    nets = {style: Example(style, "tanh").net for style in NETWORKS}
    xs, ys = nets["lists"].shown_batch(numbers, tokens, True)
    assert [x.shape for x in xs] == [(4, 2)] * 5
    assert [y.tolist() for y in ys] == tokens.tolist()
    batch = nets["rows"].shown_batch(numbers, labels, False)
    assert batch["x"].shape == (2, 5, 4)
    assert batch["y"].tolist() == [3, 1]
    assert nets["rows"].shown_batch(tokens, tokens, True)["y"].tolist() == tokens.T.tolist()
    assert nets["single"].shown_batch(tokens[:, :1], tokens[:, :1], True) == ([0, 2, 4, 6, 8], [0, 2, 4, 6, 8])
    x, y = nets["single"].shown_batch(numbers[:, :1], labels[:1], False)
    assert x.shape == (5, 4)
    assert y == 3
