"""Resetting the hidden state: for every sequence, row by row, every batch, or every epoch, in each phase by itself."""

from types import SimpleNamespace

import numpy as np
import pytest

from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError, RunStateError, ShapeError
from rnncallbacks.plugins import HiddenStateReset
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD
from rnncallbacks.training.trainer import Trainer

COLUMNS = {"hidden_size": 2}
ROWS = {"zeros": lambda batch_size: np.zeros((batch_size, 2))}
LSTM = {"zeros": lambda batch_size: (np.zeros((2, batch_size)), np.zeros((2, batch_size)))}


def starting(*rows):
    """A batch that says which of its sequences begin anew."""
    return SimpleNamespace(starts=np.array(rows, dtype=bool))


def entering(run, loaders, epochs=1):
    """The state that enters each batch, as its sum over the units of each sequence; each batch leaves ones."""
    entered = []
    with run:
        for _ in run.epochs(epochs):
            for phase, loader, size in loaders:
                for _ in run.batches(loader, phase=phase):
                    state = run.hidden(size)
                    first = state[0] if isinstance(state, tuple) else state
                    entered.append((phase, first.sum(axis=0 if first.shape[1] == size else 1).tolist()))
                    leaving = tuple(one + 1 for one in state) if isinstance(state, tuple) else state + 1
                    run.carry(leaving)
    return entered


def train_only(run, loader, size=3, epochs=1):
    return [values for _, values in entering(run, [("train", loader, size)], epochs)]


def test_sequence_resets_every_sequence_if_the_batch_says_nothing():
    run = Run(plugins=[HiddenStateReset()], **COLUMNS)
    assert train_only(run, ["a", "b", "c"]) == [[0, 0, 0]] * 3


@pytest.mark.parametrize("layout", [COLUMNS, ROWS, LSTM], ids=["columns", "rows", "lstm"])
def test_sequence_resets_only_the_rows_that_begin_anew(layout):
    loader = [starting(1, 1, 1), starting(0, 0, 0), starting(0, 1, 0), starting(0, 0, 1)]
    run = Run(plugins=[HiddenStateReset(when="sequence")], **layout)
    assert train_only(run, loader) == [[0, 0, 0], [2, 2, 2], [4, 0, 4], [6, 2, 0]]


def test_every_array_of_an_lstm_is_reset():
    with Run(plugins=[HiddenStateReset()], **LSTM) as run:
        for _ in run.epochs(1):
            for index, _ in enumerate(run.batches([starting(1, 1), starting(1, 0)])):
                hidden, cell = run.hidden(2)
                if index == 1:
                    np.testing.assert_array_equal(hidden, [[0, 5], [0, 5]])
                    np.testing.assert_array_equal(cell, [[0, 7], [0, 7]])
                run.carry((hidden + 5.0, cell + 7.0))


def test_batch_resets_all_whatever_the_batch_says():
    run = Run(plugins=[HiddenStateReset(when="batch")], **COLUMNS)
    assert train_only(run, [starting(0, 0, 0), starting(0, 1, 0)]) == [[0, 0, 0]] * 2


def test_epoch_resets_at_the_first_batch_of_each_phase():
    run = Run(plugins=[HiddenStateReset(when="epoch")], **COLUMNS)
    loaders = [("val", "ab", 1), ("train", "abc", 1), ("test", "ab", 1)]
    one_epoch = [
        ("val", [0]),
        ("val", [2]),
        ("train", [0]),
        ("train", [2]),
        ("train", [4]),
        ("test", [0]),
        ("test", [2]),
    ]
    assert entering(run, loaders, epochs=2) == one_epoch * 2


def test_without_the_plugin_the_state_goes_on_but_not_into_another_phase():
    run = Run(**COLUMNS)
    loaders = [("train", "ab", 1), ("val", "a", 1)]
    assert entering(run, loaders, epochs=2) == [
        ("train", [0]),
        ("train", [2]),
        ("val", [0]),
        ("train", [4]),
        ("train", [6]),
        ("val", [2]),
    ]


def test_a_short_last_batch_after_a_reset_is_no_problem():
    with Run(plugins=[HiddenStateReset()], **COLUMNS) as run:
        for _ in run.epochs(1):
            for size in run.batches([4, 4, 3]):
                state = run.hidden(size)
                assert state.shape == (2, size)
                run.carry(state + 1)


def test_a_mask_of_the_wrong_length_names_both_shapes():
    run = Run(plugins=[HiddenStateReset()], **COLUMNS)
    with pytest.raises(ShapeError, match=r"the mask has shape \(2,\), but the state \(2, 3\) has 3 sequences"):
        train_only(run, [starting(1, 1, 1), starting(0, 1)])


def test_a_function_that_resets_is_called():
    class Network:
        state, resets = 7.0, 0

        def reset_state(self):
            self.state, self.resets = 0.0, self.resets + 1

    network = Network()
    with Run(plugins=[HiddenStateReset(when="batch")], reset=network.reset_state) as run:
        for _ in run.epochs(2):
            for _ in run.batches("abc"):
                assert network.state == 0.0
                network.state = 7.0
    assert network.resets == 6


def test_a_function_cannot_reset_single_rows_and_says_what_can():
    run = Run(plugins=[HiddenStateReset()], reset=lambda: None)
    loader = [starting(1, 1, 1), starting(0, 0, 0), starting(0, 1, 0)]
    with (
        pytest.raises(RunStateError, match="1 of 3 sequences begin here, but reset= resets all of them"),
        run,
    ):
        [list(run.batches(loader)) for _ in run.epochs(1)]


def test_a_run_without_a_state_is_told_so():
    run = Run(plugins=[HiddenStateReset()])
    with pytest.raises(RunStateError, match="the run has no hidden state to reset"), run:
        next(run.epochs(1))  # at the start, before any batch


@pytest.mark.parametrize(
    ("when", "carried"), [("sequence", [False, True, True]), ("batch", [False] * 3), ("epoch", [False, True, True])]
)
def test_in_a_trainer_on_a_stream(when, carried, monkeypatch):
    model = RecurrentModel(4, vocab_size=5)
    entered = []
    forward = model.forward
    monkeypatch.setattr(
        RecurrentModel, "forward", lambda self, batch, state: (entered.append(state.any()), forward(batch, state))[1]
    )
    trainer = Trainer(model, SGD(), plugins=[HiddenStateReset(when=when)], learning_rate=0.1)
    trainer.fit(StreamLoader(np.arange(61) % 5, batch_size=4, seq_len=5), max_epochs=2)
    assert [bool(one) for one in entered] == carried * 2


def test_options_out_of_range():
    with pytest.raises(
        OptionError, match="HiddenStateReset: when: expected 'sequence' or 'batch' or 'epoch', got 'never'"
    ):
        HiddenStateReset(when="never")
