"""Loops as real scripts write them: every shape of loop leaves the hooks in order, and the numbers as they were."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.arrays.gradients import clip_by_global_norm
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import DataError, RunStateError
from rnncallbacks.testing import Recorder

OPENS = {"on_fit_start": "on_fit_end", "on_epoch_start": "on_epoch_end", "on_batch_start": "on_batch_end"}


class Clip:
    """Clips by the global norm, and remembers the norms."""

    def __init__(self, max_norm):
        self.max_norm = max_norm
        self.norms = []

    @hookimpl
    def on_backward(self, grads):
        self.norms.append(clip_by_global_norm(grads.arrays, self.max_norm)[0])


class ResetEachBatch:
    @hookimpl
    def on_batch_start(self, run):
        run.reset_hidden()


def assert_balanced(recorder):
    """What was opened was closed once, in the opposite order, and nothing came after the end."""
    stack = []
    for hook, *where in recorder.calls:
        if hook in OPENS:
            stack.append((OPENS[hook], where))
        elif hook in OPENS.values():
            expected, opened = stack.pop()
            assert hook == expected
            if hook != "on_fit_end":
                assert where == opened
    assert stack == []
    assert recorder.hooks.count("on_fit_end") == 1
    assert recorder.hooks[-1] == "on_fit_end"


def step(run, loss=1.0):
    run.backward(loss, {"w": np.ones(2)})


# A network written from scratch: columns (hidden, batch), one-hot inputs (seq_len, vocab, batch) ----------------------

VOCAB, HIDDEN = 4, 6
SHAPES = {"U": (HIDDEN, VOCAB), "V": (HIDDEN, HIDDEN), "W": (VOCAB, HIDDEN), "b": (HIDDEN, 1), "c": (VOCAB, 1)}


def make_params(seed=0):
    rng = np.random.default_rng(seed)
    return {name: 0.3 * rng.standard_normal(shape) for name, shape in SHAPES.items()}


def make_batches(count, batch_size=3, seq_len=5, seed=1):
    tokens = np.random.default_rng(seed).integers(VOCAB, size=(count, seq_len + 1, batch_size))
    one_hot = np.eye(VOCAB)[tokens].transpose(0, 1, 3, 2)
    return [(sequence[:-1], sequence[1:]) for sequence in one_hot]


def forward(x, hidden, p):
    hiddens, outputs = [hidden], []
    for x_t in x:
        hiddens.append(np.tanh(p["U"] @ x_t + p["V"] @ hiddens[-1] + p["b"]))
        scores = np.exp(p["W"] @ hiddens[-1] + p["c"])
        outputs.append(scores / scores.sum(axis=0))
    return outputs, hiddens


def backward(x, outputs, hiddens, y, p):
    count = len(x) * x.shape[2]
    grads = {name: np.zeros_like(array) for name, array in p.items()}
    loss, d_next = 0.0, 0.0
    for t in reversed(range(len(x))):
        loss -= np.sum(y[t] * np.log(outputs[t])) / count
        d_output = (outputs[t] - y[t]) / count
        grads["W"] += d_output @ hiddens[t + 1].T
        grads["c"] += d_output.sum(axis=1, keepdims=True)
        d_raw = (p["W"].T @ d_output + d_next) * (1 - hiddens[t + 1] ** 2)
        grads["U"] += d_raw @ x[t].T
        grads["V"] += d_raw @ hiddens[t].T
        grads["b"] += d_raw.sum(axis=1, keepdims=True)
        d_next = p["V"].T @ d_raw
    return loss, grads


def update(p, grads, lr):
    return {name: array - lr * grads[name] for name, array in p.items()}


def by_hand(epochs, train, val, max_norm, *, carry):
    """The script before it knew of a run."""
    params, losses = make_params(), []
    for _ in range(epochs):
        for phase, data in (("val", val), ("train", train)):
            hidden = np.zeros((HIDDEN, 3))
            for x, y in data:
                outputs, hiddens = forward(x, hidden, params)
                loss, grads = backward(x, outputs, hiddens, y, params)
                hidden = hiddens[-1] if carry else np.zeros((HIDDEN, 3))
                losses.append((phase, loss))
                if phase == "train":
                    norm = np.sqrt(sum((array**2).sum() for array in grads.values()))
                    grads = {name: array * min(1.0, max_norm / norm) for name, array in grads.items()}
                    params = update(params, grads, 0.5)
    return params, losses


def test_the_loop_of_the_readme_does_what_the_script_did_by_hand():
    train, val = make_batches(4), make_batches(2, seed=2)
    expected, expected_losses = by_hand(3, train, val, max_norm=0.3, carry=False)
    clip, losses = Clip(0.3), []
    params = make_params()
    with Run(params, plugins=[clip, ResetEachBatch()], hidden_size=HIDDEN, learning_rate=0.5) as run:
        for _ in run.epochs(3):
            for x, y in run.batches(val, phase="val"):
                outputs, hiddens = forward(x, run.hidden(batch_size=x.shape[2]), params)
                loss, _ = backward(x, outputs, hiddens, y, params)
                run.record(loss)
                run.carry(hiddens[-1])
                losses.append(("val", loss))
            for x, y in run.batches(train):
                outputs, hiddens = forward(x, run.hidden(batch_size=x.shape[2]), params)
                loss, grads = backward(x, outputs, hiddens, y, params)
                losses.append(("train", loss))
                grads = run.backward(loss, grads)
                run.carry(hiddens[-1])
                params = update(params, grads, lr=run.learning_rate)
                run.params = params
    assert run.params is params
    assert max(clip.norms) > 0.3
    for name, array in params.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, atol=1e-14)
    assert losses == [(phase, pytest.approx(loss, rel=1e-12)) for phase, loss in expected_losses]


def test_without_plugins_a_run_changes_no_bit():
    train, val = make_batches(4), make_batches(2, seed=2)
    expected, expected_losses = by_hand(1, train, val, max_norm=np.inf, carry=True)
    params, losses = make_params(), []
    with Run(params, hidden_size=HIDDEN, learning_rate=0.5) as run:
        for _ in run.epochs(1):
            for phase, data in (("val", val), ("train", train)):
                for x, y in run.batches(data, phase):
                    outputs, hiddens = forward(x, run.hidden(3), params)
                    loss, grads = backward(x, outputs, hiddens, y, params)
                    run.carry(hiddens[-1])
                    losses.append((phase, loss))
                    if phase == "train":
                        params = update(params, run.backward(loss, grads), run.learning_rate)
    assert losses == expected_losses
    assert all((params[name] == expected[name]).all() for name in expected)


def test_a_script_may_call_in_the_middle_of_its_own_backward_function():
    def backward_and_update(x, outputs, hiddens, y, params, run):
        loss, grads = backward(x, outputs, hiddens, y, params)
        run.backward(loss, list(grads.values()))
        for name, grad in grads.items():
            params[name] -= run.learning_rate * grad
        return loss

    train = make_batches(4)
    expected, _ = by_hand(2, train, [], max_norm=0.3, carry=False)
    params = make_params()
    with Run(params, plugins=[Clip(0.3)], learning_rate=0.5) as run:
        for _ in run.epochs(2):
            for x, y in run.batches(train):
                outputs, hiddens = forward(x, np.zeros((HIDDEN, 3)), params)
                backward_and_update(x, outputs, hiddens, y, params, run)
    for name, array in params.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, atol=1e-14)


def test_plugins_see_the_parameters_that_the_script_bound_last():
    seen = []
    params = [np.zeros(2)]
    with Run(params, plugins=[Recorder("on_epoch_end", lambda run: seen.append(run.params[0].tolist()))]) as run:
        for _ in run.epochs(2):
            for _ in run.batches([0]):
                grads = run.backward(1.0, [np.ones(2)])
                params = [array + grad for array, grad in zip(params, grads, strict=True)]
                run.params = params
    assert seen == [[1, 1], [2, 2]]


def lstm_like(state, x):
    """Two arrays of rows (batch, hidden), each moved by the input."""
    h, c = state
    return 0.5 * h + x, c + h


def test_an_lstm_state_of_rows_over_a_stream_is_reset_where_a_sequence_begins():
    rng = np.random.default_rng(3)
    inputs, starts = rng.standard_normal((12, 4, 2)), rng.random((12, 4)) < 0.3
    h, c = np.zeros((4, 2)), np.zeros((4, 2))
    expected = []
    for x, begins in zip(inputs, starts, strict=True):
        kept = ~begins[:, np.newaxis]
        h, c = lstm_like((h * kept, c * kept), x)
        expected.append((h, c))

    class Stream:
        def __init__(self, x, starts):
            self.x, self.starts = x, starts

    class ResetRows:
        @hookimpl
        def on_batch_start(self, run, batch):
            run.reset_hidden(batch.starts)

    reached = []
    with Run(plugins=[ResetRows()], zeros=lambda batch: (np.zeros((batch, 2)), np.zeros((batch, 2)))) as run:
        for _ in run.epochs(1):
            for batch in run.batches([Stream(*pair) for pair in zip(inputs, starts, strict=True)]):
                state = lstm_like(run.hidden(4), batch.x)
                run.carry(state)
                reached.append(state)
    np.testing.assert_array_equal(reached, expected)


def test_ragged_batches_each_enter_with_their_own_width():
    widths = [4, 4, 3, 1]
    entered = []
    with Run(plugins=[ResetEachBatch()], hidden_size=2) as run:
        for _ in run.epochs(2):
            for width in run.batches(widths):
                entered.append(run.hidden(width).shape)
                run.carry(np.ones((2, width)))
    assert entered == [(2, width) for width in widths * 2]


def test_a_state_inside_a_model_is_reset_by_its_own_function():
    class Model:
        h = 0.0

        def reset_state(self):
            self.h = 0.0

    model, entered = Model(), []
    with Run(plugins=[ResetEachBatch()], reset=model.reset_state) as run:
        for _ in run.epochs(2):
            for x in run.batches([1.0, 2.0]):
                entered.append(model.h)
                model.h += x
    assert entered == [0.0] * 4


# Validation: before, after, without, inside ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("train",), ("val",), ("train", "val"), ("val", "train"), ("val", "train", "test")])
def test_phases_come_in_any_order_and_number(order):
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        for _ in run.epochs(2):
            for phase in order:
                for _ in run.batches([0, 1], phase):
                    step(run) if phase == "train" else run.record(1.0)
    assert_balanced(recorder)
    expected = [(epoch, phase, index) for epoch in (1, 2) for phase in order for index in (1, 2)]
    assert recorder.of("on_batch_end") == expected
    assert recorder.of("on_backward") == [where for where in expected if where[1] == "train"]


def validate(run, batches=2):
    for _ in run.batches(range(batches), phase="val"):
        run.hidden(2)
        run.record(1.0)
        run.carry(np.full((1, 2), -1.0))


@pytest.mark.parametrize("before_backward", [True, False])
def test_a_validation_inside_a_training_batch_leaves_that_batch_as_it_was(before_backward):
    recorder, entered = Recorder(), []
    with Run(plugins=[recorder], hidden_size=1) as run:
        for _ in run.epochs(1):
            for number in run.batches([1, 2, 3]):
                entered.append(run.hidden(2).tolist())
                if number == 2 and before_backward:
                    validate(run)
                step(run)
                run.carry(np.full((1, 2), float(number)))
                if number == 2 and not before_backward:
                    validate(run)
                run.observe(number=number)
                assert (run.batch.phase, run.batch.index) == ("train", number)
    assert entered == [[[0, 0]], [[1, 1]], [[2, 2]]]
    assert_balanced(recorder)
    assert recorder.of("on_batch_end") == [
        (1, "train", 1),
        (1, "val", 1),
        (1, "val", 2),
        (1, "train", 2),
        (1, "train", 3),
    ]


def test_a_validation_that_breaks_off_inside_a_training_batch_leaves_it_as_it_was():
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1, 2]):
                run.skip_batch()
                for _ in run.batches([1, 2, 3], phase="val"):
                    break
                assert run.skipped
                step(run)
    assert_balanced(recorder)
    assert recorder.of("on_backward") == [(1, "train", 1), (1, "train", 2)]
    assert recorder.of("on_batch_end") == [(1, "val", 1), (1, "train", 1), (1, "val", 1), (1, "train", 2)]


def test_a_stop_inside_a_nested_validation_lets_the_training_batch_finish():
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        for _ in run.epochs(3):
            for _ in run.batches([1, 2]):
                for _ in run.batches([1, 2], phase="val"):
                    run.stop("enough")
                step(run)
    assert_balanced(recorder)
    assert recorder.of("on_batch_end") == [(1, "val", 1), (1, "train", 1)]
    assert recorder.of("on_backward") == [(1, "train", 1)]


# break, continue, return ----------------------------------------------------------------------------------------------


def test_break_closes_the_batch_before_anything_else_begins():
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        for _ in run.epochs(2):
            for number in run.batches(range(5)):
                step(run)
                if number == 1:
                    break
            for _ in run.batches(range(5), phase="val"):
                break
    assert_balanced(recorder)
    assert recorder.of("on_batch_end") == [
        (epoch, phase, index) for epoch in (1, 2) for phase, index in (("train", 1), ("train", 2), ("val", 1))
    ]


def test_after_a_break_the_batch_is_over():
    with Run() as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(5)):
                break
            with pytest.raises(RunStateError, match=r"run.record: no batch is open"):
                run.record(1.0)


def test_a_hook_may_use_the_batch_that_break_left_as_any_other():
    recorder = Recorder("on_batch_end", lambda run: run.observe(index=run.batch.index))
    with Run(plugins=[recorder]) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(5)):
                break
            assert not run.skipped
    assert_balanced(recorder)
    assert recorder.of("on_batch_end") == [(1, "train", 1), (2, "train", 1)]


def test_continue_is_a_batch_without_a_loss():
    recorder, losses = Recorder(), []
    recorder.act_in, recorder.act = "on_batch_end", lambda run: losses.append(run.batch.loss)
    with Run(plugins=[recorder]) as run:
        for epoch in run.epochs(2):
            if epoch == 1:
                continue
            for number in run.batches(range(3)):
                if number == 1:
                    continue
                step(run)
    assert_balanced(recorder)
    assert losses == [1.0, None, 1.0]


def test_break_out_of_the_epochs_closes_them_and_a_second_loop_goes_on():
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        for epoch in run.epochs(5):
            for _ in run.batches(range(2)):
                step(run)
                if epoch == 2:
                    break
            if epoch == 2:
                break
        for _ in run.epochs(4):
            for _ in run.batches(range(1)):
                step(run)
    assert_balanced(recorder)
    assert recorder.of("on_epoch_start") == [(1,), (2,), (3,), (4,)]
    assert run.history["epoch"] == [1, 2, 3, 4]


def test_return_from_a_function_ends_the_run():
    recorder = Recorder()

    def train():
        with Run(plugins=[recorder]) as run:
            for _ in run.epochs(None):
                for number in run.batches(itertools.count()):
                    step(run)
                    if number == 2:
                        return run
        raise AssertionError("not reached")

    assert train().history["epoch"] == [1]
    assert_balanced(recorder)


def test_iterators_around_the_batches_do_no_harm():
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        for _ in run.epochs(2):
            for _number, _batch in enumerate(run.batches("ab")):
                step(run)
            for _batch, _other in zip(run.batches("ab"), itertools.count(), strict=False):
                step(run)
            for _batch in itertools.islice(run.batches(itertools.count()), 3):
                step(run)
    assert_balanced(recorder)
    assert len(recorder.of("on_batch_end")) == 2 * (2 + 2 + 3)


def test_a_loop_that_is_kept_goes_on_after_a_validation():
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        for _ in run.epochs(1):
            training = run.batches(range(4))
            next(training)
            step(run)
            next(training)
            validate_once = [run.record(1.0) for _ in run.batches("v", phase="val")]
            step(run)
            for _ in training:
                step(run)
    assert validate_once == [None]
    assert_balanced(recorder)
    assert recorder.of("on_backward") == [(1, "train", index) for index in (1, 2, 3, 4)]


def test_several_runs_follow_each_other_with_the_same_plugins():
    recorder = Recorder()
    for _ in range(2):
        with Run(plugins=[recorder]) as run:
            for _ in run.epochs(1):
                list(run.batches("a"))
    assert recorder.hooks[: len(recorder.hooks) // 2] == recorder.hooks[len(recorder.hooks) // 2 :]


# Programs of loops, drawn at random -----------------------------------------------------------------------------------

ACTIONS = st.sampled_from(
    [
        "step",
        "continue",
        "break",
        "stop",
        "leave epoch",
        "first validate",
        "first break in validation",
        "then validate",
        "then break in validation",
    ]
)


def run_validation(run, action):
    for _ in run.batches(range(2), phase="val"):
        if "break" in action:
            break


def run_program(run, epochs):
    for epoch in run.epochs(len(epochs)):
        for action in run.batches(epochs[epoch - 1]):
            if action == "continue":
                continue
            if action == "break":
                break
            if action == "stop":
                run.stop("drawn")
            if action == "leave epoch":
                return
            if action.startswith("first"):
                run_validation(run, action)
            step(run)
            assert run.batch.phase == "train"
            if action.startswith("then"):
                run_validation(run, action)


@given(st.lists(st.lists(ACTIONS, min_size=1, max_size=5), max_size=4))
def test_whatever_the_body_does_hooks_are_balanced_and_rows_are_whole(epochs):
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        run_program(run, epochs)
    if epochs:
        assert_balanced(recorder)
        assert len(run.history) == len(recorder.of("on_epoch_start"))
        assert run.step == len([where for where in recorder.of("on_batch_start") if where[1] == "train"])
    assert "on_exception" not in recorder.hooks


# run.stop in every position -------------------------------------------------------------------------------------------

HOOKS_THAT_STOP = ["on_fit_start", "on_epoch_start", "on_batch_start", "on_backward", "on_batch_end", "on_epoch_end"]
IN_THE_SCRIPT = ["before", "epoch", "val", "before backward", "after backward", "end of epoch"]


def stopping_script(run, position):
    def here(name):
        if name == position and run.epoch in (0, 2):
            run.stop(f"stopped at {name}")

    here("before")
    for _ in run.epochs(3):
        here("epoch")
        for _ in run.batches([0, 1], phase="val"):
            here("val")
            run.record(1.0)
        for _ in run.batches([0, 1]):
            here("before backward")
            step(run)
            here("after backward")
        here("end of epoch")


@pytest.mark.parametrize(
    ("position", "epochs", "last_batch"),
    [
        ("before", [], None),
        ("epoch", [1, 2], (1, "train", 2)),
        ("val", [1, 2], (2, "val", 1)),
        ("before backward", [1, 2], (2, "train", 1)),
        ("after backward", [1, 2], (2, "train", 1)),
        ("end of epoch", [1, 2], (2, "train", 2)),
    ],
)
def test_stop_in_the_script_closes_what_is_open_and_begins_nothing(position, epochs, last_batch):
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        stopping_script(run, position)
    assert_balanced(recorder)
    assert [where[0] for where in recorder.of("on_epoch_end")] == epochs
    assert (recorder.of("on_batch_end") or [None])[-1] == last_batch
    assert run.stop_reason == f"stopped at {position}"
    assert len(run.history) == len(epochs)


@pytest.mark.parametrize("hook", HOOKS_THAT_STOP)
def test_stop_in_a_hook_closes_what_is_open_and_begins_nothing(hook):
    recorder = Recorder(hook, lambda run: run.stop(hook))
    with Run(plugins=[recorder]) as run:
        stopping_script(run, None)
    assert_balanced(recorder)
    batches = {"on_fit_start": 0, "on_epoch_start": 0, "on_backward": 3, "on_epoch_end": 4}.get(hook, 1)
    assert len(recorder.of("on_batch_start")) == batches
    assert len(recorder.of("on_epoch_start")) == (hook != "on_fit_start")
    assert run.stop_reason == hook


def test_stop_before_the_run_is_entered_trains_nothing():
    run = Run()
    run.stop("not today")
    with run:
        assert list(run.epochs(3)) == []
    assert len(run.history) == 0


# Loaders --------------------------------------------------------------------------------------------------------------


def test_endless_epochs_over_an_endless_loader_end_by_stop():
    with Run() as run:
        for epoch in run.epochs(None):
            for number in run.batches(itertools.count()):
                step(run)
                if number == 2:
                    break
            if epoch == 4:
                run.stop("four epochs")
    assert run.max_epochs is None
    assert (run.epoch, run.step) == (4, 12)


def test_one_endless_generator_serves_every_epoch():
    stream, seen = itertools.count(), []
    with Run() as run:
        for _ in run.epochs(2):
            seen.extend(itertools.islice(run.batches(stream), 3))
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_generator_that_is_used_up_is_named_as_such():
    def train(loader):
        with Run() as run:
            for _ in run.epochs(2):
                list(run.batches(loader))
        return run

    with pytest.raises(DataError, match=r"of phase 'train' yielded no batch\n.*generator yields its items once"):
        train(iter([1, 2]))
    assert train([1, 2]).epoch == 2


@pytest.mark.parametrize("loader", [[], (), range(0), np.zeros((0, 3))])
def test_an_empty_loader_is_an_error_that_names_its_phase(loader):
    recorder = Recorder()

    def validate_on_nothing():
        with Run(plugins=[recorder]) as run:
            for _ in run.epochs(1):
                list(run.batches(loader, phase="val"))

    with pytest.raises(DataError, match=r"the loader of phase 'val' yielded no batch\n.*data are not empty"):
        validate_on_nothing()
    assert recorder.hooks[-2:] == ["on_exception", "on_fit_end"]


@pytest.mark.parametrize("count", [0, np.int64(0)])
def test_no_epoch_is_a_run_that_starts_and_ends(count):
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        assert list(run.epochs(count)) == []
    assert recorder.hooks == ["on_fit_start", "on_fit_end"]


# Errors and Ctrl-C ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("position", [*IN_THE_SCRIPT[1:], "nested"])
def test_an_error_in_the_body_surfaces_and_every_plugin_is_told(kind, position):
    recorder = Recorder()

    def here(name):
        if name == position:
            raise kind(position)

    def script():
        with Run(plugins=[recorder]) as run:
            for _ in run.epochs(2):
                here("epoch")
                for _ in run.batches([0], phase="val"):
                    here("val")
                for _ in run.batches([0]):
                    here("before backward")
                    step(run)
                    here("after backward")
                    for _ in run.batches([0], phase="val"):
                        here("nested")
                here("end of epoch")

    with pytest.raises(kind, match=position):
        script()
    assert recorder.hooks[-2:] == ["on_exception", "on_fit_end"]
    assert recorder.hooks.count("on_epoch_start") == 1
    assert "on_epoch_end" not in recorder.hooks


def test_a_script_that_catches_ctrl_c_itself_ends_as_by_break():
    recorder = Recorder()
    with Run(plugins=[recorder]) as run:
        try:
            for _ in run.epochs(None):
                for number in run.batches(itertools.count()):
                    step(run)
                    if number == 3:
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            run.stop("interrupted")
    assert_balanced(recorder)
    assert len(run.history) == 1
    assert "on_exception" not in recorder.hooks


INTERRUPTED = """
import itertools, numpy as np
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run

class Tell:
    @hookimpl
    def on_exception(self, run, error):
        print("on_exception", type(error).__name__, run.epoch, flush=True)
    @hookimpl
    def on_fit_end(self):
        print("on_fit_end", flush=True)

with Run(plugins=[Tell()]) as run:
    for epoch in run.epochs(None):
        for number in run.batches(itertools.count()):
            run.backward(1.0, [np.ones(3)])
            if number == 10:
                print("training", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGINT cannot be sent to one process elsewhere")
def test_a_real_ctrl_c_ends_a_real_script_with_its_plugins_told():
    source = Path(__file__).parents[2] / "src"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])}
    script = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert script.stdout.readline() == "training\n"
        script.send_signal(signal.SIGINT)
        output, error = script.communicate(timeout=60)
    finally:
        script.kill()
    assert output.splitlines() == ["on_exception KeyboardInterrupt 1", "on_fit_end"]
    assert error.splitlines()[-1] == "KeyboardInterrupt"
    assert script.returncode == -signal.SIGINT


class Shuffled:
    """A loader of somebody else's that wants to know the epoch."""

    def __init__(self):
        self.told = []

    def set_epoch(self, epoch):
        self.told.append(epoch)

    def __iter__(self):
        return iter([1.0, 2.0])


def test_a_loader_that_asks_is_told_the_epoch_before_each_pass():
    loader = Shuffled()
    with Run() as run:
        for _ in run.epochs(3):
            for loss in run.batches(loader):
                run.record(loss)
            for loss in run.batches(loader, phase="val"):
                run.record(loss)
    assert loader.told == [1, 1, 2, 2, 3, 3]
