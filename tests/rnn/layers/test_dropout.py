from __future__ import annotations

import numpy as np
import pytest

from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.layers.dropout import Dropout
from rnncallbacks.rnn.linalg.workspace import Workspace
from rnncallbacks.rnn.model import RecurrentModel


def test_the_share_and_the_mean_are_right() -> None:
    values = np.full((20, 50, 40), 3.0, np.float32)
    kept = Dropout(0.3, (1, 2)).forward(Workspace("float32"), values, 1)
    assert np.count_nonzero(kept == 0.0) / kept.size == pytest.approx(0.3, abs=0.01)
    assert np.unique(kept).tolist() == pytest.approx([0.0, 3.0 / 0.7])
    assert kept.mean() == pytest.approx(3.0, rel=0.02)


def test_a_pass_can_be_repeated_and_others_differ() -> None:
    values, work = np.ones((4, 3, 5)), Workspace("float64")
    first = Dropout(0.5, (7, 0)).forward(work, values, 3).copy()
    np.testing.assert_array_equal(Dropout(0.5, (7, 0)).forward(work, values, 3), first)
    for other, number in ((Dropout(0.5, (7, 0)), 4), (Dropout(0.5, (7, 1)), 3), (Dropout(0.5, (8, 0)), 3)):
        assert (other.forward(work, values, number) != first).any()


def dropping(**options: object) -> tuple[RecurrentModel, SequenceBatch]:
    model = RecurrentModel(16, vocab_size=5, num_layers=2, dropout=0.5, dtype="float64", **options)
    tokens = np.random.default_rng(0).integers(0, 5, (8, 3))
    return model, SequenceBatch(tokens[:-1], tokens[1:])


def test_forward_drops_anew_each_time_and_nothing_else_drops() -> None:
    model, batch = dropping()
    state = model.zero_state(3)
    losses = {model.forward(batch, state)[0] for _ in range(3)}
    assert len(losses) == 3
    without = RecurrentModel(16, vocab_size=5, num_layers=2, dtype="float64").forward(batch, state)[0]
    assert model.evaluate(batch, state)[0] == without
    logits, _ = model.predict(batch.inputs, state)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    likely = np.take_along_axis(probabilities, batch.targets[..., None], -1)
    assert -np.log(likely).mean() == pytest.approx(without)


def test_a_pass_is_evaluated_again_with_its_own_dropout() -> None:
    model, batch = dropping()
    state = model.zero_state(3)
    first, second = (model.forward(batch, state)[0] for _ in range(2))
    assert model.reevaluate(batch, state) == second
    assert model.reevaluate(batch, state, forward_pass=1) == first
    model.backward()  # which the evaluations have left alone


def test_the_uppermost_layer_is_not_dropped() -> None:
    model, batch = dropping()
    model.forward(batch, model.zero_state(3))
    assert (model.hidden_states[1:] != 0.0).all()


@pytest.mark.parametrize("probability", [-0.1, 1.0, "half"])
def test_other_probabilities_are_refused(probability: object) -> None:
    with pytest.raises(OptionError, match="dropout"):
        RecurrentModel(3, vocab_size=4, num_layers=2, dropout=probability)
