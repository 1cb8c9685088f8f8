"""The state of a run without its loop: parameters, learning rate, and where a checkpoint puts it."""

import copy
import pickle

import numpy as np
import pytest

from rnncallbacks.alarms.diagnosis_content import DiagnosisContent
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.position import Position
from rnncallbacks.core.run import Run
from rnncallbacks.core.run_state import RunState
from rnncallbacks.errors import ContainerError, DataError, RunStateError


def state(params=None, learning_rate=None, hidden_size=None):
    return RunState(params, None, learning_rate, hidden_size, zeros=None, reset=None)


def test_parameters_are_replaced_by_arrays_of_the_same_shapes_only():
    made = state({"w": np.zeros(2)})
    made.params = new = {"w": np.ones(2)}
    assert made.params is new
    with pytest.raises(ContainerError, match=r"run.params: expected arrays \{'w': \(2,\)\}, got \{'w': \(3,\)\}"):
        made.params = {"w": np.ones(3)}


def test_the_learning_rate_is_the_base_times_the_scales():
    made = state(learning_rate=0.5)
    made.scale_learning_rate("decay", 0.25)
    assert (made.base_learning_rate, made.learning_rate, made.scales) == (0.5, 0.125, {"decay": 0.25})


def test_resuming_replaces_everything_and_comes_before_the_first_epoch():
    made = state(learning_rate=1.0, hidden_size=1)
    hidden = {"train": {"carried": np.ones((1, 2)), "due": None}, "val": {"carried": None, "due": None}}
    position = Position(in_epoch=False, state={}, loaders={})
    arguments = {"scales": {"decay": 0.5}, "rows": [{"epoch": 3}], "diagnosis": DiagnosisContent(), "hidden": hidden}
    arguments["position"] = position
    made.resume(epoch=3, step=12, **arguments)
    assert (made.epoch, made.step, made.learning_rate) == (3, 12, 0.5)
    assert made.history[-1] == {"epoch": 3}
    assert made.hidden_states.saved() == hidden
    assert made.hidden_states.carried() == {phase: saved["carried"] for phase, saved in hidden.items()}
    with pytest.raises(RunStateError, match="cannot resume: this run has begun already"):
        made.resume(epoch=4, step=12, **arguments)


def test_its_repr_says_how_far_the_run_got_and_what_it_found():
    with Run({"w": np.zeros(1)}, learning_rate=0.5) as run:
        assert repr(run) == "Run(epoch 0, step 0)"
        for _ in run.epochs(3):
            for _ in run.batches([0]):
                run.raise_alarm("RNN301", "summed")
                run.raise_alarm("RNN602", "rose", action="stop")
    assert repr(run) == "Run(epoch 1 of 3, step 1, History(1 epoch), causes: RNN301, stopped: RNN602 rose)"


class Averages:
    """Gives each phase the loss of its last batch as its average."""

    @hookimpl
    def on_batch_end(self, run, batch):
        run.epoch_summary.losses[batch.phase] = batch.loss


def test_the_mean_loss_so_far_is_read_inside_the_epoch_by_phase():
    seen = []
    with Run(plugins=[Averages()]) as run:
        for _ in run.epochs(2):
            for loss in run.batches([3.0, 2.0]):
                run.record(loss)
            for loss in run.batches([5.0], phase="val"):
                run.record(loss)
                seen.append(run.mean_loss())
            seen.append(run.mean_loss("val"))
    assert seen == [2.0, 5.0, 2.0, 5.0]


def test_a_mean_loss_that_is_not_there_says_what_computes_it():
    with Run(plugins=[Averages()]) as run:
        for _ in run.epochs(1):
            with pytest.raises(DataError, match=r"epoch 1 has no column 'train_loss'.*\n.*loss_averaging"):
                run.mean_loss()
        with pytest.raises(RunStateError, match=r"run.mean_loss: no epoch is open\n.*for epoch in run.epochs"):
            run.mean_loss()
    with pytest.raises(RunStateError, match="the run has ended"):
        run.mean_loss()


def test_a_second_loop_without_an_epoch_left_is_an_error():
    with Run() as run:
        assert list(run.epochs(2)) == [1, 2]
        with pytest.raises(RunStateError, match=r"above the 2 epochs that this run has trained") as caught:
            list(run.epochs(1))
        assert "run.epochs(3) trains 1 more" in str(caught.value)
        assert list(run.epochs(3)) == [3]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_run_cannot_be_copied(copied):
    with pytest.raises(RunStateError, match=r"a run cannot be copied or pickled.*\n.*copy run\.params"):
        copied(Run(np.zeros(1)))


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.zeros((1, 1)).view(np.matrix), "expected a plain NumPy array, got a matrix"),
        (np.ma.masked_array([1.0, 2.0], [0, 1]), "expected a plain NumPy array, got a MaskedArray"),
        (np.array([1.0, None]), "'w' has dtype object, expected numbers"),
        (np.array(["a"]), "'w' has dtype <U1, expected numbers"),
        (np.zeros(1, "datetime64[s]"), "'w' has dtype datetime64.s., expected numbers"),
        (np.zeros(1, [("a", "f4")]), "'w' has dtype .*, expected numbers"),
    ],
    ids=["matrix", "masked", "object", "string", "time", "record"],
)
def test_parameters_that_are_no_plain_numbers_are_refused_at_once(array, named):
    with pytest.raises(ContainerError, match=named):
        Run({"w": array})
