"""The Run object: hooks in their places, what it refuses and how, and what is told to whom when something breaks."""

import logging
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.alarms.diagnosis_content import DiagnosisContent, Repair
from rnncallbacks.alarms.selection import Selection
from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.core.hookspecs import HOOKS, hookimpl
from rnncallbacks.core.position import Position
from rnncallbacks.core.run import Run
from rnncallbacks.core.script_function import PureFunction
from rnncallbacks.errors import (
    ContainerError,
    DataError,
    LossError,
    OptionError,
    PluginError,
    RunStateError,
    ShapeError,
)
from rnncallbacks.testing import Recorder


class Does:
    """Runs one function in one hook, with all that the hook is given."""

    def __init__(self, **functions):
        self.functions = functions

    def do(self, hook, *arguments):
        if hook in self.functions:
            self.functions[hook](*arguments)

    @hookimpl
    def on_fit_start(self, run):
        self.do("on_fit_start", run)

    @hookimpl
    def on_epoch_start(self, run):
        self.do("on_epoch_start", run)

    @hookimpl
    def on_batch_start(self, run):
        self.do("on_batch_start", run)

    @hookimpl
    def on_backward(self, run, grads):
        self.do("on_backward", run, grads)

    @hookimpl
    def on_batch_end(self, run):
        self.do("on_batch_end", run)

    @hookimpl
    def on_epoch_end(self, run):
        self.do("on_epoch_end", run)

    @hookimpl
    def on_alarm(self, run):
        self.do("on_alarm", run)

    @hookimpl
    def on_exception(self, run):
        self.do("on_exception", run)

    @hookimpl
    def on_fit_end(self, run):
        self.do("on_fit_end", run)


def nothing(run):
    """A body that leaves it to the hooks."""


def gradient():
    return {"w": np.ones(2)}


def in_batch(body, phase="train", **options):
    """Call ``body`` in the first batch of a run, and return the run."""
    with Run(**options) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0], phase=phase):
                body(run)
    return run


def in_epoch(body, **options):
    with Run(**options) as run:
        for _ in run.epochs(1):
            body(run)
    return run


def in_run(body, **options):
    with Run(**options) as run:
        body(run)
    return run


def every_hook(run):
    run.backward(1.0, gradient())
    run.raise_alarm("RNN601", "flat")


# Hooks in their places ------------------------------------------------------------------------------------------------


def test_every_hook_is_called_in_its_place():
    recorder = Recorder(details=True)
    with Run(plugins=[recorder]) as run:
        for _ in run.epochs(2):
            for loss in run.batches([0.5, 0.25]):
                run.backward(loss, gradient())
            for loss in run.batches([0.75], phase="val"):
                run.record(loss)
    assert recorder.calls[:10] == [
        ("on_fit_start", 0),
        ("on_epoch_start", 1),
        ("on_batch_start", 1, "train", 1),
        ("on_backward", 1, "train", 1, 0.5, ["w"]),
        ("on_batch_end", 1, "train", 1, 0.5),
        ("on_batch_start", 1, "train", 2),
        ("on_backward", 1, "train", 2, 0.25, ["w"]),
        ("on_batch_end", 1, "train", 2, 0.25),
        ("on_batch_start", 1, "val", 1),
        ("on_batch_end", 1, "val", 1, 0.75),
    ]
    assert recorder.calls[10:12] == [("on_epoch_end", 1, {"train": 2, "val": 1}), ("on_epoch_start", 2)]
    assert recorder.hooks.count("on_fit_start") == 1
    assert recorder.calls[-2:] == [("on_epoch_end", 2, {"train": 2, "val": 1}), ("on_fit_end", 2)]
    assert (run.epoch, run.step, run.max_epochs) == (2, 4, 2)


def test_the_loader_tells_the_batch_its_count_and_which_sequences_begin_anew():
    class Data:
        starts = (True, False)

    seen = []
    in_epoch(lambda run: [seen.append((run.batch.count, run.batch.starts)) for _ in run.batches([Data(), "none"])])
    assert seen[0][0] == seen[1][0] == 2
    assert seen[0][1].tolist() == [True, False]
    assert seen[1][1] is None
    in_epoch(lambda run: [seen.append(run.batch.count) for _ in run.batches(iter("a"))])
    assert seen[2] is None


def test_a_loader_is_told_the_epoch():
    class Shuffled(list):
        epochs = ()

        def set_epoch(self, epoch):
            self.epochs += (epoch,)

    loader = Shuffled([0])
    with Run() as run:
        for _ in run.epochs(3):
            list(run.batches(loader))
    assert loader.epochs == (1, 2, 3)


def test_batches_come_unchanged_and_in_order():
    data = [object(), (1, 2), None]
    in_epoch(lambda run: [data.append(item) for item in list(run.batches(tuple(data)))])
    assert data[3:] == data[:3]


def test_the_history_has_a_row_for_each_epoch():
    def log(run):
        run.log(norm=np.float32(0.5), steps=np.array(3), note="ok", big=True)

    run = in_epoch(log, learning_rate=np.float32(0.5), plugins=[Does(on_epoch_end=lambda run: run.log(later=1))])
    row = {"epoch": 1, "learning_rate": 0.5, "norm": 0.5, "steps": 3, "note": "ok", "big": True, "later": 1}
    assert run.history.untimed() == [row]
    assert {name: type(value) for name, value in run.history.rows[0].items()}["learning_rate"] is float
    assert type(run.history.rows[0]["norm"]) is float


def test_numbers_of_a_batch_are_logged_with_it():
    seen = []

    def body(run):
        for value in run.batches([np.float32(0.5), np.array(3)]):
            run.log_batch(norm=value, tries=1)
            run.log_batch(tries=2)

    in_epoch(body, plugins=[Does(on_batch_end=lambda run: seen.append(run.batch.logged))])
    assert seen == [{"norm": 0.5, "tries": 2}, {"norm": 3, "tries": 2}]
    with pytest.raises(OptionError, match=r"run.log_batch: expected a number for 'note', got"):
        in_batch(lambda run: run.log_batch(note="a word"))
    with pytest.raises(RunStateError, match=r"in the phase 'val': only .*\n.*call run.log\(name=value\)"):
        in_epoch(lambda run: [run.log_batch(norm=1.0) for _ in run.batches([0], phase="val")])


def test_a_logged_column_does_not_hide_one_of_the_run():
    class Averages:
        @hookimpl
        def on_epoch_end(self, summary):
            summary.losses["train"] = 0.25

    run = in_epoch(lambda run: run.log(epoch=7, train_loss=9.0), plugins=[Averages()])
    assert run.history.untimed() == [{"epoch": 1, "train_loss": 0.25, "logged_epoch": 7, "logged_train_loss": 9.0}]


@pytest.mark.parametrize("value", [None, [1.0], np.zeros(2), 1j])
def test_what_is_logged_is_a_number_or_a_string(value):
    with pytest.raises(OptionError, match=r"run.log: expected a number or a string for 'norm', got"):
        in_epoch(lambda run: run.log(norm=value))


@pytest.mark.parametrize(("wrong", "right"), [("hidden_state", "hidden_states"), ("entering_states", "entering_state")])
def test_what_no_guard_would_read_for_want_of_an_s_is_refused(wrong, right):
    with Run() as run:
        for _ in run.epochs(1):
            for _ in run.batches([1]):
                with pytest.raises(OptionError, match=f"no guard reads '{wrong}'\n.*did you mean '{right}'"):
                    run.observe(**{wrong: 1})
                run.observe(hidden_norms=1)
                assert run.batch.observed == {"hidden_norms": 1}
                run.record(0.0)


def test_what_the_script_observed_reaches_the_hooks_of_its_batch():
    seen = []
    plugin = Does(on_batch_end=lambda run: seen.append(dict(run.batch.observed)))

    def train(run):
        for item in run.batches([1, 2]):
            run.observe(logits=item)
            run.observe(targets=-item)

    in_epoch(train, plugins=[plugin])
    assert seen == [{"logits": 1, "targets": -1}, {"logits": 2, "targets": -2}]


def test_what_is_dear_to_compute_is_computed_once_and_for_those_who_look():
    asked = []

    def norms():
        asked.append(True)
        return [1.0]

    def look(run):
        evidence = run.batch.observed
        assert "norms" in evidence
        if run.step == 2:
            assert evidence["norms"] is evidence.get("norms") is dict(evidence)["norms"]
            assert evidence["norms"] == [1.0]

    def train(run):
        for _ in run.batches([1, 2, 3]):
            run.observe(norms=PureFunction(norms))

    in_epoch(train, plugins=[Does(on_batch_end=look)])
    assert len(asked) == 1


def test_two_plugins_that_look_before_the_update_share_what_was_computed():
    asked, seen = [], []

    def train(run):
        for _ in run.batches([1]):
            run.observe(norms=PureFunction(lambda: asked.append(run.params["w"].item()) or [1.0]))
            run.backward(0.0, {"w": np.ones(1)})
            run.params["w"] += 1.0

    looking = [Does(on_backward=lambda run, *_: seen.append(run.batch.observed.get("norms"))) for _ in range(2)]
    in_epoch(train, params={"w": np.zeros(1)}, plugins={"one": looking[0], "two": looking[1]})
    assert asked == [0.0]
    assert seen == [[1.0], [1.0]]


def test_evidence_that_cannot_be_computed_is_missing_and_ends_no_training(caplog):
    seen = []

    def train(run):
        for _ in run.batches([1]):
            run.observe(norms=lambda: {}["norm"])

    in_epoch(train, plugins=[Does(on_batch_end=lambda run: seen.append(run.batch.observed["norms"]))])
    assert seen == [None]
    assert caplog.messages == ["the function given to run.observe as 'norms' failed: KeyError: 'norm'"]


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learning_rate", [0, -1e-3, math.nan, math.inf, True, "0.1", np.zeros(1)])
def test_a_learning_rate_that_is_not_above_zero_is_refused(learning_rate):
    with pytest.raises(OptionError, match="expected a finite learning_rate above 0, got"):
        Run(learning_rate=learning_rate)


def test_the_learning_rate_is_the_base_times_every_scale():
    run = Run(learning_rate=0.5)
    assert run.learning_rate == 0.5
    run.scale_learning_rate("warmup", 0.5)
    run.scale_learning_rate("decay", np.float64(0.25))
    assert run.learning_rate == 0.0625
    run.scale_learning_rate("warmup", 1)
    assert run.learning_rate == 0.125
    assert run.scales == {"warmup": 1.0, "decay": 0.25}


@pytest.mark.parametrize("scale", [-0.1, math.nan, math.inf, "half", None])
def test_a_scale_is_a_finite_number_of_at_least_zero(scale):
    with pytest.raises(OptionError, match="'decay': expected a finite learning-rate scale >= 0"):
        Run(learning_rate=1.0).scale_learning_rate("decay", scale)


def test_without_a_learning_rate_there_is_nothing_to_read_or_scale():
    with pytest.raises(RunStateError, match="pass learning_rate= to Run"):
        _ = Run().learning_rate
    with pytest.raises(RunStateError, match="'decay' scales the learning rate, but the run has none"):
        Run().scale_learning_rate("decay", 0.5)
    assert "learning_rate" not in in_epoch(nothing).history


@pytest.mark.parametrize("params", [{"w": 1.0}, [[1, 2]], "weights", 3])
def test_parameters_are_containers_of_arrays(params):
    with pytest.raises(ContainerError, match=r"params.*expected a NumPy array"):
        Run(params)
    with pytest.raises(ContainerError, match=r"optimizer_state.*expected a NumPy array"):
        Run(optimizer_state=params)


def test_parameters_may_be_rebound_to_arrays_of_the_same_shapes():
    run = Run({"w": np.zeros((2, 3))})
    new = {"w": np.ones((2, 3))}
    run.params = new
    assert run.params is new
    with pytest.raises(ContainerError, match=r"\{'w': \(2, 3\)\}, got \{'w': \(3, 2\)\}"):
        run.params = {"w": np.ones((3, 2))}
    with pytest.raises(ContainerError, match="expected arrays"):
        run.params = {"v": np.ones((2, 3))}
    assert run.params is new


def test_parameters_may_come_later():
    run = Run()
    run.params = {"w": np.zeros(2)}
    with pytest.raises(ContainerError, match="expected arrays"):
        run.params = {"w": np.zeros(3)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size to be an integer >= 1, got int 0"),
        ({"hidden_size": 2.5}, "hidden_size to be an integer >= 1, got float 2.5"),
        ({"zeros": np.zeros((2, 3))}, r"zeros to be a function, got an array of shape \(2, 3\)"),
        ({"reset": "model.reset"}, "reset to be a function, got str 'model.reset'\n.*without calling it"),
    ],
)
def test_what_makes_or_resets_a_state_is_checked_when_the_run_is_made(options, message):
    with pytest.raises(OptionError, match=message):
        Run(**options)


# Loss and gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (0.5, 0.5),
        (2, 2.0),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3.0),
        (np.array(0.5), 0.5),
        (np.array(0.5, np.float16), 0.5),
        (np.longdouble(0.5), 0.5),
        (Fraction(1, 2), 0.5),
        (math.inf, math.inf),
        (np.float32(-np.inf), -math.inf),
        (math.nan, math.nan),
    ],
)
def test_a_loss_is_one_number_finite_or_not(loss, expected):
    seen = []

    def take(run):
        run.record(loss)
        seen.append(run.batch.loss)

    in_batch(take)
    assert type(seen[0]) is float
    np.testing.assert_equal(seen[0], expected)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (np.array([1.0, 2.0]), r"got an array of shape \(2,\)\n.*losses.mean\(\)"),
        (np.array([[1.0]]), r"got an array of shape \(1, 1\)"),
        ([1.0, 2.0], r"got list \[1.0, 2.0\]"),
        (None, "got None"),
        (True, "got bool True"),
        (np.bool_(True), "got bool"),
        (1j, "got complex 1j"),
        (np.complex64(1j), "got complex64"),
        ("0.5", "got str '0.5'"),
    ],
)
def test_what_is_not_one_number_is_no_loss_and_nothing_is_lost(loss, message):
    def take(run):
        with pytest.raises(LossError, match=message):
            run.record(loss)
        with pytest.raises(LossError, match=message):
            run.backward(loss, gradient())
        run.backward(0.5, gradient())

    assert in_batch(take).history["epoch"] == [1]


def test_a_batch_has_one_loss():
    def record_twice(run):
        run.record(1.0)
        with pytest.raises(RunStateError, match=r"run.record: this batch already has a loss\n.*once in a batch"):
            run.record(1.0)
        with pytest.raises(RunStateError, match=r"run.backward: this batch already has a loss"):
            run.backward(1.0, gradient())

    def backward_twice(run):
        run.backward(1.0, gradient())
        with pytest.raises(RunStateError, match=r"run.backward: this batch already has a loss"):
            run.backward(1.0, gradient())

    in_batch(record_twice)
    in_batch(backward_twice)


def test_counts_come_with_the_loss():
    def take(run):
        run.backward(1.0, gradient(), sequences=np.int64(4), tokens=60)
        assert (run.batch.sequences, run.batch.tokens) == (4, 60)
        assert type(run.batch.sequences) is int

    in_batch(take)


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "4"])
@pytest.mark.parametrize("name", ["sequences", "tokens"])
def test_a_count_that_is_none_is_refused(name, count):
    with pytest.raises(OptionError, match=f"run.record: expected {name} to be an integer >= 1, got"):
        in_batch(lambda run: run.record(1.0, **{name: count}))


def test_a_closure_reaches_the_plugins_with_its_batch():
    seen = []
    plugin = Does(
        on_backward=lambda run, grads: seen.append(run.batch.closure()),
        on_batch_end=lambda run: seen.append(run.batch.closure()),
    )
    params = {"w": np.array([4.0])}
    with Run(params, plugins=[plugin], learning_rate=0.25) as run:
        for _ in run.epochs(1):
            for target in run.batches([1.0, 2.0]):
                run.backward(1.0, {"w": np.ones(1)}, closure=lambda target=target: (params["w"] - target).item())
                params["w"] -= 1.0
    assert seen == [3.0, 2.0, 1.0, 0.0]


def test_without_a_closure_there_is_none():
    seen = []
    in_batch(
        lambda run: run.backward(1.0, np.ones(1)),
        plugins=[Does(on_backward=lambda run, grads: seen.append(run.batch.closure))],
    )
    assert seen == [None]


def test_a_closure_that_was_called_already_is_refused():
    def give_its_value(run):
        with pytest.raises(OptionError, match=r"expected closure to be a function, got float 1.0\n.*closure=lambda"):
            run.backward(1.0, np.ones(1), closure=1.0)

    in_batch(give_its_value)


def test_plugins_see_what_the_state_entered_with():
    seen = []
    plugin = Does(on_batch_end=lambda run: seen.append((run.batch.batch_size, run.batch.entering_state)))
    with Run(plugins=[plugin], hidden_size=2) as run:
        for _ in run.epochs(1):
            for index in run.batches(range(4)):
                if index == 1:
                    continue  # the script does not ask
                run.hidden(3)[...] = 9.0  # computing in the array that it was given
                run.carry(np.full((2, 3), index + 1.0))
                if index == 2:
                    run.reset_hidden(np.array([True, False, False]))
    assert [size for size, _ in seen] == [3, None, 3, 3]
    assert seen[0][1] is None
    assert seen[1][1] is None
    np.testing.assert_array_equal(seen[2][1], np.full((2, 3), 1.0))
    np.testing.assert_array_equal(seen[3][1], [[0.0, 3.0, 3.0]] * 2)


def test_backward_in_a_validation_phase_says_so():
    recorder = Recorder(details=True)
    with pytest.raises(RunStateError, match=r"run.backward in the phase 'val'.*\n.*run.record\(loss\)"):
        in_batch(lambda run: run.backward(1.0, gradient()), phase="val", plugins=[recorder])
    assert "on_backward" not in recorder.hooks


def test_backward_returns_the_scripts_own_container_changed_in_place():
    def double(run, grads):
        for array in grads.values():
            array *= 2

    containers = [
        {"w": np.ones(2)},
        [np.ones(2), np.ones(1)],
        (np.ones(2),),
        np.ones(2),
        {"cell": [np.ones(2), {"b": np.ones(())}], "head": None},
        FlatArrays({"w": (2,)}),
    ]
    for grads in containers:
        if isinstance(grads, FlatArrays):
            grads.flat[:] = 1.0
        with Run(plugins=[Does(on_backward=double)]) as run:
            for _ in run.epochs(1):
                for _ in run.batches([0]):
                    assert run.backward(1.0, grads) is grads
    assert containers[0]["w"].tolist() == [2, 2]
    assert containers[4]["cell"][1]["b"] == 2.0
    assert containers[5].flat.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"w": np.zeros(2, np.int32)}, "'w' has dtype int32, expected a floating dtype"),
        ({"w": np.broadcast_to(0.0, (2,))}, "'w' cannot be written to"),
        ({"w": [1.0, 2.0]}, r"gradients at 'w\.0': expected a NumPy array"),
        ([], "expected at least one array"),
    ],
)
def test_gradients_that_cannot_be_changed_in_place_are_refused(grads, message):
    with pytest.raises(ContainerError, match=message):
        in_batch(lambda run: run.backward(1.0, grads))


def test_gradients_keep_their_structure_from_batch_to_batch():
    def train(run):
        for grads in run.batches([{"w": np.ones(2), "b": np.ones(1)}, {"w": np.ones(2)}]):
            run.backward(1.0, grads)

    with pytest.raises(ContainerError, match="'b' is missing; the batches before had it") as caught:
        in_epoch(train)
    assert caught.value.hint


def test_a_skipped_batch_has_zero_gradients_and_says_so():
    plugin = Does(on_backward=lambda run, grads: run.skip_batch() if run.step == 1 else None)
    kept = []

    def train(run):
        for _ in run.batches([0, 1]):
            assert not run.skipped
            grads = run.backward(1.0, {"w": np.array([np.nan, 2.0])})
            kept.append((run.skipped, grads["w"].tolist()))
        assert not run.skipped

    in_epoch(train, plugins=[plugin])
    assert kept[0] == (True, [0.0, 0.0])
    assert kept[1][0] is False
    assert kept[1][1][1] == 2.0


# Hidden state ---------------------------------------------------------------------------------------------------------


def test_hidden_is_columns_of_zeros_in_the_dtype_of_the_parameters():
    states = []
    in_batch(lambda run: states.append(run.hidden(4)), params={"w": np.zeros(1, np.float32)}, hidden_size=3)
    np.testing.assert_array_equal(states[0], np.zeros((3, 4), np.float32), strict=True)


def test_a_carried_state_enters_the_next_batch_of_its_phase_and_no_other():
    entered = []
    with Run(hidden_size=2) as run:
        for _ in run.epochs(2):
            for number in run.batches([1, 2]):
                entered.append(("train", float(run.hidden(3)[0, 0])))
                run.carry(np.full((2, 3), float(number)))
            for _ in run.batches([0], phase="val"):
                entered.append(("val", float(run.hidden(5)[0, 0])))
                run.carry(np.full((2, 5), -1.0))
    assert entered == [("train", 0), ("train", 1), ("val", 0), ("train", 2), ("train", 1), ("val", -1)]


def test_a_reset_in_a_hook_is_due_for_the_batch_that_begins():
    plugin = Does(on_batch_start=lambda run: run.reset_hidden([True, False]) if run.step == 2 else None)
    entered = []

    def train(run):
        for _ in run.batches(range(3)):
            entered.append(run.hidden(2)[0].tolist())
            run.carry(np.ones((1, 2)))

    in_epoch(train, plugins=[plugin], hidden_size=1)
    assert entered == [[0, 0], [0, 1], [1, 1]]


def test_a_ragged_last_batch_needs_a_reset():
    def train(run):
        for width in run.batches([4, 4, 3]):
            run.hidden(width)
            run.carry(np.ones((2, width)))

    with pytest.raises(ShapeError, match=r"shape \(2, 4\), but batch size 3 needs \(2, 3\)"):
        in_epoch(train, hidden_size=2)
    in_epoch(train, hidden_size=2, plugins=[Does(on_batch_start=lambda run: run.reset_hidden())])


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, None, (2, 3)])
def test_a_batch_size_is_a_count(batch_size):
    with pytest.raises(OptionError, match=r"run.hidden: expected batch_size to be an integer >= 1, got"):
        in_batch(lambda run: run.hidden(batch_size), hidden_size=2)


def test_positions_are_no_mask():
    with pytest.raises(OptionError, match="expected one truth value for each sequence"):
        in_batch(lambda run: run.reset_hidden([0, 1]), hidden_size=2)


# Stop, alarms, registration -------------------------------------------------------------------------------------------


def test_an_alarm_is_listed_logged_and_told_to_every_plugin(caplog):
    recorder = Recorder(details=True)
    with caplog.at_level(logging.INFO, "rnncallbacks"):
        run = in_batch(lambda run: run.raise_alarm("RNN602", "it rose", evidence={"loss": 9.5}), plugins=[recorder])
    (alarm,) = run.alarms
    assert (alarm.code, alarm.cause, alarm.severity) == ("RNN602", "divergence", "error")
    assert (alarm.epoch, alarm.step, dict(alarm.evidence)) == (1, 1, {"loss": 9.5})
    assert ("on_alarm", 1, "train", 1, "RNN602") in recorder.calls
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "it rose" in caplog.text
    assert run.stop_reason is None


def test_an_alarm_for_information_is_logged_as_such(caplog):
    with caplog.at_level(logging.INFO, "rnncallbacks"):
        in_batch(lambda run: run.raise_alarm("RNN601", "flat", severity="info"))
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_an_alarm_is_logged_again_only_when_it_is_louder(caplog):
    def raise_all(run):
        for severity in ("info", "info", "warning", "info", "warning"):
            run.raise_alarm("RNN601", "flat", severity=severity)

    with caplog.at_level(logging.INFO, "rnncallbacks"):
        run = in_batch(raise_all)
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]
    assert [(alarm.severity, alarm.count) for alarm in run.alarms] == [("warning", 5)]


def test_an_alarm_can_stop_the_run():
    run = in_batch(lambda run: run.raise_alarm("RNN601", "flat for 3 epochs", action="stop"))
    assert run.stop_reason == "RNN601 flat for 3 epochs"


def test_an_alarm_can_end_the_run_by_an_error_and_plugins_hear_of_it_first():
    recorder = Recorder(details=True)
    with pytest.raises(AlarmRaised, match="RNN601 flat") as caught:
        in_batch(lambda run: run.raise_alarm("RNN601", "flat", action="raise"), plugins=[recorder])
    assert caught.value.alarm.message == "flat"
    assert recorder.hooks[-3:] == ["on_alarm", "on_exception", "on_fit_end"]


def test_a_code_of_ones_own_brings_its_cause_and_remedy():
    run = in_batch(
        lambda run: run.raise_alarm("ACME1", "hot", cause="fever", remedy="cool it", severity="warning", evidence={})
    )
    assert str(run.alarms[0]) == "ACME1 fever (epoch 1, step 1)\n  hot\n  remedy: cool it"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"code": "RNN999"}, r"'RNN999' is not in the catalogue\n.*cause=, remedy= and severity="),
        ({"code": "RNN999", "cause": "c", "severity": "info"}, "'RNN999' is not in the catalogue"),
        ({"code": 601}, "code: expected a text, got 601"),
        ({"code": "RNN601", "message": ""}, "message: expected a text, got ''"),
        ({"code": "RNN601", "evidence": 3.2}, "evidence: expected numbers by name, got 3.2"),
        ({"code": "RNN601", "action": "mend"}, "expected action 'warn', 'stop', 'raise' or 'repair', got 'mend'"),
        ({"code": "RNN601", "severity": "loud"}, "expected severity 'info', 'warning' or 'error', got 'loud'"),
    ],
)
def test_an_alarm_that_cannot_be_told_is_refused_and_not_listed(arguments, message):
    def raise_it(run):
        with pytest.raises(OptionError, match=message):
            run.raise_alarm(**{"message": "hot"} | arguments)

    assert in_batch(raise_it).alarms == []


def test_a_code_that_comes_again_is_counted_and_logged_once(caplog):
    recorder = Recorder(details=True)

    def raise_twice(run):
        run.raise_alarm("RNN601", "flat", evidence={"loss": 1.0})
        run.raise_alarm("RNN601", "flat still", evidence={"loss": 2.0})

    run = in_batch(raise_twice, plugins=[recorder])
    assert [(alarm.message, alarm.count) for alarm in run.alarms] == [("flat", 2)]
    assert [record.message.splitlines()[0] for record in caplog.records] == ["RNN601 plateau (epoch 1, step 1)"]
    assert recorder.hooks.count("on_alarm") == 2  # who repairs must hear that a repair did not help


def test_what_follows_from_a_known_cause_is_not_shouted(caplog):
    def raise_both(run):
        run.raise_alarm("RNN301", "summed")
        run.raise_alarm("RNN602", "rose")

    with caplog.at_level("INFO", logger="rnncallbacks"):
        run = in_batch(raise_both)
    assert [(record.levelname, record.message[:6]) for record in caplog.records] == [
        ("WARNING", "RNN301"),
        ("INFO", "RNN602"),
    ]
    assert [alarm.explained_by for alarm in run.alarms] == [None, "RNN301"]


@pytest.mark.parametrize("action", ["warn", "stop", "raise"])
def test_a_code_that_is_left_out_does_nothing(action):
    recorder = Recorder(details=True)

    def raise_it(run):
        run.diagnosis.selection = Selection(ignore=("RNN6",))
        assert run.raise_alarm("RNN601", "flat", action=action).code == "RNN601"
        run.raise_alarm("RNN501", "too high")

    run = in_batch(raise_it, plugins=[recorder])
    assert [alarm.code for alarm in run.alarms] == ["RNN501"]
    assert run.stop_reason is None
    assert recorder.hooks.count("on_alarm") == 1


@pytest.mark.parametrize("action", ["stop", "raise", "repair"])
def test_a_repair_takes_the_place_of_the_action_and_stands_in_the_history(action, caplog):
    class Repairs:
        repairs = True

        @hookimpl
        def on_alarm(self, run, alarm):
            run.report_repair(alarm, "cut the rate")

    def raise_twice(run):
        run.raise_alarm("RNN501", "too high", action=action)
        run.raise_alarm("RNN501", "too high", action=action)

    run = in_batch(raise_twice, plugins=[Repairs()])
    assert run.stop_reason is None
    assert [str(repair) for repair in run.diagnosis.repairs] == ["RNN501: cut the rate (epoch 1, step 1)"] * 2
    assert run.history["repairs"] == ["; ".join(map(str, run.diagnosis.repairs))]
    assert "repaired RNN501: cut the rate" in caplog.text


def test_whoever_asks_for_a_repair_needs_a_plugin_that_repairs():
    class Asks:
        action = "repair"

        @hookimpl
        def on_fit_start(self):
            raise AssertionError("the run must not begin")

    with pytest.raises(OptionError, match=r"asks: action='repair' needs a plugin that repairs.*\n.*SelfRepair"):
        in_epoch(nothing, plugins=[Asks()])


def test_the_first_reason_to_stop_counts():
    def stop_twice(run):
        run.stop("patience")
        run.stop("later")

    assert in_epoch(stop_twice).stop_reason == "patience"


def test_a_plugin_may_come_and_go_before_the_fit():
    recorder, other = Recorder(details=True), Recorder(details=True)
    run = Run(plugins={"other": other})
    assert run.register(recorder) == "recorder"
    assert run.unregister("other") is other
    with run:
        for _ in run.epochs(1):
            pass
    assert recorder.hooks == ["on_fit_start", "on_epoch_start", "on_epoch_end", "on_fit_end"]
    assert other.calls == []


def test_a_latecomer_is_started_at_once_and_one_that_goes_is_ended_at_once():
    first, late = Recorder(details=True), Recorder(details=True)
    with Run(plugins={"first": first}, learning_rate=1.0) as run:
        for epoch in run.epochs(4):
            if epoch == 2:
                run.register(late, "late")
                run.scale_learning_rate("late", 0.5)
            if epoch == 4:
                assert run.unregister("late") is late
                assert run.learning_rate == 1.0
    assert late.calls == [
        ("on_fit_start", 2),
        ("on_epoch_end", 2, {}),
        ("on_epoch_start", 3),
        ("on_epoch_end", 3, {}),
        ("on_epoch_start", 4),
        ("on_fit_end", 4),
    ]
    assert first.hooks.count("on_fit_start") == first.hooks.count("on_fit_end") == 1
    assert run.history["learning_rate"] == [1.0, 0.5, 0.5, 1.0]


def test_a_plugin_may_come_between_phases_and_after_a_broken_loop():
    late = Recorder(details=True)

    def train(run):
        for _ in run.batches(range(3)):
            break
        run.register(late)
        list(run.batches([0], phase="val"))

    in_epoch(train)
    assert late.hooks == ["on_fit_start", "on_batch_start", "on_batch_end", "on_epoch_end", "on_fit_end"]


def test_plugins_do_not_come_or_go_inside_a_batch():
    recorder = Recorder(details=True)

    def change(run):
        with pytest.raises(RunStateError, match="cannot register a plugin while a batch is open"):
            run.register(Recorder(details=True), "other")
        with pytest.raises(RunStateError, match="cannot unregister a plugin while a batch is open"):
            run.unregister("recorder")

    run = in_batch(change, plugins=[recorder])
    assert list(run.plugins) == ["recorder"]
    assert recorder.hooks.count("on_fit_end") == 1


def test_a_plugin_may_bring_another_when_the_fit_starts():
    brought = Recorder(details=True)
    in_batch(nothing, plugins=[Does(on_fit_start=lambda run: run.register(brought))])
    assert brought.hooks == [
        "on_fit_start",
        "on_epoch_start",
        "on_batch_start",
        "on_batch_end",
        "on_epoch_end",
        "on_fit_end",
    ]


def test_a_latecomer_that_fails_to_start_is_named():
    def fail(run):
        raise ValueError("no file")

    with pytest.raises(ValueError, match="no file") as caught:
        in_epoch(lambda run: run.register(Does(on_fit_start=fail), "log"))
    assert caught.value.__notes__ == ["in plugin 'log', hook on_fit_start, epoch 1"]


def test_one_that_fails_when_it_is_taken_out_is_out_all_the_same():
    def fail(run):
        raise ValueError("no file")

    def take_out(run):
        with pytest.raises(ValueError, match="no file"):
            run.unregister("log")
        assert "log" not in run.plugins
        assert run.scales == {}

    def body(run):
        run.scale_learning_rate("log", 0.5)
        take_out(run)

    in_epoch(body, plugins={"log": Does(on_fit_end=fail)}, learning_rate=1.0)


def test_taking_out_an_unknown_plugin_ends_nobody():
    recorder = Recorder(details=True)

    def take_out(run):
        with pytest.raises(PluginError, match="did you mean 'recorder'"):
            run.unregister("recoder")
        assert "on_fit_end" not in recorder.hooks

    in_epoch(take_out, plugins=[recorder])


# Where a call belongs -------------------------------------------------------------------------------------------------

IN_A_BATCH = {
    "backward": lambda run: run.backward(1.0, gradient()),
    "record": lambda run: run.record(1.0),
    "hidden": lambda run: run.hidden(1),
    "carry": lambda run: run.carry(np.zeros((2, 1))),
    "reset_hidden": lambda run: run.reset_hidden(),
    "observe": lambda run: run.observe(logits=1),
    "skip_batch": lambda run: run.skip_batch(),
    "log_batch": lambda run: run.log_batch(norm=1.0),
}
AT_ANY_TIME = {
    "log": lambda run: run.log(norm=1.0),
    "epochs": lambda run: list(run.epochs(1)),
    "batches": lambda run: list(run.batches([0])),
    "register": lambda run: run.register(Recorder(details=True)),
    "unregister": lambda run: run.unregister("recorder"),
    "stop": lambda run: run.stop("enough"),
    "enter": lambda run: run.__enter__(),
}


@pytest.mark.parametrize("call", IN_A_BATCH)
def test_what_belongs_into_a_batch_says_so_elsewhere(call):
    with pytest.raises(RunStateError, match=r"the run was not entered\n.*with Run"):
        IN_A_BATCH[call](Run(hidden_size=2))
    with pytest.raises(RunStateError, match=r"no epoch is open\n.*for epoch in run.epochs"):
        in_run(IN_A_BATCH[call], hidden_size=2)
    with pytest.raises(RunStateError, match=rf"run.{call}: no batch is open\n.*run.batches\(loader\)"):
        in_epoch(IN_A_BATCH[call], hidden_size=2)
    with pytest.raises(RunStateError, match="no batch is open"):
        in_epoch(lambda run: (list(run.batches([0])), IN_A_BATCH[call](run)), hidden_size=2)


@pytest.mark.parametrize("call", IN_A_BATCH | AT_ANY_TIME)
def test_after_its_end_a_run_is_used_no_more(call):
    ended = in_epoch(nothing, hidden_size=2, plugins=[Recorder(details=True)])
    calls = len(ended.plugins["recorder"].calls)
    with pytest.raises(RunStateError, match=r"the run has ended\n.*make a new Run"):
        (IN_A_BATCH | AT_ANY_TIME)[call](ended)
    assert len(ended.plugins["recorder"].calls) == calls


def test_what_a_run_found_stays_readable_after_its_end():
    run = in_batch(every_hook, learning_rate=0.5, params=gradient())
    assert run.history["epoch"] == [1]
    assert run.learning_rate == 0.5
    assert [alarm.code for alarm in run.alarms] == ["RNN601"]


def test_a_run_is_entered_once():
    run = Run()
    with run, pytest.raises(RunStateError, match="cannot enter it: the run was entered already"):
        run.__enter__()
    with pytest.raises(RunStateError, match="cannot enter it: the run has ended"):
        run.__enter__()


@pytest.mark.parametrize("call", ["log", "batches"])
def test_an_epoch_must_be_open(call):
    with pytest.raises(RunStateError, match="no epoch is open"):
        in_run(AT_ANY_TIME[call])
    with pytest.raises(RunStateError, match="not entered"):
        AT_ANY_TIME[call](Run())
    with pytest.raises(RunStateError, match="no epoch is open"):
        in_run(lambda run: (list(run.epochs(1)), AT_ANY_TIME[call](run)))


def test_epochs_are_not_nested():
    with pytest.raises(RunStateError, match=r"an epoch is open already\n.*do not nest"):
        in_epoch(lambda run: list(run.epochs(1)))


@pytest.mark.parametrize("count", [-1, 1.5, True, "3"])
def test_a_number_of_epochs_is_a_count_or_none(count):
    with pytest.raises(OptionError, match=r"run.epochs: expected a number of epochs >= 0 or None, got"):
        in_run(lambda run: list(run.epochs(count)))


@pytest.mark.parametrize("phase", ["", "my phase", None, 3])
def test_a_phase_is_a_name(phase):
    with pytest.raises(OptionError, match="expected a phase name"):
        in_epoch(lambda run: list(run.batches([0], phase=phase)))


@pytest.mark.parametrize("loader", [None, 3, object()])
def test_a_loader_is_an_iterable(loader):
    with pytest.raises(DataError, match="expected an iterable of batches for phase 'val', got"):
        in_epoch(lambda run: list(run.batches(loader, phase="val")))


def test_a_run_that_began_no_epoch_starts_and_ends_nobody():
    recorder = Recorder(details=True)
    in_run(nothing, plugins=[recorder])
    assert recorder.calls == []


def test_a_run_resumes_where_another_stood():
    recorder = Recorder(details=True)

    def resume(run):
        run.resume(
            epoch=3,
            step=12,
            scales={"decay": 0.5},
            rows=[{"epoch": 3}],
            diagnosis=DiagnosisContent(repairs=[Repair(code="RNN501", what="rolled back", epoch=2, step=9)]),
            hidden={"train": {"carried": np.ones((1, 2)), "due": None}},
            position=Position(in_epoch=False, state={}, loaders={}),
        )

    entered = []
    with Run(plugins=[recorder, Does(on_fit_start=resume)], learning_rate=1.0, hidden_size=1) as run:
        for epoch in run.epochs(5):
            for _ in run.batches([0]):
                entered.append((epoch, run.step, run.learning_rate, run.hidden(2).tolist()))
                run.carry(np.full((1, 2), 7.0))
        assert run.hidden_states.carried()["train"].tolist() == [[7, 7]]
        with pytest.raises(RunStateError, match="cannot resume: this run has begun already"):
            resume(run)
    assert entered == [(4, 13, 0.5, [[1, 1]]), (5, 14, 0.5, [[7, 7]])]
    assert run.history["epoch"] == [3, 4, 5]
    assert [repair.step for repair in run.diagnosis.repairs] == [9]


# Exceptions -----------------------------------------------------------------------------------------------------------

OUTSIDE_A_BATCH = {"on_fit_start": "epoch 0", "on_epoch_start": "epoch 1", "on_epoch_end": "epoch 1"}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, StopIteration])
@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in ("on_exception", "on_fit_end")])
def test_a_plugin_that_raises_in_a_hook_is_named_and_everyone_hears_of_it(hook, kind):
    def fail(*arguments):
        raise kind("broken")

    before, after = Recorder(details=True), Recorder(details=True)
    plugins = {"before": before, "culprit": Does(**{hook: fail}), "after": after}
    # A generator cannot let StopIteration pass: it becomes the cause of another error.
    stops = kind is StopIteration
    with pytest.raises(PluginError if stops else kind) as caught:
        in_batch(every_hook, plugins=plugins)
    error = caught.value.__cause__ if stops else caught.value
    where = OUTSIDE_A_BATCH.get(hook, "epoch 1, batch 1 of train")
    assert error.__notes__ == [f"in plugin 'culprit', hook {hook}, {where}"]
    for recorder in (before, after):
        assert recorder.hooks[-2:] == ["on_exception", "on_fit_end"]
        assert recorder.calls[-2][-1] is type(caught.value)
    assert hook in before.hooks
    assert hook not in after.hooks


def test_an_error_in_on_exception_does_not_hide_the_first():
    def fail(run):
        raise RuntimeError("disk full")

    def script(run):
        raise ValueError("the cause")

    before, after = Recorder(details=True), Recorder(details=True)
    plugins = {"before": before, "culprit": Does(on_exception=fail, on_fit_end=fail), "after": after}
    with pytest.raises(ValueError, match="the cause") as caught:
        in_batch(script, plugins=plugins)
    assert caught.value.__notes__ == [
        "then RuntimeError: disk full, in plugin 'culprit', hook on_exception, epoch 1, batch 1 of train",
        "then RuntimeError: disk full, in plugin 'culprit', hook on_fit_end, epoch 1, batch 1 of train",
    ]
    assert before.hooks[-2:] == after.hooks[-2:] == ["on_exception", "on_fit_end"]


def test_an_error_in_on_fit_end_surfaces_and_the_others_are_ended_all_the_same():
    def fail_with(error):
        def fail(run):
            raise error

        return fail

    after = Recorder(details=True)
    plugins = {
        "a": Does(on_fit_end=fail_with(OSError("full"))),
        "b": Does(on_fit_end=fail_with(KeyError("k"))),
        "c": after,
    }
    with pytest.raises(OSError, match="full") as caught:
        in_batch(every_hook, plugins=plugins)
    assert caught.value.__notes__ == [
        "in plugin 'a', hook on_fit_end, epoch 1",
        "then KeyError: 'k', in plugin 'b', hook on_fit_end, epoch 1",
    ]
    assert after.hooks[-1] == "on_fit_end"


@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_end"])
def test_an_error_while_the_run_closes_what_break_left_open_is_not_lost(hook):
    def fail(run):
        raise ValueError("broken")

    recorder = Recorder(details=True)

    def script(run):
        for _ in run.epochs(3):
            for _ in run.batches(range(3)):
                break
            break

    with pytest.raises(ValueError, match="broken") as caught:
        in_run(script, plugins={"recorder": recorder, "culprit": Does(**{hook: fail})})
    assert caught.value.__notes__[0].startswith(f"in plugin 'culprit', hook {hook}, epoch 1")
    assert recorder.hooks[-3:] == [hook, "on_exception", "on_fit_end"]


def test_an_epoch_is_closed_once_even_if_closing_it_failed_and_the_script_went_on():
    def fail(run):
        raise ValueError("broken")

    recorder = Recorder(details=True)

    def script(run):
        with pytest.raises(ValueError, match="broken"):
            list(run.epochs(2))

    in_run(script, plugins=[recorder, Does(on_epoch_end=fail)])
    assert recorder.hooks == ["on_fit_start", "on_epoch_start", "on_epoch_end", "on_fit_end"]


def test_an_error_of_the_loader_leaves_the_run_as_any_other():
    def loader():
        yield 1
        raise OSError("no such file")

    recorder = Recorder(details=True)
    with pytest.raises(OSError, match="no such file"):
        in_epoch(lambda run: list(run.batches(loader())), plugins=[recorder])
    assert recorder.hooks[-3:] == ["on_batch_end", "on_exception", "on_fit_end"]


def test_an_error_before_the_first_epoch_leaves_the_plugins_alone():
    def fail(run):
        raise ValueError("too early")

    recorder = Recorder(details=True)
    with pytest.raises(ValueError, match="too early"):
        in_run(fail, plugins=[recorder])
    assert recorder.calls == []


def test_a_gradient_of_another_shape_than_its_parameter_is_refused_with_both():
    with Run({"w": np.zeros((3, 1))}) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1]):
                with pytest.raises(ContainerError, match=r"'w' has shape \(1, 3\), its parameter \(3, 1\)"):
                    run.backward(0.0, {"w": np.zeros((1, 3))})


@pytest.mark.parametrize("reason", [None, "", 3])
def test_a_run_is_stopped_for_a_reason_in_words(reason):
    with pytest.raises(OptionError, match=r"run\.stop: expected a reason, such as"):
        Run().stop(reason)


def test_no_alarm_is_raised_after_the_end():
    with Run() as run:
        list(run.epochs(1))
    with pytest.raises(RunStateError, match="the run has ended"):
        run.raise_alarm("RNN601", "late")


def test_a_loader_that_does_not_know_its_length():
    class Endless:
        def __iter__(self):
            return iter([1.0])

        def __len__(self):
            raise TypeError("no length")

    with Run() as run:
        for _ in run.epochs(1):
            for loss in run.batches(Endless()):
                assert run.batch.count is None
                run.record(loss)
    assert run.epoch == 1


def test_positions_in_place_of_truth_values_are_refused_from_a_loader_too():
    batch = SimpleNamespace(starts=[0, 2, 3])
    with Run(hidden_size=1) as run:
        for _ in run.epochs(1):
            for _ in run.batches([batch]):
                with pytest.raises(OptionError, match="expected one truth value for each sequence"):
                    run.reset_hidden(run.batch.starts)


class Leaves:
    """Leaves the run when it is told of its end."""

    ends = 0

    @hookimpl
    def on_fit_end(self, run):
        self.ends += 1
        run.__exit__(None, None, None)


def test_a_plugin_that_leaves_the_run_at_its_end_is_named_and_told_once():
    plugin = Leaves()
    with pytest.raises(RunStateError, match="it is being left") as caught, Run(plugins=[plugin]) as run:
        list(run.epochs(1))
    assert "in plugin 'leaves', hook on_fit_end" in caught.value.__notes__[0]
    assert plugin.ends == 1
