"""Self-repair: what is done about an alarm, that it is written down, where it ends, and that runs end well for it."""

import functools
import math

import numpy as np
import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import Checkpoint, DivergenceAlarm, GradientClipping, SelfRepair
from rnncallbacks.testing.cases import run_case, shipped_guards
from rnncallbacks.testing.tasks import TASKS

NAN = math.nan


class Raises:
    """Raises an alarm in the batches that it is told, before or after the update."""

    def __init__(self, code, steps, *, after=True, **options):
        self.code, self.steps, self.after, self.options = code, steps, after, options

    @hookimpl(tryfirst=True)
    def on_backward(self, run):
        if not self.after and run.step in self.steps:
            run.raise_alarm(self.code, "it was told to", **self.options)

    @hookimpl
    def on_batch_end(self, run):
        if self.after and run.step in self.steps:
            run.raise_alarm(self.code, "it was told to", **self.options)


def train(plugins, losses, *, gradient=1.0, moves=True, **options):
    """The parameter is the number of the update; ``options`` go to the run."""
    params = {"w": np.zeros(2)}
    with Run(params, plugins=plugins, learning_rate=1.0, **options) as run:
        for _ in run.epochs(1):
            for loss in run.batches(losses):
                grads = run.backward(loss, {"w": np.full(2, gradient)})
                if moves and not run.skipped:
                    params["w"] += run.learning_rate * np.sign(grads["w"])
    return run


# --- back to healthy parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["RNN501", "RNN602"])
@pytest.mark.parametrize("after", [True, False])
def test_the_last_healthy_parameters_come_back_and_the_rate_is_cut(code, after):
    run = train([Raises(code, [13], after=after), SelfRepair(snapshot_every=5)], [1.0] * 14)
    # Step 10 is not known to be healthy yet. After the repair, step 14 makes an update of a tenth.
    np.testing.assert_allclose(run.params["w"], 5.1)
    assert run.scales == {"self_repair": 0.1}
    assert [(repair.code, repair.step) for repair in run.diagnosis.repairs] == [(code, 13)]
    assert run.history["repairs"] == [
        f"{code}: the learning rate is now 0.1, with a scale of 0.1, "
        "and the parameters were restored from step 5 (epoch 1, step 13)"
    ]


def test_the_first_cut_goes_half_as_far_as_the_evidence_and_the_next_less_far():
    plugins = [Raises("RNN501", [3, 9], evidence={"times_too_high": 40.0}), SelfRepair()]
    assert train(plugins, [1.0] * 5).scales == {"self_repair": pytest.approx(1 / 20)}
    assert train(plugins, [1.0] * 10).scales == {"self_repair": pytest.approx(0.1**0.5 / 20)}
    plugins = [Raises("RNN501", [3], evidence={"times_too_high": 16.0}), SelfRepair()]
    assert train(plugins, [1.0] * 5).scales == {"self_repair": pytest.approx(0.1)}


def test_the_first_cut_goes_less_far_where_the_optimizer_keeps_the_squares_of_large_gradients():
    hidden = [Raises("RNN501", [3], evidence={"times_too_high": 40.0} | SIGNS), SelfRepair()]
    assert train(hidden, [1.0] * 5).scales == {"self_repair": pytest.approx(3 / 40)}
    assert train(hidden, [1.0] * 5, optimizer_state={"m": np.zeros(2)}).scales == {"self_repair": pytest.approx(1 / 20)}


FOLLOWING, SIGNS = {"update_gradient_cosine": 1.0}, {"update_gradient_cosine": 0.5}


def test_gradients_that_explode_are_clipped_before_the_rate_is_cut():
    plugins = [Raises("RNN501", [3, 9], evidence=FOLLOWING), SelfRepair()]
    run = train(plugins, [1.0] * 4, gradient=100.0)
    assert run.scales == {}
    assert [repair.what for repair in run.diagnosis.repairs] == [
        "gradients are now clipped to a norm of 5, and the parameters were restored from step 0"
    ]
    assert train(plugins, [1.0] * 10, gradient=100.0).scales == {"self_repair": pytest.approx(0.1)}


@pytest.mark.parametrize(
    ("evidence", "gradient", "others"),
    [(SIGNS, 100.0, []), ({}, 100.0, []), (FOLLOWING, 5.0, []), (FOLLOWING, 100.0, [GradientClipping()])],
    ids=["updates that hold signs only", "nothing is known of them", "small gradients", "a plugin clips"],
)
def test_else_the_rate_is_cut_at_once(evidence, gradient, others):
    run = train([Raises("RNN501", [3], evidence=evidence), *others, SelfRepair()], [1.0] * 4, gradient=gradient)
    assert run.scales == {"self_repair": pytest.approx(0.1)}


def test_what_an_explosion_did_to_the_parameters_is_taken_back():
    run = train([Raises("RNN401", [2], after=False), SelfRepair()], [1.0] * 3, gradient=100.0)
    np.testing.assert_allclose(run.params["w"], 1.0)  # step 2 was taken out, and step 3 is the first again
    assert "and the parameters were restored from step 0" in run.diagnosis.repairs[0].what


def test_the_optimizers_state_comes_back_with_them():
    velocity = {"w": np.zeros(2)}

    class Moves:
        @hookimpl
        def on_batch_start(self, run):
            velocity["w"][...] = run.step

    run = train([Moves(), Raises("RNN501", [13]), SelfRepair(snapshot_every=5)], [1.0] * 13, optimizer_state=velocity)
    np.testing.assert_array_equal(velocity["w"], [5.0, 5.0])
    np.testing.assert_array_equal(run.params["w"], [5.0, 5.0])


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("honors_skipped", [True, False])
def test_restored_parameters_stay_until_hidden_momentum_has_decayed(after, honors_skipped):
    params, velocity, plugins = {"w": np.ones(2)}, np.zeros(2), [Raises("RNN501", [3], after=after), SelfRepair()]
    with Run(params, plugins=plugins, learning_rate=0.01) as run:
        for _ in run.epochs(1):
            for number in run.batches(range(80)):
                if number == 1:
                    velocity += np.array([100.0, -40.0])
                grads = run.backward(1.0, {"w": np.array([1.0, 2.0])})
                if not (honors_skipped and run.skipped):
                    velocity = 0.8 * velocity - run.learning_rate * grads["w"]
                    params["w"] += velocity
    assert np.abs(params["w"] - 1.0).max() < 1.0
    assert [repair.what for repair in run.diagnosis.repairs][1:] == [
        "batches are skipped until hidden momentum has decayed"
    ]


def test_a_rate_that_is_too_high_for_clipped_gradients_is_cut_as_well():
    params, plugins = {"w": np.ones(2)}, [Raises("RNN401", [2], after=False), SelfRepair()]
    with Run(params, plugins=plugins, learning_rate=2.0) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(3)):
                run.backward(1.0, {"w": np.full(2, 100.0)})
                params["w"] += 1.0
    assert run.learning_rate * 5.0 == pytest.approx(0.3 * 2.0**0.5)


def test_without_parameters_the_rate_alone_is_cut():
    with Run(plugins=[Raises("RNN501", [1]), SelfRepair()], learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1.0]):
                run.backward(1.0, np.ones(1))
    assert run.learning_rate == 0.1
    assert "parameters" not in str(run.diagnosis.repairs[0])


def test_without_a_learning_rate_the_parameters_alone_come_back():
    params = np.zeros(1)
    with Run(params, plugins=[Raises("RNN501", [2]), SelfRepair()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1.0] * 2):
                run.backward(1.0, np.ones(1))
                params += 1.0
    assert params == 0.0
    assert run.diagnosis.repairs[0].what == "the parameters were restored from step 0"


def test_parameters_that_the_run_does_not_see_moving_are_not_claimed_to_be_back():
    run = train([Raises("RNN501", [9]), SelfRepair()], [1.0] * 9, moves=False)
    assert [repair.what for repair in run.diagnosis.repairs] == ["the learning rate is now 0.1, with a scale of 0.1"]


def test_nothing_that_could_be_done_is_no_repair_and_the_action_follows():
    with Run(plugins=[Raises("RNN501", [1], action="stop"), SelfRepair()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1.0]):
                run.backward(1.0, np.ones(1))
    assert run.diagnosis.repairs == []
    assert run.stop_reason == "RNN501 it was told to"


# --- poisoned batches --------------------------------------------------------------------------------------------


def test_a_poisoned_batch_is_taken_out_and_the_run_goes_on():
    run = train([DivergenceAlarm(), SelfRepair()], [1.0, 1.0, NAN, 1.0, NAN, 1.0])
    np.testing.assert_array_equal(run.params["w"], [4.0, 4.0])
    assert run.stop_reason is None
    assert [repair.what for repair in run.diagnosis.repairs] == ["the batch was skipped"] * 2


def test_losses_that_vary_are_no_reason_to_go_back():
    run = train([DivergenceAlarm(), SelfRepair()], [2.0, *[0.8] * 12, *[1.5] * 12, NAN, 1.5])
    assert [repair.what for repair in run.diagnosis.repairs] == ["the batch was skipped"]
    np.testing.assert_array_equal(run.params["w"], [26.0, 26.0])


def test_where_the_loss_had_left_the_first_one_the_run_goes_back():
    run = train([DivergenceAlarm(max_rise=100.0), SelfRepair()], [2.0, *[0.8] * 12, *[2.5] * 12, NAN, 1.5])
    assert len(run.diagnosis.repairs) == 1
    assert "the parameters were restored from step" in run.diagnosis.repairs[0].what


def test_one_poisoned_gradient_in_a_healthy_run():
    params = {"w": np.zeros(2)}
    with Run(params, plugins=[DivergenceAlarm(action="raise"), SelfRepair()], learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for value in run.batches([1.0, NAN, 1.0]):
                grads = run.backward(1.0, {"w": np.array([1.0, value])})
                params["w"] -= run.learning_rate * grads["w"]
    np.testing.assert_array_equal(params["w"], [-2.0, -2.0])


def test_too_many_of_them_stop_the_run():
    run = train([DivergenceAlarm(), SelfRepair(max_skipped=3)], [1.0] + [NAN] * 9)
    assert run.step == 5
    assert run.stop_reason.startswith("self_repair: RNN403 after 0 repairs and 3 skipped batches: ")
    np.testing.assert_array_equal(run.params["w"], [1.0, 1.0])


def test_parameters_that_are_not_finite_come_back():
    params = {"w": np.zeros(2)}
    with Run(params, plugins=[DivergenceAlarm(), SelfRepair(snapshot_every=2)], learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for step in run.batches(range(1, 13)):
                run.backward(NAN if np.isnan(params["w"]).any() else 1.0, {"w": np.ones(2)})
                if not run.skipped:
                    params["w"] += NAN if step == 7 else run.learning_rate
    np.testing.assert_allclose(params["w"], 4.0 + 4 * 0.1)
    assert run.stop_reason is None


# --- the state, gradients ----------------------------------------------------------------------------------------


def entering_states(plugins, **options):
    entered = []
    with Run(np.zeros(1), plugins=plugins, **options) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(6)):
                entered.append(float(run.hidden(1).sum()))
                run.carry(np.ones((2, 1)))
                run.backward(1.0, np.ones(1))
    return run, entered


def test_a_state_that_leaks_is_reset_from_then_on():
    run, entered = entering_states([Raises("RNN201", [3], after=False), SelfRepair()], hidden_size=2)
    assert entered == [0.0, 2.0, 2.0, 0.0, 0.0, 0.0]
    assert run.diagnosis.repairs[0].what == "the hidden state is now reset before each batch"


def test_a_state_in_a_model_object_is_reset_by_its_own_function():
    resets = []
    with Run(plugins=[Raises("RNN201", [2]), SelfRepair()], reset=lambda: resets.append(run.step)) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(4)):
                run.backward(1.0, np.ones(1))
    assert resets == [2, 3, 4]


def test_a_state_that_the_script_keeps_to_itself_is_told_and_not_repaired():
    run = train([Raises("RNN201", [2]), SelfRepair()], [1.0] * 4, hidden_size=2)
    assert run.diagnosis.repairs == []
    assert [alarm.code for alarm in run.alarms] == ["RNN201"]


def test_gradients_that_explode_are_clipped_behind_everyone_else():
    updates = []
    params = {"w": np.zeros(2)}

    class Enlarges:
        @hookimpl(trylast=True)
        def on_backward(self, grads):
            grads.arrays[0][...] *= 100.0

    plugins = [SelfRepair(max_norm=2.0), Raises("RNN401", [2], after=False), Enlarges()]
    with Run(params, plugins=plugins, learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for loss in run.batches([1.0] * 4):
                grads = run.backward(loss, {"w": np.array([3.0, 4.0])})
                updates.append(float(np.linalg.norm(grads["w"])))
    assert updates == pytest.approx([500.0, 2.0, 2.0, 2.0])


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_gradients_that_pile_up_are_those_of_the_batch_again(copies, first):
    piled = {"w": np.zeros(2)}
    used, seen = [], []

    class Examines:
        @hookimpl(wrapper=True)
        def on_backward(self, grads):
            seen.append(float(grads["w"][0]))
            return (yield)

    plugins = [Examines(), Raises("RNN406", [3], after=False), GradientClipping(max_norm=100.0)]
    plugins.insert(0 if first else 3, SelfRepair())
    with Run({"w": np.zeros(2)}, plugins=plugins, learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for step in run.batches(range(1, 8)):
                piled["w"] += step
                grads = {"w": piled["w"].copy()} if copies else piled
                used.append(float(run.backward(1.0, grads)["w"][0]))
    assert used == [1.0, 3.0, 0.0, 4.0, 5.0, 6.0, 7.0]
    assert seen == [1.0, 3.0, 6.0, 4.0, 5.0, 6.0, 7.0]  # guards would find the sums again


def test_gradients_that_still_look_piled_up_lower_no_rate():
    run = train([Raises("RNN406", [3, 8, 12], after=False), SelfRepair()], [1.0] * 20)
    assert [repair.step for repair in run.diagnosis.repairs] == [3]
    assert run.scales == {}
    assert run.stop_reason is None


# --- bounds ------------------------------------------------------------------------------------------------------


def test_repairs_are_bounded_and_the_run_says_why_it_ends():
    run = train([Raises("RNN501", range(2, 100)), SelfRepair(max_repairs=3, factor=0.5)], [1.0] * 50)
    assert run.step == 5
    assert run.scales == {"self_repair": 0.125}
    assert run.stop_reason == ("self_repair: RNN501 after 3 repairs and 0 skipped batches: it was told to")
    assert run.alarms[0].count == 4


def test_two_alarms_of_one_batch_are_one_repair():
    plugins = {
        "first": Raises("RNN501", [4], after=False),
        "second": Raises("RNN602", [4], action="stop"),
        "self_repair": SelfRepair(),
    }
    run = train(plugins, [1.0] * 5)
    assert run.scales == {"self_repair": 0.1}
    assert run.stop_reason is None
    assert [repair.code for repair in run.diagnosis.repairs] == ["RNN501", "RNN602"]


@pytest.mark.parametrize("code", ["RNN101", "RNN301", "RNN302", "RNN404", "RNN405", "RNN503", "RNN601"])
def test_what_lies_in_the_scripts_own_functions_is_never_touched(code):
    run = train([Raises(code, [3], action="stop"), SelfRepair()], [1.0] * 5)
    np.testing.assert_array_equal(run.params["w"], [3.0, 3.0])
    assert (run.diagnosis.repairs, run.scales) == ([], {})
    assert run.stop_reason == f"{code} it was told to"


def test_a_note_is_no_reason_to_change_a_run():
    run = train([Raises("RNN501", [3], severity="info"), SelfRepair()], [1.0] * 5)
    assert (run.diagnosis.repairs, run.scales) == ([], {})


@pytest.mark.parametrize(("action", "repaired"), [("warn", 0), ("repair", 1)])
def test_it_can_be_limited_to_alarms_that_ask(action, repaired):
    run = train([Raises("RNN501", [3], action=action), SelfRepair(when="asked")], [1.0] * 5)
    assert len(run.diagnosis.repairs) == repaired


def test_an_alarm_that_would_raise_is_repaired_instead():
    run = train([Raises("RNN501", [3], action="raise"), SelfRepair()], [1.0] * 5)
    assert run.step == 5
    with pytest.raises(AlarmRaised):
        train([Raises("RNN501", [3], action="raise")], [1.0] * 5)


def test_a_resumed_run_keeps_what_was_repaired(tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def norms(epochs, code_at):
        updates, params = [], {"w": np.zeros(2)}
        plugins = [
            Checkpoint(path=path),
            Raises("RNN401", code_at, after=False),
            SelfRepair(max_norm=2.0, max_repairs=1),
        ]
        with Run(params, plugins=plugins, learning_rate=1.0) as run:
            for _ in run.epochs(epochs):
                for loss in run.batches([1.0] * 2):
                    grads = run.backward(loss, {"w": np.array([3.0, 4.0])})
                    updates.append(float(np.linalg.norm(grads["w"])))
        return run, updates

    assert norms(1, [2])[1] == pytest.approx([5.0, 2.0])
    run, updates = norms(3, [4])
    assert updates == pytest.approx([2.0, 2.0])  # the one repair that is allowed was used up before
    assert run.stop_reason.startswith("self_repair: RNN401 after 1 repairs")
    assert len(run.diagnosis.repairs) == 1


# --- outcomes ----------------------------------------------------------------------------------------------------


HARM_DEPENDS_ON_ROUNDING = ("explosion_momentum",)
"""Faults that some builds of NumPy survive by chance: an exploding network is chaotic in the last bit."""


@functools.cache
def loss_after(fault, *case, max_epochs):
    """The loss after a run without plugins."""
    return run_case(fault, *case, plugins={}, max_epochs=max_epochs).true_loss


@pytest.mark.parametrize(
    ("fault", "task", "cell", "optimizer", "seed", "through"),
    [
        ("rate_x30", "echo", "tanh", "sgd", 1, "trainer"),
        ("rate_x100", "echo", "tanh", "sgd", 1, "loop"),
        ("state_leak", "echo", "tanh", "adam", 1, "trainer"),
        ("state_leak", "echo", "tanh", "adam", 1, "loop"),
        ("nan_gradient", "echo", "tanh", "adam", 1, "loop"),
        ("explosion", "stream", "relu", "sgd", 4, "trainer"),
        ("explosion_momentum", "characters", "relu", "momentum", 0, "loop"),
    ],
)
def test_a_repaired_run_ends_as_well_as_a_healthy_one(fault, task, cell, optimizer, seed, through):
    within = 0.05 * math.log(TASKS[task].vocab_size)
    case = (task, cell, optimizer, seed, through)
    # After four of ten epochs the losses are as far apart as at the end, but where momentum has to decay first.
    max_epochs = None if fault == "explosion_momentum" else 4
    healthy = loss_after("healthy", *case, max_epochs=max_epochs)
    sick = loss_after(fault, *case, max_epochs=max_epochs)
    guards = {**shipped_guards(), "self_repair": SelfRepair()}
    repaired = run_case(fault, *case, plugins=guards, max_epochs=max_epochs)
    if fault in HARM_DEPENDS_ON_ROUNDING and sick <= healthy + within:
        pytest.skip("with this build of NumPy the network happens not to diverge")
    assert not sick <= healthy + within
    assert repaired.repairs
    assert repaired.true_loss <= healthy + within
