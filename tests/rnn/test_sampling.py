import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, OptionError, ShapeError
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.sampling import most_probable, sample


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


@pytest.mark.parametrize("options", [{}, {"cell": "lstm", "num_layers": 2}, {"cell": "gru"}])
def test_step_by_step_is_the_whole_sequence_at_once(options):
    model = RecurrentModel(16, vocab_size=8, dtype="float64", **options)
    model.parameters.flat[:] = np.random.default_rng(0).normal(size=model.parameters.flat.size)
    drawn = list(sample(model, [1, 2, 3], length=30, temperature=3.0, seed=5))
    logits, _ = model.predict(np.array([[1, 2, 3, *drawn]]).T, model.zero_state(1))
    chances = np.exp(logits[2:-1, 0] / 3.0)
    chances /= chances.sum(axis=1, keepdims=True)
    # One number a token, and the first token up to which the chances exceed it.
    numbers = np.random.default_rng(5).random(30)
    assert drawn == (chances.cumsum(axis=1) > numbers[:, None]).argmax(axis=1).tolist()
    assert len(set(drawn)) > 4


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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_weighs_nothing_is_not_drawn(dtype):
    # In float32 and float64, exp(-1000) is 0.
    model = Fixed([-1000.0, 0.0, -1000.0, 0.0, -1000.0])
    model.logits = model.logits.astype(dtype)
    assert set(sample(model, [0], length=200)) == {1, 3}


WEIGHTS = st.lists(st.integers(0, 8), min_size=1, max_size=12).filter(any)


@given(WEIGHTS, st.none() | st.integers(1, 14), st.integers(1, 16))
def test_top_k_and_then_top_p_keep_the_likeliest(weights, top_k, sixteenths):
    # All sums are exact.
    expected = sorted(range(len(weights)), key=lambda token: (-weights[token], token))[:top_k]
    kept = most_probable(np.array(weights, dtype=np.float32), top_k, sixteenths / 16)
    if sixteenths < 16:
        total = sum(weights[token] for token in expected)
        sizes = range(1, len(expected) + 1)
        masses = [sum(weights[token] for token in expected[:size]) for size in sizes]
        expected = expected[
            : next(size for size, mass in zip(sizes, masses, strict=True) if 16 * mass >= sixteenths * total)
        ]
    assert (list(range(len(weights))) if kept is None else kept.tolist()) == sorted(expected)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 3}, [0, 1, 3]),
        ({"top_p": 0.3}, [1]),
        ({"top_p": 0.41}, [1, 3]),
        ({"top_p": 1e-9}, [1]),
        ({"top_k": 3, "top_p": 0.41}, [1]),  # of the three likeliest, the first has 4 parts in 9
        ({"top_k": 3, "top_p": 0.45}, [1, 3]),
        ({"temperature": 0.5, "top_p": 0.53}, [1]),  # at which the first has 16 parts in 30
        ({"temperature": 1e-300, "top_k": 3, "top_p": 0.99}, [1]),
    ],
)
def test_those_that_are_left_are_drawn_in_their_proportion(options, kept):
    parts = np.array([2.0, 4.0, 1.0, 3.0])
    length = 1_000 if len(kept) == 1 else 10_000  # one token that is left has no proportion to be measured
    tokens = list(sample(Fixed(np.log(parts)), [0], length=length, **options))
    expected = np.zeros(4)
    expected[kept] = parts[kept] ** (1 / max(options.get("temperature", 1.0), 0.01))
    # Four standard deviations, as above.
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / len(tokens), expected / expected.sum(), atol=0.02)
    assert sorted(set(tokens)) == kept


@pytest.mark.parametrize("options", [{"top_k": 5}, {"top_k": 500}, {"top_p": 1.0}, {"top_k": None}])
def test_what_keeps_all_changes_nothing(options):
    plain = sample(Fixed([0.0, 1.0, 2.0, 0.5, 0.1]), [0], length=50)
    assert list(sample(Fixed([0.0, 1.0, 2.0, 0.5, 0.1]), [0], length=50, **options)) == list(plain)


def test_of_equals_the_first_are_kept():
    assert set(sample(Fixed([0.0, 1.0, 1.0, 1.0]), [0], length=100, top_k=2)) == {1, 2}
    assert set(sample(Fixed([0.0, 0.0, 0.0, 0.0]), [0], length=100, top_p=0.5)) == {0, 1}


@pytest.mark.parametrize("options", [{}, {"top_k": 4}, {"top_p": 0.8}])
def test_same_seed_same_tokens(options):
    one, other, third = (list(sample(Walk(0.5), [1], length=50, seed=seed, **options)) for seed in (7, 7, 8))
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
        ({"top_k": 0}, OptionError, "top_k: expected an integer >= 1, got 0"),
        ({"top_k": 2.5}, OptionError, r"top_k: expected an integer >= 1, got 2\.5"),
        ({"top_p": 0.0}, OptionError, r"top_p: expected a number above 0 and at most 1, got 0\.0"),
        ({"top_p": 1.1}, OptionError, r"top_p: expected .* got 1\.1"),
        ({"top_p": float("nan")}, OptionError, "top_p: .* got nan"),
        ({"length": -1}, OptionError, "length: expected an integer >= 0, got -1"),
        ({"seed": "a"}, OptionError, "seed: expected an integer >= 0, got 'a'"),
        ({"prompt_tokens": []}, DataError, "prompt_tokens: expected at least one token"),
        ({"prompt_tokens": "ab"}, ShapeError, r"prompt_tokens: expected one axis of token numbers, got shape \(\)"),
        ({"prompt_tokens": ["a"]}, DataError, "prompt_tokens: expected token numbers.*<U1"),
        ({"prompt_tokens": [-1]}, DataError, "prompt_tokens: .*got -1 at 0"),
    ],
)
def test_bad_input_is_told_at_once(options, error, expected):
    with pytest.raises(error, match=expected):
        sample(**{"model": Walk(), "prompt_tokens": [0], "length": 1} | options)


@pytest.mark.parametrize(
    "options",
    [
        {"vocab_size": 4, "output": "last"},
        {"vocab_size": 4, "loss": "mse"},
        {"vocab_size": 4, "bidirectional": True},
        {"vocab_size": 4, "output_size": 3},
        {"input_size": 4, "output_size": 4},
    ],
)
def test_a_model_whose_outputs_are_no_next_tokens_is_refused(options):
    option = list(options)[-1]
    with pytest.raises(OptionError, match=f"not logits of the next token: {option} is {options[option]!r}, expected"):
        sample(RecurrentModel(4, **options), [0], length=1)
