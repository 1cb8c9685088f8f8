import numpy as np
import pytest

from rnncallbacks.testing import scratch_rnn

OBJECTIVES = (scratch_rnn.mean_nll, scratch_rnn.squared_error_of_softmax, scratch_rnn.squared_error)


@pytest.mark.parametrize("cell", ["tanh", "relu"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_are_those_of_the_loss(cell, objective):
    generator = np.random.default_rng(0)
    params = scratch_rnn.initial_params(3, 5, 3, generator)
    x = np.eye(3)[generator.integers(3, size=(4, 2))].transpose(0, 2, 1)
    y = np.eye(3)[generator.integers(3, size=(4, 2))].transpose(0, 2, 1)
    if objective is not scratch_rnn.squared_error:
        y[3, :, 1] = 0.0  # a position that does not count
    state = generator.normal(0.0, 0.3, (5, 2))

    def loss():
        return objective(scratch_rnn.forward(params, x, state, cell)[0], y)[0]

    logits, hiddens = scratch_rnn.forward(params, x, state, cell)
    grads, _ = scratch_rnn.backward(params, x, hiddens, objective(logits, y)[1], cell)
    for name, array in params.items():
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 1e-6
            above = loss()
            array[index] = kept - 1e-6
            below = loss()
            array[index] = kept
            assert grads[name][index] == pytest.approx((above - below) / 2e-6, abs=1e-8)


def test_another_backward_matrix_changes_the_gradient():
    generator = np.random.default_rng(1)
    params = scratch_rnn.initial_params(3, 5, 3, generator)
    x = np.eye(3)[generator.integers(3, size=(4, 2))].transpose(0, 2, 1)
    logits, hiddens = scratch_rnn.forward(params, x, np.zeros((5, 2)))
    errors = scratch_rnn.mean_nll(logits, x)[1]
    right, _ = scratch_rnn.backward(params, x, hiddens, errors)
    wrong, _ = scratch_rnn.backward(params, x, hiddens, errors, backward_matrix=lambda matrix: matrix)
    assert not np.allclose(right["Whh"], wrong["Whh"])
    assert np.allclose(right["Why"], wrong["Why"])


def test_large_logits_have_a_finite_loss():
    logits = np.array([[[1e4], [0.0]]])
    assert scratch_rnn.mean_nll(logits, np.array([[[0.0], [1.0]]]))[0] == pytest.approx(1e4)
