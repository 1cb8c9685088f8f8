"""The hidden-state guard: leaks, widths, forgotten streams and saturation are found, and states that belong are not."""

import functools
import logging
import math

import attrs
import numpy as np
import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import Checkpoint, HiddenStateGuard, HiddenStateReset, LossAveraging, LossReportGuard
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import ArrayLoader, SequenceLoader
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD
from rnncallbacks.training.trainer import Trainer

HIDDEN, VOCAB, SEQ_LEN, ROWS = 6, 20, 9, 4

# --- data: tokens of shape (seq_len + 1, batch), batch by batch ------------------------------------------------------


def stream(batches=30, rows=ROWS, vocab=VOCAB, seed=0):
    long = np.random.default_rng(seed).integers(vocab, size=(batches * SEQ_LEN + 1, rows))
    return [long[at : at + SEQ_LEN + 1] for at in range(0, batches * SEQ_LEN, SEQ_LEN)]


def unrelated(batches=30, rows=ROWS, vocab=VOCAB, seed=0):
    return list(np.random.default_rng(seed).integers(vocab, size=(batches, SEQ_LEN + 1, rows)))


def sentences(batches=30, seed=0):
    return [sentence[:, None] for sentence in anbn(batches, max_n=8, seed=seed)]


# --- a loop of one's own ---------------------------------------------------------------------------------------------

generator = np.random.default_rng(1)
W_IN = generator.normal(0, 0.5, (HIDDEN, VOCAB))
W_REC = generator.normal(0, 0.3, (HIDDEN, HIDDEN))


def forward(x, state, scale=1.0):
    """States of shape (hidden_size, batch), the entering one first."""
    hiddens = [state]
    for tokens in x:
        hiddens.append(np.tanh(scale * W_IN[:, tokens] + W_REC @ hiddens[-1]))
    return hiddens


def columns(tokens):
    hot = np.eye(VOCAB)[tokens].transpose(0, 2, 1)
    return hot[:-1], hot[1:]


def batch_first(tokens):
    return tokens[:-1].T, tokens[1:].T


def opaque(tokens):
    return 7


class Script:
    """A loop whose state is ``kept`` by the script, by the run, or not at all, and what it shows of it."""

    def __init__(self, layout=columns, keeps="run", shows=("hidden_states",), plugins=(), action="warn", **data):
        self.layout, self.keeps, self.shows = layout, keeps, shows
        self.data = data
        self.state = {}
        self.plugins = [*plugins, HiddenStateGuard(action=action)]
        self.loss = 3.0
        self.scale = 1.0

    def enter(self, run, batch_size):
        zeros = np.zeros((HIDDEN, batch_size))
        if self.keeps == "run":
            return run.hidden(batch_size)
        if self.keeps == "none":
            return zeros
        state = self.state.get("all" if self.keeps == "one for all" else run.batch.phase, zeros)
        return state[:, :batch_size]

    def leave(self, run, final):
        if self.keeps == "run":
            run.carry(final)
        else:
            self.state["all" if self.keeps == "one for all" else run.batch.phase] = final

    def batch(self, run, tokens, phase):
        state = self.enter(run, tokens.shape[1])
        hiddens = forward(tokens[:-1], state, self.scale)
        observed = {"hidden_states": hiddens} if "hidden_states" in self.shows else {}
        if "array" in self.shows:
            observed["hidden_states"] = np.array(hiddens)
        if "entering_state" in self.shows:
            observed["entering_state"] = state
        if "two layers" in self.shows:  # the entering states of both, and the hidden states of the upper one
            observed = {"entering_state": [0.5 * state, state], "hidden_states": hiddens[1:]}
        upper = [np.vstack([states, states[:2]]) for states in hiddens]  # a wider layer
        if "zero layer" in self.shows:  # zeros enter the lower layer, and the upper one is carried
            observed = {"entering_state": {"h1": 0.0 * state, "h2": upper[0]}, "hidden_states": upper[1:]}
        if "zero layer, both" in self.shows:
            below = [0.0 * state, *(0.5 * states for states in hiddens[1:])]
            observed = {"hidden_states": list(zip(below, upper, strict=True))}
        if "zero layer, stacked" in self.shows:
            below = [0.0 * state, *(0.5 * states for states in hiddens[1:])]
            observed = {"hidden_states": np.stack([np.stack(pair) for pair in zip(below, hiddens, strict=True)])}
        if "zero layer, below" in self.shows:  # the hidden states of the lower layer alone
            observed = {"entering_state": [0.0 * state, state], "hidden_states": [0.5 * h for h in hiddens[1:]]}
        if self.layout is opaque and "inputs" in self.data.get("observed", ()):
            observed |= dict(zip(("inputs", "targets"), columns(tokens), strict=True))
        if observed:
            run.observe(**observed)
        if phase == "train":
            run.backward(self.loss, np.zeros(1))
        else:
            run.record(self.loss)
        self.leave(run, hiddens[-1])

    def phase(self, run, phase, batches):
        loader = [self.layout(tokens) for tokens in batches]
        for tokens, _ in zip(batches, run.batches(loader, phase=phase), strict=True):
            self.batch(run, tokens, phase)

    def run(self, train, val=None, epochs=1, val_first=False):
        with Run(plugins=self.plugins, hidden_size=HIDDEN) as run:
            for _ in run.epochs(epochs):
                if val is not None and val_first:
                    self.phase(run, "val", val)
                self.phase(run, "train", train)
                if val is not None and not val_first:
                    self.phase(run, "val", val)
        return run


def codes(run):
    return [(alarm.code, alarm.severity) for alarm in run.alarms]


LEAK = [("RNN201", "error")]
LAYOUTS = [columns, batch_first]
KEPT = [
    {"keeps": "run", "shows": ()},
    {"keeps": "run", "shows": ("hidden_states",)},
    {"keeps": "script", "shows": ("hidden_states",)},
    {"keeps": "script", "shows": ("array",)},
    {"keeps": "script", "shows": ("array", "entering_state")},
    {"keeps": "script", "shows": ("two layers",)},
]
kept = pytest.mark.parametrize("kept", KEPT, ids=lambda kept: f"{kept['keeps']}-{'-'.join(kept['shows'])}")
layouts = pytest.mark.parametrize("layout", LAYOUTS)


# --- RNN201: leaks ---------------------------------------------------------------------------------------------------


@kept
@layouts
def test_a_leak_is_found_within_the_first_batches(layout, kept):
    run = Script(layout, **kept).run(unrelated())
    assert codes(run) == LEAK
    (alarm,) = run.alarms
    assert (alarm.epoch, alarm.step) == (1, 4)
    assert 0.3 < alarm.evidence["state_rms"] < 1.0
    assert alarm.evidence["continuing_share"] < 0.3
    assert "of 12 rows" in alarm.message
    assert alarm.message.startswith("the final state of the batch before entered unrelated sequences: ")
    assert "the state that entered batch 4 of train has RMS 0." in alarm.message


@pytest.mark.parametrize("shown", ["zero layer", "zero layer, both", "zero layer, stacked"])
def test_a_leak_above_a_layer_that_zeros_enter(shown):
    assert codes(Script(keeps="script", shows=(shown,)).run(unrelated())) == LEAK
    carried = Script(keeps="script", shows=(shown,)).run(stream(), epochs=2)
    assert codes(carried) == []
    assert {"RNN201", "RNN203"} <= set(carried.diagnosis.passed)
    assert codes(Script(keeps="none", shows=(shown,)).run(unrelated())) == []


def test_hidden_states_of_a_layer_that_zeros_enter_do_not_show_the_others():
    run = Script(keeps="script", shows=("zero layer, below",)).run(unrelated())
    assert codes(run) == []
    assert "RNN201" not in run.diagnosis.passed


def test_each_code_comes_with_the_numbers_that_its_page_names():
    starts = [[n == 3] * ROWS for n in range(30)]
    leak, told = Script().run(unrelated()), Loaded(starts=starts).run(stream())
    width, asked = FirstColumn(keeps="script").run(unrelated()), ZeroColumn(keeps="script").run(unrelated())
    reset, saturation = Script(keeps="none").run(stream()), saturated(100.0)
    expected = [
        (leak, {"state_rms", "expected_rms", "continuing_share", "contiguous_share", "rows", "batches"}),
        (told, {"state_rms", "expected_rms", "leaking_sequences", "sequences"}),
        (width, {"state_rms", "state_shape", "batch_size"}),
        (asked, {"state_rms", "state_shape", "batch_size"}),
        (reset, {"continuing_share", "rows", "batches", "state_rms"}),
        (saturation, {"saturated_share", "healthy_share", "first_share", "loss"}),
    ]
    assert [set(run.alarms[0].evidence) for run, _ in expected] == [names for _, names in expected]
    assert max(len(run.alarms[0].message.partition(": ")[0]) for run, _ in expected) <= 80


@kept
@layouts
def test_a_stream_whose_state_is_carried_is_healthy(layout, kept):
    run = Script(layout, **kept).run(stream(), val=stream(seed=1), epochs=3)
    assert codes(run) == []
    assert {"RNN201", "RNN202", "RNN203"} <= set(run.diagnosis.passed)


@kept
def test_one_sentence_a_batch(kept):
    run = Script(columns, **kept).run(sentences())
    assert codes(run) == LEAK
    assert run.alarms[0].step <= 10


@layouts
@pytest.mark.parametrize(("rows", "batches"), [(2, 800), (8, 40)])
def test_small_vocabularies_take_longer_and_are_found(layout, rows, batches):
    assert codes(Script(layout).run(unrelated(vocab=2, rows=rows, batches=batches))) == LEAK
    assert codes(Script(layout).run(stream(vocab=2, rows=rows, batches=batches))) == []


def test_a_ragged_last_batch_whose_state_is_cut():
    ragged = [*unrelated(batches=3), unrelated(rows=2)[0]]
    assert codes(Script(keeps="script").run(ragged)) == LEAK
    whole = stream(batches=4)
    assert codes(Script(keeps="script").run([*whole[:3], whole[3][:, :2]])) == []


def test_epochs_of_two_batches_and_of_one():
    for batches in (1, 2, 3):
        run = Script(keeps="script").run(unrelated(batches=batches, rows=12), epochs=8)
        assert codes(run) == LEAK
        if batches > 1:
            assert run.alarms[0].epoch == 1


def test_the_ends_of_a_streams_epochs_are_no_leak():
    assert codes(Script().run(stream(batches=2), epochs=30)) == []


def test_validation_leaks_by_itself_too():
    run = Script().run(stream(), val=unrelated())
    assert codes(run) == LEAK
    assert "of val" in run.alarms[0].message


@pytest.mark.parametrize("val_first", [True, False])
def test_one_state_for_both_phases_leaks_validation_into_training(val_first):
    run = Script(keeps="one for all", shows=("hidden_states",)).run(
        stream(rows=12), val=stream(rows=12, batches=5, seed=1), epochs=2, val_first=val_first
    )
    assert codes(run) == LEAK
    assert run.alarms[0].message.startswith("the final state of the phase val entered unrelated sequences: ")
    assert "the state that entered batch 1 of train has RMS 0." in run.alarms[0].message
    assert run.alarms[0].epoch == (1 if val_first else 2)


def test_training_into_validation_alone_is_a_note():
    run = Script(keeps="one for all").run(stream(rows=12), val=stream(rows=12, batches=5, seed=1))
    assert codes(run) == [("RNN201", "info")]


def test_a_validation_within_training_with_a_state_of_its_own_and_without():
    for keeps, found in (("script", []), ("one for all", LEAK)):
        script = Script(keeps=keeps)
        val = stream(batches=3, rows=8, seed=1)
        with Run(plugins=script.plugins) as run:
            for _ in run.epochs(1):
                train = stream(rows=8)
                for index, (tokens, _) in enumerate(zip(train, run.batches(map(columns, train)), strict=True)):
                    script.batch(run, tokens, "train")
                    if index % 10 == 5:
                        script.phase(run, "val", val)
        assert [(alarm.code, alarm.severity) for alarm in run.alarms] == found


def test_a_validation_that_overwrites_the_states_of_the_batch_around_it():
    """The arrays of the states are one buffer, and the state of training leaks."""
    buffer, state = np.zeros((SEQ_LEN + 1, HIDDEN, ROWS)), np.zeros((HIDDEN, ROWS))
    data = unrelated()
    with Run(plugins=[HiddenStateGuard()]) as run:
        for _ in run.epochs(1):
            for tokens, _ in zip(data, run.batches(map(columns, data)), strict=True):
                buffer[...] = forward(tokens[:-1], state)
                run.observe(hidden_states=buffer)
                run.backward(3.0, np.zeros(1))
                state = buffer[-1].copy()
                for _ in run.batches([columns(tokens)], phase="val"):
                    buffer[...] = forward(tokens[:-1], np.zeros((HIDDEN, ROWS)))
                    run.observe(hidden_states=buffer)
                    run.record(3.0)
    assert codes(run) == LEAK
    assert "of train" in run.alarms[0].message


def test_it_goes_on_counting_but_not_at_each_batch():
    run = Script().run(unrelated(batches=200), epochs=2)
    assert 3 <= run.alarms[0].count <= 6
    starts = [[True] * ROWS for _ in range(200)]
    told = Loaded(starts=starts).run(unrelated(batches=200))
    assert 3 <= told.alarms[0].count <= 7


class ResetsOnAlarm:
    """As a repair does."""

    def __init__(self):
        self.leaking = False

    @hookimpl
    def on_alarm(self, alarm):
        self.leaking = True

    @hookimpl
    def on_batch_start(self, run):
        if self.leaking:
            run.reset_hidden()


def test_after_a_repair_it_is_quiet():
    run = Script(plugins=[ResetsOnAlarm()]).run(unrelated(batches=200))
    assert [(alarm.code, alarm.count) for alarm in run.alarms] == [("RNN201", 1)]


def test_the_action_is_handed_on(caplog):
    with pytest.raises(AlarmRaised, match="RNN201"):
        Script(action="raise").run(unrelated())
    assert Script(action="stop").run(unrelated()[:4] * 1).stop_reason.startswith("RNN201")


# --- what is no leak -------------------------------------------------------------------------------------------------


class EncodedState(Script):
    """An encoder's state enters, another one for each batch."""

    def enter(self, run, batch_size):
        if self.keeps == "run":
            run.carry(np.tanh(np.random.default_rng(run.step).normal(size=(HIDDEN, batch_size))))
            return run.hidden(batch_size)
        return np.tanh(np.random.default_rng(run.step).normal(size=(HIDDEN, batch_size)))

    def leave(self, run, final):
        pass


@kept
@layouts
def test_an_encoders_state_is_healthy(layout, kept):
    run = EncodedState(layout, **kept).run(unrelated(), epochs=2)
    assert codes(run) == []


class LearnedState(Script):
    """A learned state enters, the same for all sequences, and changes slowly."""

    wide = True

    def enter(self, run, batch_size):
        state = np.linspace(-0.5, 0.5, HIDDEN)[:, None] + 1e-9 * run.step
        if self.keeps == "run":
            run.carry(np.tile(state, batch_size))
            return run.hidden(batch_size)
        return np.tile(state, batch_size) if self.wide else state

    def leave(self, run, final):
        pass


@kept
@layouts
def test_a_learned_initial_state_is_healthy(layout, kept):
    assert codes(LearnedState(layout, **kept).run(unrelated(), epochs=2)) == []


def test_a_learned_initial_state_of_one_column_is_healthy_and_so_is_one_row():
    script = LearnedState(keeps="script")
    script.wide = False
    assert codes(script.run(unrelated())) == []
    assert codes(LearnedState(keeps="script").run(sentences())) == []


@layouts
def test_zeros_that_enter_are_healthy(layout):
    for keeps, plugins in (("run", [HiddenStateReset()]), ("none", [])):
        run = Script(layout, keeps=keeps, plugins=plugins).run(unrelated(), val=unrelated(seed=1), epochs=2)
        assert codes(run) == []
        assert {"RNN201", "RNN202"} <= set(run.diagnosis.passed)


def test_a_state_of_zeros_is_none():
    """Units that are all dead end with zeros, and those are carried over."""
    script = Script(plugins=[])
    script.scale = 0.0
    for data in (unrelated(), stream()):
        assert codes(script.run(data)) == []


def test_where_nothing_tells_the_order_nothing_is_said():
    tags = lambda tokens: (tokens[:-1], tokens[:-1] * 7 % 5)  # noqa: E731
    run = Script(tags, shows=()).run(unrelated())
    assert codes(run) == []
    assert "RNN201" not in run.diagnosis.passed
    assert "do not show whether rows continue" in run.diagnosis.cannot_tell["RNN201"]
    assert codes(Script(opaque).run(unrelated())) == []
    observing = Script(opaque, observed=("inputs",)).run(unrelated())
    assert codes(observing) == LEAK


def test_where_no_state_is_seen_that_is_what_is_asked_for():
    run = Script(keeps="script", shows=()).run(unrelated())
    assert codes(run) == []
    for code in ("RNN201", "RNN202", "RNN203"):
        assert run.diagnosis.not_checked[code] == "call run.hidden(batch_size), or run.observe(hidden_states=...)"
    assert run.diagnosis.not_checked["RNN407"] == "run.observe(hidden_states=...) of tanh units"


def test_states_without_the_entering_one_are_not_taken_for_it():
    script = Script(keeps="script", shows=())
    with Run(plugins=script.plugins) as run:
        for _ in run.epochs(1):
            for tokens, _ in zip(unrelated(), run.batches(map(columns, unrelated())), strict=True):
                hiddens = forward(tokens[:-1], np.zeros((HIDDEN, ROWS)))
                run.observe(hidden_states=hiddens[1:])
                run.backward(3.0, np.zeros(1))
    assert run.alarms == []
    assert {"RNN201", "RNN202"} <= set(run.diagnosis.not_checked)


class SkipsAll:
    @hookimpl
    def on_backward(self, run, batch):
        if batch.index % 3 == 0:
            run.skip_batch()


def test_skipped_batches_carry_nothing_and_count_for_nothing():
    class Skipping(Script):
        def leave(self, run, final):
            if not run.skipped:
                super().leave(run, final)

    assert codes(Skipping(plugins=[SkipsAll()]).run(stream(batches=120))) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_states_and_losses_that_are_not_finite_are_survived(bad):
    script = Script(keeps="none")
    script.loss, script.scale = bad, bad
    with np.errstate(all="ignore"):
        run = script.run(unrelated(batches=5))
    assert run.alarms == []


# --- the loader's word -----------------------------------------------------------------------------------------------


class Told(tuple):
    """A pair that says which rows begin anew."""

    starts = None


def told(batches, starts):
    loader = []
    for tokens, rows in zip(batches, starts, strict=True):
        pair = Told(columns(tokens))
        pair.starts = np.array(rows)
        loader.append(pair)
    return loader


class Loaded(Script):
    def phase(self, run, phase, batches):
        loader = told(batches, self.data["starts"])
        for tokens, _ in zip(batches, run.batches(loader, phase=phase), strict=True):
            self.batch(run, tokens, phase)


def test_rows_that_the_loader_says_begin_anew_leak_at_once():
    starts = [[False] * ROWS for _ in range(30)]
    starts[0] = [True] * ROWS
    assert codes(Loaded(starts=starts).run(stream())) == []
    starts[6] = [False, True, False, False]
    run = Loaded(starts=starts).run(stream())
    assert codes(run) == LEAK
    assert run.alarms[0].step == 7
    assert run.alarms[0].message.startswith(
        "the final state of the batch before entered sequences that begin here: in batch 7 of train, 1 of 4 sequences "
        "begin by the loader's starts but enter with a state of RMS 0."
    )
    resetting = Loaded(starts=starts, plugins=[HiddenStateReset()]).run(stream())
    assert codes(resetting) == []


def test_the_loaders_word_beats_what_the_rows_look_like():
    starts = [[False] * ROWS for _ in range(30)]
    assert codes(Loaded(starts=starts).run(unrelated())) == []
    starts = [[True] * ROWS for _ in range(30)]
    assert codes(Loaded(starts=starts).run(stream())) == LEAK


# --- RNN202: widths --------------------------------------------------------------------------------------------------


class FirstColumn(Script):
    def enter(self, run, batch_size):
        return super().enter(run, batch_size)[:, :1]


class ZeroColumn(Script):
    def enter(self, run, batch_size):
        return np.zeros((HIDDEN, 1))


class TooWide(Script):
    """Zeros like the last state, whatever the batch: a last batch of one sequence is broadcast to their width."""

    def enter(self, run, batch_size):
        return np.zeros((HIDDEN, ROWS))


@layouts
def test_one_column_of_the_last_state_is_broadcast(layout):
    run = FirstColumn(layout, keeps="script").run(unrelated())
    assert codes(run) == [("RNN202", "error")]
    assert run.alarms[0].step == 2
    assert run.alarms[0].message == (
        "the state that entered batch 2 of train does not fit the batch: "
        "it has shape (6, 1), but the state after the first time step has (6, 4)"
    )


@layouts
def test_zeros_of_one_column_do_no_harm(layout):
    run = ZeroColumn(layout, keeps="script").run(unrelated(), epochs=2)
    assert codes(run) == [("RNN202", "info")]


@layouts
def test_a_state_that_widens_the_batch(layout):
    last = unrelated(rows=1, batches=1)
    assert codes(TooWide(layout, keeps="script").run(unrelated(), epochs=2)) == []
    run = TooWide(layout, keeps="script", shows=("array",)).run([*unrelated(), *last])
    assert codes(run) == [("RNN202", "error")]
    assert run.alarms[0].message.endswith(": it has shape (6, 4), but no axis of the batch's size, 1")


def test_run_hidden_asked_for_another_number_of_sequences():
    class Asks(Script):
        def enter(self, run, batch_size):
            return run.hidden(1)

        def leave(self, run, final):
            pass

    run = Asks(shows=()).run(unrelated())
    assert codes(run) == [("RNN202", "info")]
    assert run.alarms[0].message == (
        "the state that entered batch 1 of train does not fit the batch: "
        "run.hidden made it for batch size 1, but the inputs have shape (9, 4)"
    )
    assert codes(Asks(shows=()).run(sentences())) == []


# --- RNN203: forgotten streams ---------------------------------------------------------------------------------------


@layouts
@pytest.mark.parametrize("keeps", ["none", "run"])
@pytest.mark.parametrize("rows", [1, 4])
def test_a_stream_whose_state_is_always_reset(layout, keeps, rows):
    run = Script(layout, keeps=keeps, plugins=[HiddenStateReset()] if keeps == "run" else []).run(
        stream(rows=rows, batches=60)
    )
    assert codes(run) == [("RNN203", "warning")]
    assert run.alarms[0].step <= (12 if rows > 1 else 60)
    assert run.alarms[0].evidence["rows"] >= 10


def test_against_the_loaders_word_that_all_begin_anew_it_is_a_note():
    starts = [[True] * ROWS for _ in range(30)]
    assert codes(Loaded(starts=starts, keeps="none").run(stream())) == [("RNN203", "info")]


def test_validation_may_begin_anew():
    assert codes(Script(keeps="none").run(unrelated(), val=stream())) == []


def test_sentences_between_the_same_marks_are_no_stream():
    data = unrelated()
    for tokens in data:
        tokens[0] = tokens[-1] = 0
    assert codes(Script(keeps="none").run(data, epochs=3)) == []


def test_dead_units_are_no_reset():
    script = Script(shows=())
    script.scale = 0.0
    assert codes(script.run(stream())) == []


# --- RNN407: saturation ----------------------------------------------------------------------------------------------


def saturated(scale, loss=3.0, shows=("hidden_states",), batches=30, later=None):
    script = Script(batch_first, keeps="none", shows=shows)
    script.scale, script.loss = scale, loss
    if later is not None:
        batch, count = script.batch, 0

        def changing(run, tokens, phase):
            nonlocal count
            count += 1
            if count > 5:
                script.scale, script.loss = later
            batch(run, tokens, phase)

        script.batch = changing
    return script.run(unrelated(batches=batches))


@pytest.mark.parametrize("shows", [("hidden_states",), ("array",)])
def test_units_that_saturate_from_the_first_batch_on(shows):
    run = saturated(100.0, shows=shows)
    assert codes(run) == [("RNN407", "warning")]
    (alarm,) = run.alarms
    assert alarm.step == 10
    assert alarm.evidence["saturated_share"] > 0.9
    assert "from the first batch on" in alarm.message
    assert alarm.count == 3


def test_units_that_come_to_it_by_training_are_a_note():
    assert codes(saturated(1.0, later=(100.0, 3.0))) == [("RNN407", "info")]


def test_a_network_that_does_well_all_the_same_is_a_note():
    assert codes(saturated(100.0, later=(100.0, 2.0))) == [("RNN407", "warning")]
    assert codes(saturated(100.0, loss=0.7)) == [("RNN407", "info")]


def test_healthy_units_and_others_than_tanh():
    run = saturated(1.0)
    assert codes(run) == []
    assert "RNN407" in run.diagnosis.passed
    assert "RNN407" in saturated(1.0, batches=5).diagnosis.not_checked


# --- Trainer ---------------------------------------------------------------------------------------------------------


def fit(train, val=None, plugins=(), epochs=2, **options):
    model = RecurrentModel(HIDDEN, vocab_size=VOCAB, seed=0, **options)
    trainer = Trainer(model, SGD(), plugins=[*plugins, HiddenStateGuard()], learning_rate=0.05)
    trainer.fit(train, val, max_epochs=epochs)
    return trainer.run


TOKENS = np.random.default_rng(0).integers(VOCAB, size=1201)
CHUNKS = ArrayLoader(TOKENS[:-1].reshape(-1, 10), TOKENS[1:].reshape(-1, 10), batch_size=8)


def test_trainer_with_a_stream_is_healthy():
    plain = StreamLoader(TOKENS, 8, 10)
    for when in ("sequence", "epoch"):
        assert codes(fit(plain, plain, [HiddenStateReset(when=when)])) == []
    # The loader's word against what the rows look like.
    anew = [attrs.evolve(batch, starts=np.ones(8, dtype=bool)) for batch in plain]
    assert codes(fit(anew, anew, [HiddenStateReset()])) == [("RNN203", "info")]
    assert codes(fit(StreamLoader(TOKENS, 8, 10), epochs=4)) == []


@pytest.mark.parametrize(
    "starts",
    [
        np.arange(0, 1200, 10),
        np.arange(0, 1200, 11),
        np.arange(0, 1200, 41),
        np.flatnonzero(np.random.default_rng(1).random(1201) < 0.05),
        [*range(0, 80, 10), 1000],  # rows that are through long before the others
    ],
)
def test_trainer_with_documents_is_healthy_if_rows_are_reset_where_they_start(starts):
    loader = StreamLoader(TOKENS, 8, 10, document_starts=starts)
    assert codes(fit(loader, loader, [HiddenStateReset()], epochs=4)) == []
    assert codes(fit(loader, epochs=4)) == LEAK


def test_trainer_that_never_resets_leaks():
    run = fit(CHUNKS)
    assert codes(run) == LEAK
    assert run.alarms[0].step == 4
    assert codes(fit(SequenceLoader(anbn(80), batch_size=1))) == LEAK
    assert codes(fit(SequenceLoader(anbn(64), batch_size=8))) == LEAK
    # With padding, the state that goes over is that after each row's own last step.
    assert codes(fit(SequenceLoader(anbn(64), batch_size=8, bucket=False))) == LEAK


def test_trainer_that_always_resets():
    assert codes(fit(CHUNKS, CHUNKS, [HiddenStateReset()])) == []
    for batch_size in (1, 7):
        loader = SequenceLoader(anbn(80), batch_size)
        assert codes(fit(loader, loader, [HiddenStateReset()], epochs=4)) == []
    stream_loader = StreamLoader(TOKENS, 8, 10)
    assert codes(fit(stream_loader, stream_loader, [HiddenStateReset(when="batch")])) == [("RNN203", "warning")]


def test_batches_of_the_library_begin_anew_unless_they_say_otherwise():
    """Targets that show no order: the batch's own word is all there is."""
    generator = np.random.default_rng(0)
    tags = [SequenceBatch(one, one * 7 % 5) for one in generator.integers(VOCAB, size=(30, SEQ_LEN, ROWS))]
    assert codes(fit(tags)) == LEAK
    labels = [SequenceBatch(one, one[3] % 2) for one in generator.integers(VOCAB, size=(30, SEQ_LEN, ROWS))]
    assert codes(fit(labels, output="last", output_size=2)) == LEAK
    assert codes(fit(labels, plugins=[HiddenStateReset()], output="last", output_size=2)) == []


def test_a_stream_of_the_librarys_batches_that_do_not_say_so_is_a_stream_all_the_same():
    silent = [SequenceBatch(tokens[:-1], tokens[1:]) for tokens in stream(batches=60)]
    assert codes(fit(silent)) == []


def test_regressions():
    time = np.arange(2000) * 0.1
    series = np.stack([np.sin(time + phase) for phase in range(8)], axis=1)[:, :, None].astype(np.float32)
    whole = [SequenceBatch(series[at : at + 20], series[at + 1 : at + 21]) for at in range(0, 1900, 20)]
    shuffled = [whole[index] for index in np.random.default_rng(0).permutation(len(whole))]

    def fit_series(train, plugins):
        model = RecurrentModel(HIDDEN, input_size=1, output_size=1, loss="mse", seed=0)
        trainer = Trainer(model, SGD(), plugins=[*plugins, HiddenStateGuard()], learning_rate=0.05)
        trainer.fit(train, max_epochs=2)
        return trainer.run

    assert codes(fit_series(whole, [])) == []
    assert codes(fit_series(shuffled, [])) == LEAK
    assert codes(fit_series(shuffled, [HiddenStateReset()])) == []
    assert codes(fit_series(whole, [HiddenStateReset()])) == [("RNN203", "warning")]


def test_a_run_that_resumes_goes_on_without_a_false_word(tmp_path):
    loader, found = StreamLoader(TOKENS, 8, 10), []
    for epochs in (2, 4):
        model = RecurrentModel(HIDDEN, vocab_size=VOCAB, seed=0)
        guard = HiddenStateGuard()
        plugins = [HiddenStateReset(), LossAveraging(), guard, LossReportGuard(), Checkpoint(path=tmp_path / "run")]
        trainer = Trainer(model, SGD(), plugins=plugins, learning_rate=0.05)
        trainer.fit(loader, loader, max_epochs=epochs)
        found.append((trainer.run.epoch, trainer.run.alarms, guard._saturation.first_loss))
    assert [epoch for epoch, _, _ in found] == [2, 4]
    assert [alarms for _, alarms, _ in found] == [[], []]
    assert found[0][2] == found[1][2] > 2.5  # still the loss with which training began


def test_a_guard_that_is_used_twice_begins_anew(caplog):
    guard = HiddenStateGuard()
    with caplog.at_level(logging.CRITICAL):
        for _ in range(2):
            script = Script(plugins=[])
            script.plugins = [guard]
            run = script.run(unrelated(batches=6))
            assert [(alarm.code, alarm.step, alarm.count) for alarm in run.alarms] == [("RNN201", 4, 1)]


def test_a_single_sequence_of_real_features_is_no_batch():
    """Inputs of shape (time, features), states that are vectors: nothing has the size of a batch."""
    generator = np.random.default_rng(3)
    params = {"w": np.ones(2)}
    with Run(params, plugins=[HiddenStateGuard()]) as run:
        for _ in run.epochs(1):
            for inputs in run.batches([generator.normal(size=(9, 5)) for _ in range(8)]):
                states = np.tanh(generator.normal(size=(10, 7)))
                run.observe(inputs=inputs, targets=inputs[:, :1], hidden_states=states)
                run.backward(1.0, {"w": np.ones(2)})
    assert run.diagnosis.alarms == []


def test_a_gradient_that_is_not_finite_interrupts_a_rest_without_an_inspection():
    inspected = []
    with Run({"w": np.ones(2)}, plugins=[HiddenStateGuard()]) as run:
        for _ in run.epochs(1):
            for number in run.batches(range(1, 101)):
                run.observe(hidden_states=functools.partial(inspected.append, number))
                run.backward(1.0, {"w": np.full(2, np.nan if number == 31 else 1.0)})
    assert inspected == [*range(1, 31), 80, 81, 100]
