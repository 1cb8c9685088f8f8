"""Where well-known libraries are wrong: each case as a run, with the plugins that a script would use."""

import logging
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import (
    Checkpoint,
    DivergenceAlarm,
    EarlyStopping,
    GradientClipping,
    HiddenStateReset,
    LossAveraging,
    PlateauAlarm,
    Progress,
    ReduceOnPlateau,
)
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.model import RecurrentModel

NAN = math.nan
EPOCHS = 50
PATIENCE = 3

FLAT_ABOVE_ZERO = [1.0] * EPOCHS
FLAT_BELOW_ZERO = [-1.0] * EPOCHS
NAN_THEN_IMPROVING = [NAN, *(10.0 - 0.1 * epoch for epoch in range(EPOCHS - 1))]
IMPROVING_BELOW_ZERO = [-1.0 - 0.1 * epoch for epoch in range(EPOCHS)]
ALL_NAN = [NAN] * EPOCHS


def run_with(plugin, metric):
    """A run whose validation loss is the metric, epoch by epoch."""
    params = {"w": np.zeros(1)}
    with Run(params, plugins=[LossAveraging(), plugin], learning_rate=1.0) as run:
        for epoch in run.epochs(len(metric)):
            params["w"] += 1.0
            for loss in run.batches([metric[epoch - 1]], phase="val"):
                run.record(loss)
    return run


def alarms_of(run):
    return [(alarm.code, alarm.epoch) for alarm in run.alarms]


# --- did it improve ----------------------------------------------------------------------------------------------

STREAMS = {
    # name: the metric, the epoch at which the patience is used up, the epoch at which NaN is reported
    "flat at +1": (FLAT_ABOVE_ZERO, 4, None),
    "flat at -1": (FLAT_BELOW_ZERO, 4, None),
    "NaN first, then improving": (NAN_THEN_IMPROVING, None, 1),
    "improving below zero": (IMPROVING_BELOW_ZERO, None, None),
    "all NaN": (ALL_NAN, 3, 1),
}
MARGINS = [{}, {"min_delta": 1e-3}, {"rtol": 1e-3}]


@pytest.mark.parametrize("margins", MARGINS, ids=str)
@pytest.mark.parametrize("stream", STREAMS)
def test_plateau_alarm_fires_after_exactly_its_patience(stream, margins):
    metric, fires, reports = STREAMS[stream]
    run = run_with(PlateauAlarm(monitor="val_loss", patience=PATIENCE, **margins), metric)
    assert [epoch for code, epoch in alarms_of(run) if code == "RNN601"] == ([] if fires is None else [fires])
    assert [epoch for code, epoch in alarms_of(run) if code == "RNN403"] == ([] if reports is None else [reports])
    assert len(run.history) == EPOCHS


@pytest.mark.parametrize("margins", MARGINS, ids=str)
@pytest.mark.parametrize("stream", STREAMS)
def test_early_stopping_stops_after_exactly_its_patience(stream, margins):
    metric, fires, reports = STREAMS[stream]
    run = run_with(EarlyStopping(patience=PATIENCE, **margins), metric)
    assert len(run.history) == (EPOCHS if fires is None else fires)
    assert [epoch for code, epoch in alarms_of(run) if code == "RNN403"] == ([] if reports is None else [reports])


@pytest.mark.parametrize("margins", MARGINS, ids=str)
@pytest.mark.parametrize("stream", STREAMS)
def test_reduce_on_plateau_cuts_after_exactly_its_patience(stream, margins):
    metric, fires, reports = STREAMS[stream]
    run = run_with(ReduceOnPlateau(patience=PATIENCE, factor=0.5, **margins), metric)
    rates = run.history["learning_rate"]
    # The cut is made at the end of that epoch: the next one is the first to be trained with less.
    assert rates.count(1.0) == (EPOCHS if fires is None else fires)
    if fires is not None:
        assert rates[fires : fires + PATIENCE + 1] == [0.5, 0.5, 0.5, 0.25]
    assert [epoch for code, epoch in alarms_of(run) if code == "RNN403"] == ([] if reports is None else [reports])


def test_the_same_rule_in_the_mode_max_with_the_signs_turned():
    for name, (metric, fires, _) in STREAMS.items():
        turned = [-value for value in metric]
        run = run_with(PlateauAlarm(monitor="val_loss", mode="max", patience=PATIENCE, rtol=1e-3), turned)
        assert [epoch for code, epoch in alarms_of(run) if code == "RNN601"] == ([] if fires is None else [fires]), name


def test_all_nan_is_an_alarm_at_the_first_batch():
    with Run(plugins=[LossAveraging(), DivergenceAlarm(), EarlyStopping(patience=3, restore_best=False)]) as run:
        for _ in run.epochs(EPOCHS):
            for loss in run.batches(ALL_NAN[:5]):
                run.backward(loss, np.ones(1))
            for loss in run.batches(ALL_NAN[:5], phase="val"):
                run.record(loss)
    assert [(alarm.code, alarm.step) for alarm in run.alarms] == [("RNN403", 1)]
    assert run.epoch == 1


def test_nan_is_never_the_best_whose_parameters_are_restored():
    run = run_with(EarlyStopping(patience=9), [NAN, 2.0, 1.0, NAN, 3.0])
    np.testing.assert_array_equal(run.params["w"], [3.0])


# --- averages ----------------------------------------------------------------------------------------------------


class BatchLosses:
    @hookimpl
    def on_fit_start(self):
        self.seen = []

    @hookimpl
    def on_batch_end(self, batch):
        self.seen.append(batch.loss)


def test_a_batchs_loss_is_the_batchs_loss_and_an_average_says_its_denominator():
    losses = BatchLosses()
    with Run(plugins=[losses, LossAveraging()]) as run:
        for _ in run.epochs(1):
            for loss in run.batches([1.0, 2.0, 100.0]):
                run.backward(loss, np.ones(1))
    assert losses.seen == [1.0, 2.0, 100.0]
    assert (run.history["train_loss"], run.history["train_batches"]) == ([103.0 / 3], [3])


def evaluated(loader, weight, network):
    with Run(plugins=[LossAveraging(weight=weight)]) as run:
        for _ in run.epochs(1):
            for batch in run.batches(loader, phase="val"):
                loss, _ = network.forward(batch, network.zero_state(batch.size))
                run.record(loss, sequences=batch.size, tokens=batch.tokens)
    return run.history["val_loss"][0], run.history[f"val_{weight}{'es' if weight == 'batch' else 's'}"][0]


sequences = st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=12), min_size=1, max_size=10)


@settings(max_examples=30)
@given(sequences, st.integers(1, 10), st.booleans(), st.booleans())
def test_padded_sequences_score_the_same_however_they_are_batched(tokens, batch_size, shuffle, bucket):
    network = RecurrentModel(4, vocab_size=5, dtype="float64", seed=1)
    tokens = [np.array(one) for one in tokens]
    one_by_one = evaluated(SequenceLoader(tokens, 1, shuffle=False), "token", network)
    batched = evaluated(SequenceLoader(tokens, batch_size, shuffle=shuffle, bucket=bucket), "token", network)
    assert batched == pytest.approx(one_by_one, rel=1e-9)
    assert one_by_one[1] == sum(len(one) - 1 for one in tokens)


def test_two_padded_sequences_alone_and_together():
    network = RecurrentModel(4, vocab_size=5, dtype="float64")
    network.parameters["head.bias"][:] = [3.0, 0.0, -3.0, 0.0, 0.0]
    tokens = [np.array([1, 2]), np.array([0] * 12)]
    alone, together = (evaluated(SequenceLoader(tokens, size, shuffle=False), "token", network) for size in (1, 2))
    assert together == pytest.approx(alone, rel=1e-12)
    # The mean over batches is another number, and says that it is one over two batches.
    by_batch = evaluated(SequenceLoader(tokens, 1, shuffle=False), "batch", network)
    assert by_batch[1] == 2
    assert abs(by_batch[0] - alone[0]) > 0.5


def test_time_major_batches_are_weighted_by_sequences_and_not_by_their_length():
    # 12 time steps of 2 sequences, and 2 time steps of 6: the first axis is the time.
    batches = [SequenceBatch(np.zeros(shape, dtype=int), np.zeros(shape, dtype=int)) for shape in ((12, 2), (2, 6))]
    losses = iter([1.0, 3.0])
    with Run(plugins=[LossAveraging(weight="sequence")]) as run:
        for _ in run.epochs(1):
            for batch in run.batches(batches):
                run.backward(next(losses), np.ones(1), sequences=batch.size, tokens=batch.tokens)
    assert run.history["train_loss"] == [(2 * 1.0 + 6 * 3.0) / 8]
    assert run.history["train_sequences"] == [8]


def test_chunks_of_truncated_backpropagation_are_weighted_by_their_tokens():
    # Nine steps at 12 - 1 and one at 12 + 9, cut into a chunk of nine and one of one: the mean is 12, not 16.
    with Run(plugins=[LossAveraging(weight="token")]) as run:
        for _ in run.epochs(1):
            for loss, tokens in run.batches([(11.0, 9), (21.0, 1)]):
                run.backward(loss, np.ones(1), tokens=tokens)
    assert run.history["train_loss"] == [12.0]


# --- recurrent state ---------------------------------------------------------------------------------------------


def test_validation_state_does_not_leak_into_training():
    with Run(hidden_size=2) as run:
        entered = []
        for _ in run.epochs(2):
            for _ in run.batches([0]):
                entered.append(run.hidden(3).copy())
                run.carry(np.full((2, 3), 1.0 * run.epoch))
                # In the middle of training, as many scripts do.
                for _ in run.batches([0], phase="val"):
                    run.carry(np.full((2, 3), 100.0))
    np.testing.assert_array_equal(entered[0], np.zeros((2, 3)))
    np.testing.assert_array_equal(entered[1], np.ones((2, 3)))


def test_some_rows_of_a_batch_are_reset_and_the_others_go_on():
    def batch(*starts):
        tokens = np.zeros((4, 3), dtype=int)
        return SequenceBatch(tokens, tokens, starts=np.array(starts, dtype=bool))

    network = RecurrentModel(5, vocab_size=2, seed=2)
    loader = [batch(1, 1, 1), batch(0, 1, 0), batch(0, 0, 0)]
    with Run(plugins=[HiddenStateReset()], zeros=network.zero_state) as run:
        for _ in run.epochs(1):
            left = None
            for index, one in enumerate(run.batches(loader)):
                state = run.hidden(one.size)
                if index:
                    np.testing.assert_array_equal(state[[0, 2]], left[[0, 2]])
                    np.testing.assert_array_equal(state[1], left[1] if index == 2 else np.zeros(5))
                _, left = network.forward(one, state)
                run.carry(left)


# --- guards that look before the update --------------------------------------------------------------------------


def descend(gradients, plugins, losses=None):
    """Plain gradient descent that asks nobody whether it may update."""
    params = {"u": np.zeros(2), "w": np.zeros(2)}
    losses = iter(losses or [1.0] * len(gradients))
    with Run(params, plugins=plugins, learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for grads in run.batches(gradients):
                grads = run.backward(next(losses), {name: array.copy() for name, array in grads.items()})
                for name, array in params.items():
                    array -= run.learning_rate * grads[name]
    return params, run


ONES = {"u": np.ones(2), "w": np.ones(2)}
SICK = {"u": np.ones(2), "w": np.array([1.0, NAN])}


@pytest.mark.parametrize(("gradients", "losses"), [([ONES, SICK], None), ([ONES, ONES], [1.0, NAN])])
def test_nan_is_seen_before_the_update_and_the_parameters_stay(gradients, losses):
    params, run = descend(gradients, [DivergenceAlarm(), GradientClipping(), LossAveraging()], losses)
    np.testing.assert_array_equal(params["u"], [-1.0, -1.0])
    np.testing.assert_array_equal(params["w"], [-1.0, -1.0])
    assert alarms_of(run) == [("RNN403", 1)]


def test_nan_is_raised_before_the_update_too():
    params = {"u": np.zeros(2), "w": np.zeros(2)}

    def script():
        with Run(params, plugins=[DivergenceAlarm(action="raise")]) as run:
            for _ in run.epochs(1):
                for grads in run.batches([SICK]):
                    run.backward(1.0, grads)
                    params["w"] -= grads["w"]

    with pytest.raises(AlarmRaised):
        script()
    np.testing.assert_array_equal(params["w"], [0.0, 0.0])


def test_nan_losses_are_shown_and_not_hidden(capsys, caplog):
    plugins = [LossAveraging(), DivergenceAlarm(action="warn"), Progress()]
    with caplog.at_level(logging.WARNING, logger="rnncallbacks"):
        _, run = descend([ONES, ONES], plugins, [1.0, NAN])
    assert math.isnan(run.history["train_loss"][0])
    assert "train nan" in capsys.readouterr().out
    assert "RNN403" in caplog.text


def test_one_infinite_gradient_does_not_make_the_others_nan():
    grads = {"u": np.array([3.0, 4.0]), "w": np.array([math.inf, 1.0])}
    params, run = descend([grads], [GradientClipping(max_norm=1.0)])
    np.testing.assert_array_equal(params["u"], [-3.0, -4.0])
    assert np.isfinite(params["w"][1])
    assert run.history["gradient_norm"] == [math.inf]


# --- clipping and logging ----------------------------------------------------------------------------------------


def test_norms_before_and_after_clipping_and_the_share_clipped():
    small, large = ({name: factor * array for name, array in ONES.items()} for factor in (0.5, 5.0))
    _, run = descend([small, large, large, small], [GradientClipping(max_norm=2.0)])
    (row,) = run.history
    assert row["gradient_norm"] == pytest.approx((1.0 + 10.0) / 2)
    assert row["clipped_gradient_norm"] == pytest.approx((1.0 + 2.0) / 2)
    assert row["clipped_fraction"] == 0.5


# --- exceptions --------------------------------------------------------------------------------------------------


class Witness:
    """Is told of everything at the end, and may fail at it."""

    def __init__(self, fails_in=()):
        self.told, self.fails_in = [], fails_in

    def note(self, hook):
        self.told.append(hook)
        if hook in self.fails_in:
            raise KeyError(f"{hook} failed")

    @hookimpl
    def on_epoch_end(self):
        self.note("on_epoch_end")

    @hookimpl
    def on_exception(self, error):
        self.error = error
        self.note("on_exception")

    @hookimpl
    def on_fit_end(self):
        self.note("on_fit_end")


def test_the_first_error_surfaces_and_the_others_are_notes_and_everybody_is_told():
    before, failing, after = Witness(), Witness(fails_in=("on_exception", "on_fit_end")), Witness()

    def script():
        with Run(plugins={"before": before, "failing": failing, "after": after}) as run:
            for _ in run.epochs(1):
                raise ZeroDivisionError("the cause")

    with pytest.raises(ZeroDivisionError, match="the cause") as raised:
        script()
    for witness in (before, failing, after):
        assert witness.told == ["on_exception", "on_fit_end"]
        assert witness.error is raised.value
    first, second = raised.value.__notes__
    assert "KeyError: 'on_exception failed'" in first
    assert "plugin 'failing', hook on_exception" in first
    assert "KeyError: 'on_fit_end failed'" in second


def test_an_error_in_a_plugin_names_it_and_the_others_get_their_end():
    first, last = Witness(), Witness()

    class Broken:
        @hookimpl
        def on_batch_start(self):
            raise KeyError("mine")

    def script():
        with Run(plugins={"first": first, "broken": Broken(), "last": last}) as run:
            for _ in run.epochs(1):
                list(run.batches([0]))

    with pytest.raises(KeyError) as raised:
        script()
    assert raised.value.__notes__ == ["in plugin 'broken', hook on_batch_start, epoch 1, batch 1 of train"]
    assert first.told == last.told == ["on_exception", "on_fit_end"]


def test_a_stop_lets_every_plugin_see_the_last_epoch():
    first, last = Witness(), Witness()

    class Stop:
        @hookimpl
        def on_epoch_end(self, run):
            run.stop("enough")

    with Run(plugins={"first": first, "stop": Stop(), "last": last}) as run:
        for _ in run.epochs(9):
            run.log(seen=True)
    assert first.told == last.told == ["on_epoch_end", "on_fit_end"]
    assert len(run.history) == 1


# --- state -------------------------------------------------------------------------------------------------------


def two_early_stoppings(path, train, val, epochs):
    """Two of one class under two names, on a run of which both columns are given."""
    plugins = {
        "averages": LossAveraging(),
        "on_train": EarlyStopping(monitor="train_loss", patience=4, restore_best=False),
        "on_val": EarlyStopping(patience=6),
        "cut": ReduceOnPlateau(patience=2, factor=0.5),
        "checkpoint": Checkpoint(path=path),
    }
    params = {"w": np.full(3, 0.1)}
    with Run(params, plugins=plugins, learning_rate=0.3) as run:
        for epoch in run.epochs(epochs):
            for loss in run.batches([train[epoch - 1]]):
                grads = run.backward(loss, {"w": np.sin(params["w"])})
                params["w"] -= run.learning_rate * grads["w"]
            for loss in run.batches([val[epoch - 1]], phase="val"):
                run.record(loss)
    return params["w"].tobytes(), run.history, run.alarms, run.stop_reason


metrics = st.lists(st.integers(0, 4).map(float), min_size=20, max_size=20)


@settings(max_examples=25)
@given(metrics, metrics, st.integers(1, 19))
def test_a_resumed_run_counts_on_for_each_name_and_ends_bit_for_bit_alike(tmp_path_factory, train, val, cut):
    directory = tmp_path_factory.mktemp("runs")
    whole = two_early_stoppings(directory / "whole", train, val, 20)
    two_early_stoppings(directory / "parts", train, val, cut)
    resumed = two_early_stoppings(directory / "parts", train, val, 20)
    # A run that had stopped before the cut stays stopped, and says when it noticed.
    if len(whole[1]) > cut:
        assert resumed == whole
    else:
        assert resumed[:3] == whole[:3]
        assert (resumed[3] is None) == (whole[3] is None)
