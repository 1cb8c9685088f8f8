import numpy as np
import pytest

from rnncallbacks.errors import DataError, OptionError, ShapeError
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.sampling import sample


class Walk:
    """A network of 8 tokens that goes on by as many tokens as it was fed before: the state is the number of steps."""

    def __init__(self, certainty=100.0):
        self.certainty = certainty
        self.shapes = []

    def zero_state(self, batch_size):
        return np.zeros((batch_size, 1))

    def predict(self, inputs, state):
        self.shapes.append(inputs.shape)
        steps = state[:, 0] + np.arange(1, len(inputs) + 1)[:, None]
        return self.certainty * np.eye(8, dtype=np.float32)[(inputs + steps.astype(int)) % 8], steps[-1:].T


class Fixed:
    """A network that gives the same logits at every step."""

    def __init__(self, logits):
        self.logits = np.array(logits, dtype=np.float32)

    def zero_state(self, batch_size):
        return None

    def predict(self, inputs, state):
        return np.broadcast_to(self.logits, (*inputs.shape, len(self.logits))), state


def test_follows_the_network_and_carries_its_state():
    # The prompt 0, 3 takes steps 1 and 2; 3 is followed by 3 + 2, then 5 + 3, then 0 + 4, then 4 + 5.
    model = Walk()
    assert list(sample(model, [0, 3], length=4)) == [5, 0, 4, 1]
    assert model.shapes == [(2, 1), (1, 1), (1, 1), (1, 1)]


def test_step_by_step_is_the_whole_sequence_at_once():
    # Orthogonal recurrent weights without biases keep the state moving, so the likeliest token changes.
    model = RecurrentModel(16, vocab_size=8, dtype="float64", seed=1)
    drawn = list(sample(model, [1, 2, 3], length=20, temperature=1e-6))
    logits, _ = model.predict(np.array([[1, 2, 3, *drawn]]).T, model.zero_state(1))
    assert logits[2:-1, 0].argmax(axis=1).tolist() == drawn
    assert len(set(drawn)) > 2


def test_draws_only_when_asked():
    model = Walk()
    tokens = sample(model, [0], length=10**9)
    assert model.shapes == []
    assert [next(tokens), next(tokens)] == [1, 3]
    assert len(model.shapes) == 2


def test_no_token_when_none_is_asked_for():
    assert list(sample(Walk(), [0], length=0)) == []


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_the_softmax(temperature):
    logits = np.array([0.0, 1.0, 2.0])
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    tokens = list(sample(Fixed(logits), [0], length=10_000, temperature=temperature))
    # Four standard deviations of a frequency are at most 4 * sqrt(0.25 / 10,000) = 0.02.
    np.testing.assert_allclose(np.bincount(tokens, minlength=3) / len(tokens), expected, atol=0.02)


@pytest.mark.parametrize("temperature", [1e-3, 1e-300])
def test_a_low_temperature_draws_the_likeliest(temperature):
    assert set(sample(Fixed([-1e4, 3.0, 2.0, -1e30]), [0], length=50, temperature=temperature)) == {1}


def test_same_seed_same_tokens():
    one, other, third = (list(sample(Walk(0.5), [1], length=50, seed=seed)) for seed in (7, 7, 8))
    assert one == other
    assert one != third


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_logits_that_are_not_finite(wrong):
    with pytest.raises(DataError, match=r"logits are not finite(.|\n)*diverged"):
        next(sample(Fixed([0.0, wrong]), [0], length=1))


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ({"temperature": 0.0}, OptionError, r"temperature: expected a number above 0, got 0\.0"),
        ({"temperature": -1.0}, OptionError, "temperature: "),
        ({"temperature": float("nan")}, OptionError, "temperature: .*got nan"),
        ({"temperature": float("inf")}, OptionError, "temperature: .*got inf"),
        ({"length": -1}, OptionError, "length: expected an integer of 0 or more, got -1"),
        ({"seed": "a"}, OptionError, "seed: expected an integer of 0 or more, got 'a'"),
        ({"prompt_tokens": []}, DataError, "prompt_tokens: expected at least one token"),
        ({"prompt_tokens": "ab"}, ShapeError, r"prompt_tokens: expected one axis of token numbers, got shape \(\)"),
        ({"prompt_tokens": ["a"]}, DataError, "prompt_tokens: expected token numbers.*<U1"),
        ({"prompt_tokens": [-1]}, DataError, "prompt_tokens: .*got -1 at 0"),
    ],
)
def test_bad_input_is_told_at_once(options, error, expected):
    with pytest.raises(error, match=expected):
        sample(**{"model": Walk(), "prompt_tokens": [0], "length": 1} | options)
