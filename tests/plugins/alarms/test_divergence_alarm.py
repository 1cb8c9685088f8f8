"""Divergence alarms: what is not finite is seen before the update, rises and spikes soon after, and noise never."""

import math

import attrs
import numpy as np
import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import Checkpoint, DivergenceAlarm, GradientClipping, LossAveraging, SelfRepair
from rnncallbacks.rnn.optimizers import SGD

NAN, INF = math.nan, math.inf
BATCHES = 1000


def codes(run):
    return [alarm.code for alarm in run.alarms]


def noisy(level, noise, seed):
    return list(level * (1.0 + noise * np.random.default_rng(seed).normal(size=len(level))))


# --- what is not finite ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
def test_a_loss_that_is_not_finite_stops_before_the_update(play, loss):
    run = play([DivergenceAlarm()], [[1.0, 1.0, loss, 1.0]])
    assert codes(run) == ["RNN403"]
    assert run.alarms[0].message == (
        f"the loss ({loss}) of batch 3 of train is not finite; the first non-finite value is in the data of the "
        "loader (1 of 1 entries), while the parameters are finite and unchanged"
    )
    assert run.alarms[0].step == 3
    assert run.stop_reason.startswith("RNN403")
    np.testing.assert_array_equal(run.params["w"], [2.0, 2.0])


def train_with(gradients, *plugins, params=None):
    """A script that does not ask run.skipped."""
    params = {"u": np.zeros(2), "w": np.zeros(3)} if params is None else params
    with Run(params, plugins=plugins, learning_rate=1.0) as run:
        for _ in run.epochs(1):
            for number in run.batches(range(len(gradients))):
                grads = run.backward(1.0, {name: array.copy() for name, array in gradients[number].items()})
                for name in params:
                    params[name] -= run.learning_rate * grads[name]
    return run


SOUND = {"u": np.ones(2), "w": np.ones(3)}
SICK = {"u": np.ones(2), "w": np.array([1.0, NAN, 1.0])}


@pytest.mark.parametrize("bad", [NAN, INF])
def test_one_entry_of_one_gradient_is_found_and_named(bad):
    sick = {"u": np.ones(2), "w": np.array([1.0, bad, 1.0])}
    run = train_with([SOUND, sick, SOUND], DivergenceAlarm())
    assert [alarm.message for alarm in run.alarms] == [
        "the gradient 'w' of batch 2 of train is not finite (1 of 3 entries); the loss (1) is finite, so it arose in "
        "the backward pass; the parameters are finite and unchanged"
    ]
    # The script does not look at run.skipped: the gradients themselves were made zero.
    np.testing.assert_array_equal(run.params["u"], [-1.0, -1.0])
    np.testing.assert_array_equal(run.params["w"], [-1.0, -1.0, -1.0])


def test_a_gradient_without_a_name():
    params = np.zeros(2)
    with Run(params, plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0]):
                run.backward(1.0, np.array([0.0, NAN]))
    assert run.alarms[0].message.startswith("the gradient of batch 1 of train is not finite (1 of 2 entries); ")


def test_large_but_finite_gradients_are_finite():
    grads = {"u": np.full(2, 1e30, dtype=np.float32), "w": np.full(3, 1e30, dtype=np.float32)}
    assert train_with([grads], DivergenceAlarm()).alarms == []
    # Only the norm overflows, even in double precision.
    grads = {"u": np.full(2, 1.7e308), "w": np.full(3, 1.7e308)}
    assert train_with([grads], DivergenceAlarm()).alarms == []


def test_action_raise_leaves_the_parameters_as_they_were():
    params = {"u": np.zeros(2), "w": np.zeros(3)}
    with pytest.raises(AlarmRaised, match="RNN403 the gradient 'w'") as raised:
        train_with([SICK], DivergenceAlarm(action="raise"), params=params)
    assert raised.value.alarm.code == "RNN403"
    np.testing.assert_array_equal(params["w"], np.zeros(3))


def test_action_warn_says_it_once_and_goes_on(play):
    run = play([DivergenceAlarm(action="warn")], [[1.0, NAN, NAN, 1.0]])
    assert codes(run) == ["RNN403"]
    assert run.stop_reason is None
    np.testing.assert_array_equal(run.params["w"], [4.0, 4.0])


def test_a_validation_loss_that_is_not_finite(play):
    run = play([LossAveraging(), DivergenceAlarm()], [[1.0]] * 3, val=[[1.0], [1.0, NAN, 1.0]])
    assert [alarm.message for alarm in run.alarms] == [
        "the loss (nan) of batch 2 of val is not finite; the first non-finite value is in the data of the loader "
        "(1 of 1 entries), while the parameters are finite"
    ]
    assert len(run.history) == 2
    with pytest.raises(AlarmRaised):
        play([DivergenceAlarm(action="raise")], [[1.0]], val=[[NAN]])


def test_a_batch_without_a_loss_is_no_alarm():
    with Run(plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0, 0], phase="val"):
                pass
    assert run.alarms == []


def test_a_batch_that_was_taken_out_already_is_no_alarm():
    params = {"w": np.zeros(2)}
    with Run(params, plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for loss in run.batches([1.0, NAN, 1.0]):
                if math.isnan(loss):
                    run.skip_batch()
                params["w"] -= run.backward(loss, {"w": np.full(2, loss)})["w"]
    assert run.alarms == []
    np.testing.assert_array_equal(params["w"], [-2.0, -2.0])


def test_finite_losses_pass_the_check(play):
    assert "RNN403" in play([DivergenceAlarm()], [[1.0]]).diagnosis.passed
    assert "RNN403" not in play([DivergenceAlarm()], [[NAN]]).diagnosis.passed


def test_nothing_is_looked_into_while_all_is_finite():
    class Secret:
        asked = 0

        @property
        def inputs(self):
            self.asked += 1
            return np.zeros((2, 1))

        targets = inputs

    secret = Secret()
    with Run(plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for step, _ in enumerate(run.batches([secret] * 60)):
                run.backward(1.0, {"w": np.ones(2)})
                assert secret.asked == 0 or step == 59
                if step == 58:
                    break
            for _ in run.batches([secret]):
                run.backward(NAN, {"w": np.ones(2)})
    assert secret.asked > 0
    assert run.step == 60


# --- a repair that is asked for ----------------------------------------------------------------------------------


class Helpless:
    """Is asked for repairs, and knows none."""

    repairs = True

    def __init__(self):
        self.counts = []

    @hookimpl
    def on_alarm(self, alarm):
        self.counts.append((alarm.code, alarm.count, alarm.action))


def test_a_repair_that_nobody_did_lets_no_poisoned_update_through():
    helpless = Helpless()
    run = train_with([SOUND, SICK, SOUND, SICK], DivergenceAlarm(action="repair"), helpless)
    assert helpless.counts == [("RNN403", 1, "repair"), ("RNN403", 2, "repair")]
    assert [(alarm.code, alarm.count) for alarm in run.alarms] == [("RNN403", 2)]
    assert run.stop_reason is None
    np.testing.assert_array_equal(run.params["w"], [-2.0, -2.0, -2.0])


@pytest.mark.parametrize("action", ["warn", "stop", "repair"])
def test_self_repair_takes_each_poisoned_batch_out(action):
    run = train_with([SOUND, SICK, SOUND, SICK, SOUND], DivergenceAlarm(action=action), SelfRepair())
    assert [(alarm.code, alarm.count) for alarm in run.alarms] == [("RNN403", 2)]
    assert [(repair.code, repair.step) for repair in run.diagnosis.repairs] == [("RNN403", 2), ("RNN403", 4)]
    assert (run.step, run.stop_reason) == (5, None)
    np.testing.assert_array_equal(run.params["u"], [-3.0, -3.0])
    np.testing.assert_array_equal(run.params["w"], [-3.0, -3.0, -3.0])


def test_when_repairs_are_used_up_the_run_stops_with_healthy_parameters():
    run = train_with([SOUND, SICK, SICK, SOUND], DivergenceAlarm(action="repair"), SelfRepair(max_skipped=1))
    assert run.stop_reason.startswith("self_repair: RNN403")
    assert run.step == 3
    np.testing.assert_array_equal(run.params["w"], [-1.0, -1.0, -1.0])


# --- where it begins, in a loop of one's own ---------------------------------------------------------------------

SEQ_LEN, BATCH_SIZE, HIDDEN_SIZE, FEATURES = 6, 4, 5, 3


def forward_pass(x, hidden, params, squash):
    """Columns: x is (seq_len, features, batch_size), a state (hidden_size, batch_size)."""
    u, v, w = params
    hiddens, logits = [hidden], []
    for step in x:
        hiddens.append(squash(u @ step + v @ hiddens[-1]))
        logits.append(w @ hiddens[-1])
    return logits, hiddens


def loop(spoil, *, phase="train", squash=np.tanh, plugin=None, observe=True, nll=None, dtype=np.float64):
    """Three batches; ``spoil(number, x, params, entering)`` changes what it likes before each forward pass."""
    generator = np.random.default_rng(0)
    shapes = [(HIDDEN_SIZE, FEATURES), (HIDDEN_SIZE, HIDDEN_SIZE), (2, HIDDEN_SIZE)]
    params = [(0.3 * generator.normal(size=shape)).astype(dtype) for shape in shapes]
    x = generator.normal(size=(3, SEQ_LEN, FEATURES, BATCH_SIZE)).astype(dtype)
    y = generator.integers(0, 2, (3, SEQ_LEN, BATCH_SIZE))
    with (
        np.errstate(all="ignore"),
        Run(params, plugins=[plugin or DivergenceAlarm()], hidden_size=HIDDEN_SIZE, learning_rate=0.1) as run,
    ):
        for _ in run.epochs(1):
            for number in run.batches(range(3), phase=phase):
                entering = run.hidden(BATCH_SIZE)
                spoil(number, x[number], params, entering)
                before = [array.copy() for array in params]
                logits, hiddens = forward_pass(x[number], entering, params, squash)
                run.observe(inputs=x[number], targets=y[number])
                if observe:
                    run.observe(hidden_states=hiddens, logits=logits)
                run.carry(hiddens[-1])
                loss = (nll or stable_nll)(np.stack(logits), y[number])
                if phase != "train":
                    run.record(loss)
                    continue
                grads = [np.full_like(array, loss) for array in params]
                grads = run.backward(loss, grads)
                for array, grad in zip(params, grads, strict=True):
                    array -= run.learning_rate * 0.01 * grad
    return run, before


def stable_nll(logits, y):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.take_along_axis(log_p, y[:, None], axis=1).mean()


def only(run):
    (alarm,) = run.alarms
    assert alarm.code == "RNN403"
    return alarm


def where(alarm):
    names = ("array", "time_step", "time_steps", "row", "non_finite", "entries")
    return tuple(alarm.evidence.get(name) for name in names)


def nan_in_an_input(number, x, params, entering):
    if number == 1:
        x[3, 0, 2] = NAN


@pytest.mark.parametrize("observe", [True, False])
def test_an_input_is_named_with_its_time_step_and_row(observe):
    run, before = loop(nan_in_an_input, observe=observe)
    alarm = only(run)
    assert alarm.message == (
        "the loss (nan) of batch 2 of train is not finite; the first non-finite value is in the inputs, time step 4 of "
        "6, row 3 of 4 (1 of 12 entries), while the parameters are finite and unchanged"
    )
    assert where(alarm) == ("inputs", 4, SEQ_LEN, 3, 1, FEATURES * BATCH_SIZE)
    assert alarm.evidence["non_finite_parameters"] == 0
    for array, as_it_was in zip(run.params, before, strict=True):
        np.testing.assert_array_equal(array, as_it_was)


def test_with_warn_nothing_is_said_of_what_the_update_will_do():
    run, _ = loop(nan_in_an_input, plugin=DivergenceAlarm(action="warn"))
    assert only(run).message.endswith("while the parameters are finite")
    assert np.isnan(run.params[0]).all()


def test_a_validation_names_it_too():
    run, _ = loop(nan_in_an_input, phase="val")
    assert only(run).message == (
        "the loss (nan) of batch 2 of val is not finite; the first non-finite value is in the inputs, time step 4 of "
        "6, row 3 of 4 (1 of 12 entries), while the parameters are finite"
    )


def test_hidden_states_that_overflow_are_named_at_the_first_time_step():
    """A hundred times more at each step, in single precision: beyond 3.4e38 after some of them."""

    def amplify(number, x, params, entering):
        if number == 1:
            params[1][...] = 1e9 * np.eye(HIDDEN_SIZE)
            x[...] = 0.0
            x[0, :, 1] = 1.0
            params[0][...] = 1.0
            entering[...] = 0.0

    run, _ = loop(amplify, squash=lambda z: np.maximum(z, 0.0), dtype=np.float32)
    # 3, 3e9, 3e18, 3e27, 3e36, then infinity, in one of the four columns.
    assert where(only(run)) == ("hidden_states", 6, SEQ_LEN, 2, HIDDEN_SIZE, HIDDEN_SIZE * BATCH_SIZE)


def test_an_entering_state_is_the_first_even_though_all_states_follow():
    def spoil(number, x, params, entering):
        if number == 1:
            entering[0, 1] = NAN

    assert where(only(loop(spoil)[0])) == ("entering_state", None, None, 2, 1, HIDDEN_SIZE * BATCH_SIZE)


def test_a_parameter_was_sick_before_the_batch():
    def spoil(number, x, params, entering):
        if number == 1:
            params[1][0, :2] = INF

    run, _ = loop(spoil)
    assert only(run).message == (
        "the loss (nan) of batch 2 of train is not finite; the parameter '1' was not finite before this batch "
        "(2 of 25 entries)"
    )
    assert where(only(run)) == ("parameters.1", None, None, None, 2, HIDDEN_SIZE**2)
    assert only(run).evidence["non_finite_parameters"] == 2


def test_logits_that_overflow():
    def spoil(number, x, params, entering):
        if number == 1:
            params[2][0] = 3e38 * np.sign(params[2][0])
            params[0][...] *= 30.0

    array, time_step, time_steps, *_ = where(only(loop(spoil, dtype=np.float32)[0]))
    assert (array, time_steps) == ("logits", SEQ_LEN)
    assert time_step >= 1


def test_a_log_of_zero_is_the_loss_function_s_doing():
    def naive(logits, y):
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return -np.log(np.take_along_axis(p, y[:, None], axis=1)).mean()

    def confident(number, x, params, entering):
        if number == 1:
            params[2][...] *= 1e4

    run, _ = loop(confident, nll=naive)
    assert only(run).message == (
        "the loss (inf) of batch 2 of train is not finite; the logits are finite, so it arose in the loss "
        "function; the parameters are finite and unchanged"
    )
    assert where(only(run)) == ("loss", None, None, None, 1, 1)


def test_a_loss_in_single_precision_overflows_while_all_else_is_finite():
    run, _ = loop(
        lambda *_: None, nll=lambda logits, y: np.float32(3e38) * (1 + np.square(logits, dtype=np.float32).sum())
    )
    assert "the loss (inf) of batch 1 of train is not finite; the logits are finite," in only(run).message


# --- where it begins, in a trainer -------------------------------------------------------------------------------


class Spoil:
    """Puts a value into a parameter at the end of a training batch."""

    def __init__(self, step, value):
        self.step, self.value = step, value

    @hookimpl
    def on_batch_end(self, run, batch):
        if run.step == self.step and batch.phase == "train":
            run.params["rnn.weight_hh_l0"][2, 3] = self.value


@pytest.mark.parametrize(("step", "phase", "index"), [(3, "train", 4), (5, "val", 1)])
def test_a_poisoned_parameter_in_a_trainer(make_trainer, step, phase, index):
    trainer, train, val = make_trainer([DivergenceAlarm(), GradientClipping(), LossAveraging(), Spoil(step, NAN)])
    assert len(train) == 5
    trainer.fit(train, val, max_epochs=2)
    alarm = only(trainer.run)
    assert alarm.message == (
        f"the loss (nan) of batch {index} of {phase} is not finite; the parameter 'rnn.weight_hh_l0' was not finite "
        "before this batch (1 of 64 entries)"
    )
    assert alarm.evidence["array"] == "parameters.rnn.weight_hh_l0"
    assert np.count_nonzero(~np.isfinite(trainer.model.parameters.flat)) == 1


def test_hidden_gradients_in_a_trainer_are_searched_from_the_last_time_step(make_trainer):
    class Overflow:
        """The gradient of a middle time step overflows, and with it those of the steps before."""

        @hookimpl(tryfirst=True)
        def on_backward(self, run, batch, grads):
            if run.step == 2:
                batch.observed["hidden_gradients"][:4, 1] = INF
                grads["rnn.weight_hh_l0"][...] = NAN

    trainer, train, val = make_trainer([Overflow(), DivergenceAlarm()])
    trainer.fit(train, val, max_epochs=1)
    alarm = only(trainer.run)
    assert alarm.message.startswith("the gradient 'rnn.weight_hh_l0' of batch 2 of train is not finite; going back ")
    assert where(alarm)[:2] == ("hidden_gradients", 4)
    assert np.isfinite(trainer.model.parameters.flat).all()


# --- rises -------------------------------------------------------------------------------------------------------

T = np.arange(BATCHES)
LEARNING = 0.2 + 1.8 * np.exp(-T / 200)
RISES = {
    "a step of a half": (np.where(T < 500, 1.0, 1.5), 500),
    "a slow rise": (1.0 + np.maximum(T - 500, 0) / 300, 500),
    "an explosion": (1.03 ** np.maximum(T - 500, 0), 500),
    "an explosion from the start": (1.1 ** np.minimum(T, 200), 0),
    "a rise from the start": (1.0 + T / 100, 0),
    "a jump at the second batch": (np.where(T < 1, 4.0, 20.0), 0),
    "learned, then forgotten": (np.where(T < 600, LEARNING, 2.0), 600),
}


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("name", RISES)
def test_a_rise_is_seen_soon_and_not_before_it_is_there(play, name, noise):
    level, begins = RISES[name]
    run = play([DivergenceAlarm(divergence_action="stop")], [noisy(level, noise, seed=1)])
    assert [code for code in codes(run) if code != "RNN605"] == ["RNN602"]
    assert begins < run.alarms[-1].step <= begins + 200
    assert run.stop_reason.startswith("RNN602 ")
    assert run.step == run.alarms[-1].step


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5])
@pytest.mark.parametrize(
    "level", [np.ones(BATCHES), LEARNING, 4.0 - 3.0 * T / BATCHES], ids=["flat", "learning", "line"]
)
def test_noise_is_no_alarm(play, level, noise, seed):
    assert codes(play([DivergenceAlarm()], [noisy(level, noise, seed)])) == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", [LEARNING, 1.0], ids=["learning", "flat"])
def test_single_sequences_with_skewed_losses_are_no_divergence(play, level, seed):
    losses = level * (0.3 + np.random.default_rng(seed).exponential(size=BATCHES))
    assert "RNN602" not in codes(play([DivergenceAlarm()], [list(losses)]))


HEAVY = {
    "exponential": lambda rng: 0.3 + rng.exponential(size=BATCHES),
    "log-normal": lambda rng: np.exp(rng.normal(size=BATCHES)),
    "pareto": lambda rng: 0.1 + rng.pareto(1.5, size=BATCHES),
    "squares": lambda rng: rng.normal(size=BATCHES) ** 2,
}


@pytest.mark.parametrize("name", HEAVY)
def test_no_tail_is_heavy_enough_for_a_divergence(play, name):
    for seed in range(6):  # more in the test of the detector
        losses = HEAVY[name](np.random.default_rng(seed))
        assert "RNN602" not in codes(play([DivergenceAlarm()], [list(losses)])), seed


def test_a_heavy_tail_does_not_hide_a_divergence(play):
    losses = np.where(T < 500, 1.0, 8.0) * (0.3 + np.random.default_rng(0).exponential(size=BATCHES))
    run = play([DivergenceAlarm(divergence_action="stop")], [list(losses)])
    assert 500 < run.alarms[-1].step <= 600
    assert run.stop_reason.startswith("RNN602 ")


def documents(hard, first=3.5):
    """Learned to 1.0, then a document twice as hard every 150 batches, to which the network adapts."""
    level = 1.0 + (first - 1.0) * np.exp(-T / 60)
    inside = np.maximum(T - 400, 0) % 150
    level = np.where((T >= 400) & (inside < 75), hard * np.exp(-inside / 200), level)
    return noisy(level, 0.1, seed=3)


def test_hard_documents_in_a_stream_are_no_divergence(play):
    assert codes(play([DivergenceAlarm()], [documents(2.0)])) == []
    assert "RNN602" in codes(play([DivergenceAlarm()], [documents(9.0)]))


def test_after_a_rise_that_went_by_itself_the_next_has_to_exceed_it(play):
    level = np.where((T > 400) & (T < 430), 5.0, 1.0)
    assert codes(play([DivergenceAlarm(spike=1e9)], [noisy(level, 0.1, seed=0)])) == []


def test_a_repair_that_puts_parameters_back_has_the_losses_judged_anew(play):
    class Repairs:
        repairs = True
        code = "RNN602"

        @hookimpl
        def on_alarm(self, run, alarm):
            run.report_repair(attrs.evolve(alarm, code=self.code), "put back")

    losses = noisy([1.0] * 200 + [3.0] * 100 + [1.0] * 200 + [3.0] * 100, 0.1, seed=0)
    run = play([DivergenceAlarm(spike=1e9), Repairs()], [losses])
    assert [(alarm.code, alarm.count) for alarm in run.alarms] == [("RNN602", 2)]
    # A batch taken out puts nothing back: the losses before it still count, and one rise is told of once.
    Repairs.code = "RNN403"
    run = play([DivergenceAlarm(spike=1e9), Repairs()], [losses])
    assert [(alarm.code, alarm.count) for alarm in run.alarms] == [("RNN602", 1)]


@pytest.mark.parametrize("position", [0, 1, 5])
def test_a_lucky_early_batch_is_no_divergence(play, position):
    losses = noisy(np.ones(300), 0.3, seed=0)
    losses[position] = 0.4
    assert codes(play([DivergenceAlarm()], [losses])) == []


STEP = noisy(np.where(T < 500, 1.0, 1.5), 0.1, seed=2)


def test_a_rise_within_max_rise_is_none(play):
    assert codes(play([DivergenceAlarm(max_rise=0.8)], [STEP])) == []
    assert codes(play([DivergenceAlarm(max_rise=0.4)], [STEP])) == ["RNN602"]


def test_losses_below_zero_are_judged_alike(play):
    assert codes(play([DivergenceAlarm()], [[loss - 2.0 for loss in STEP]])) == ["RNN602"]
    assert codes(play([DivergenceAlarm()], [list(-1.0 - T / 100)])) == []


def test_a_shorter_window_sees_a_rise_sooner(play):
    steps = [play([DivergenceAlarm(window=window)], [STEP]).alarms[0].step for window in (20, 200)]
    assert 500 < steps[0] < steps[1]


# --- spikes ------------------------------------------------------------------------------------------------------


def test_a_spike_is_a_note_whatever_the_action(play):
    losses = noisy(np.ones(300), 0.05, seed=0)
    losses[200] = 3.0
    run = play([DivergenceAlarm(action="raise")], [losses])
    assert codes(run) == ["RNN605"]
    assert run.alarms[0].step == 201
    assert run.alarms[0].severity == "info"
    assert run.alarms[0].evidence["loss"] == 3.0
    assert len(run.history) == 1


def test_spikes_are_told_of_once_and_judged_by_spike_and_max_rise(play):
    losses = noisy(np.ones(300), 0.05, seed=0)
    losses[200] = losses[250] = 2.0
    assert codes(play([DivergenceAlarm()], [losses])) == ["RNN605"]
    assert codes(play([DivergenceAlarm(spike=50.0)], [losses])) == []
    assert codes(play([DivergenceAlarm(max_rise=2.0)], [losses])) == []


def test_no_spike_before_the_window_is_full(play):
    losses = noisy(np.ones(300), 0.05, seed=0)
    losses[30] = 3.0
    assert codes(play([DivergenceAlarm(window=50)], [losses])) == []
    assert codes(play([DivergenceAlarm(window=20)], [losses])) == ["RNN605"]


# --- the rest ----------------------------------------------------------------------------------------------------


def test_a_rise_alone_stops_nobody(play):
    """A trend is no proof: batches that become harder raise the loss of a run that learns."""
    run = play([DivergenceAlarm(action="stop")], [STEP])
    assert codes(run) == ["RNN602"]
    assert (run.stop_reason, run.step) == (None, len(STEP))


def test_two_instances_keep_to_themselves(play):
    plugins = {
        "careful": DivergenceAlarm(max_rise=0.1, action="warn"),
        "patient": DivergenceAlarm(max_rise=3.0, divergence_action="stop"),
    }
    run = play(plugins, [STEP])
    assert (codes(run), run.stop_reason) == (["RNN602"], None)


def test_a_second_run_with_the_same_object_begins_anew(play):
    plugins = [DivergenceAlarm()]
    first, second = play(plugins, [STEP]), play(plugins, [STEP])
    assert codes(second) == ["RNN602"]
    assert first.alarms == second.alarms


def test_in_a_trainer_a_healthy_run_is_silent_and_a_wild_one_is_stopped(make_trainer):
    trainer, train, val = make_trainer([LossAveraging(), DivergenceAlarm()])
    trainer.fit(train, val, max_epochs=30)
    assert trainer.run.alarms == []
    trainer, train, val = make_trainer([LossAveraging(), DivergenceAlarm(divergence_action="stop")], learning_rate=30.0)
    trainer.optimizer = SGD()
    trainer.fit(train, val, max_epochs=30)
    assert codes(trainer.run) == ["RNN602"]
    assert trainer.run.step == 51
    assert "the tenth percentile of 50 losses is" in trainer.run.stop_reason


def test_adam_at_a_rate_of_30_is_seen_after_the_first_window(make_trainer):
    trainer, train, val = make_trainer([LossAveraging(), DivergenceAlarm(divergence_action="stop")], learning_rate=30.0)
    trainer.fit(train, val, max_epochs=30)
    assert codes(trainer.run) == ["RNN602"]
    assert trainer.run.step == 51


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_rise": 0.0},
        {"spike": -1.0},
        {"spike": INF},
        {"window": 1},
        {"action": "panic"},
        {"divergence_action": "panic"},
    ],
)
def test_options_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"DivergenceAlarm: {name}: expected .*, got"):
        DivergenceAlarm(**wrong)


def test_a_resumed_run_that_meets_nan_again_stops_again(tmp_path):
    def train(epochs):
        params = {"w": np.array([4.0])}
        with Run(params, plugins=[Checkpoint(path=tmp_path / "run"), DivergenceAlarm()], learning_rate=0.1) as run:
            for epoch in run.epochs(epochs):
                for loss in run.batches([1.0, np.nan if epoch > 1 else 1.0, 1.0]):
                    run.backward(loss, {"w": np.ones(1)})
        return run

    assert train(6).stop_reason.startswith("RNN403")
    again = train(6)
    assert again.epoch == 3
    assert again.stop_reason.startswith("RNN403")


def test_a_training_loss_that_is_only_recorded_is_watched_too():
    with Run(plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for loss in run.batches([1.0, np.nan, 1.0]):
                run.record(loss)
    assert [alarm.code for alarm in run.alarms] == ["RNN403"]
    assert run.step == 2


def test_what_was_compared_is_told_and_what_was_not_is_not_passed(play):
    passed = play([DivergenceAlarm(window=10)], [[1.0] * 30]).diagnosis.passed
    assert passed["RNN403"] == "30 losses and the gradients of 30 batches are finite"
    assert passed["RNN602"] == "12 windows of at most 10 losses with the best one before"
    assert passed["RNN605"] == "20 losses with the median of the 10 before"
    short = play([DivergenceAlarm()], [[1.0] * 30]).diagnosis
    assert list(short.passed) == ["RNN403"]
    assert short.not_checked["RNN602"] == "the run was too short: a rise needs at least 40 training batches"
    assert "at least 51 training batches" in short.not_checked["RNN605"]


# --- order of the batches -----------------------------------------------------------------------------------------


def fit_line(xs, ys, epochs, *, closure=False, rate=0.05, rate_from=(10**9, 1.0), plugin=None):
    """Fits y = w x by gradient descent, batch by batch in the given order; from some step on with another rate."""
    params = {"w": np.array([0.0]), "c": np.array([0.0]), "unused": np.full(50, 1.0)}
    with Run(params, plugins=[plugin or DivergenceAlarm(window=20)], learning_rate=rate) as run:
        for _ in run.epochs(epochs):
            for x, y in run.batches(list(zip(xs, ys, strict=True))):

                def loss_of(x=x, y=y):
                    return float(np.mean((params["w"] * x + params["c"] - y) ** 2))

                errors = params["w"] * x + params["c"] - y
                grads = {"w": np.array([2.0 * np.mean(errors * x)]), "c": np.array([2.0 * np.mean(errors)])}
                grads["unused"] = np.zeros(50)
                run.backward(loss_of(), grads, closure=loss_of if closure else None)
                step, other = rate_from
                for name in params:
                    params[name] -= (other if run.step >= step else rate) * grads[name]
    return run


def noisy_line(noise, seed=0, batches=80):
    rng = np.random.default_rng(seed)
    xs = rng.normal(1.0, 1.0, size=(batches, 8))
    return xs, 2.0 * xs + 1.0 + rng.normal(size=xs.shape) * np.reshape(noise, (-1, 1))


@pytest.mark.parametrize("closure", [False, True], ids=["losses", "closure"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("order", ["noisier", "growing", "new range"])
def test_batches_that_become_harder_are_named_and_nobody_is_stopped(order, seed, closure):
    xs, ys = noisy_line(np.linspace(0.0, 3.0, 80) if order == "noisier" else 0.3, seed)
    if order == "growing":
        ys = ys * np.exp(np.arange(80) / 25)[:, None]
    if order == "new range":
        ys = np.where(np.arange(80)[:, None] < 40, ys, 9.0 - 3.0 * xs)
    alarm = DivergenceAlarm(window=20, divergence_action="stop")
    run = fit_line(xs, ys, 4, closure=closure, plugin=alarm)
    assert run.stop_reason is None
    rises = [found for found in run.alarms if found.code == "RNN602"]
    assert [(found.severity, found.cause) for found in rises] in (
        [],
        [("info", "batches become harder in their order")],
    )
    for found in rises:
        assert found.message.startswith("the order of the batches raises the loss: the median of the last ")


@pytest.mark.parametrize("closure", [False, True], ids=["losses", "closure"])
@pytest.mark.parametrize("seed", range(4))
def test_a_rate_that_destroys_what_was_learned_is_told_below_the_first_loss_too(seed, closure):
    xs, ys = noisy_line(0.3, seed)
    run = fit_line(xs, ys, 4, closure=closure, rate_from=(120 + seed, 0.45))
    assert codes(run)[:1] in (["RNN602"], ["RNN605"])
    (rise,) = [found for found in run.alarms if found.code == "RNN602"]
    assert rise.severity == "error"
    assert rise.step >= 120
    if closure:
        assert "with the parameters of the best batches, the loss of the last " in rise.message


def test_a_run_that_recovers_by_itself_is_a_note_afterwards(play):
    learned = noisy(np.concatenate([np.full(5, 4.0), np.full(95, 1.0)]), 0.05, 0)
    risen, back = noisy(np.full(60, 5.0), 0.05, 1), noisy(np.full(150, 1.0), 0.05, 2)
    rise = next(found for found in play([DivergenceAlarm()], [[*learned, *risen]]).alarms if found.code == "RNN602")
    assert rise.severity == "error"
    healed = play([DivergenceAlarm()], [[*learned, *risen, *back]])
    (note,) = [found for found in healed.alarms if found.code == "RNN602"]
    assert (note.severity, note.step) == ("info", rise.step)
    assert note.message.startswith("the loss rose from 1.0")
    assert " and came back: the median of the last 50 losses is 1.0" in note.message
    again = play([DivergenceAlarm()], [[*learned, *risen, *back, *noisy(np.full(60, 20.0), 0.05, 3)]])
    (worse,) = [found for found in again.alarms if found.code == "RNN602"]
    assert (worse.severity, worse.count) == ("error", 2)


@pytest.mark.parametrize(
    ("grads", "clipped"), [([3.0, 4.0], "norm at 5"), ([0.3, -0.25], "entries at 0.3"), ([0.1], "")]
)
def test_a_script_that_clips_is_not_told_to_clip(grads, clipped):
    params = {"w": np.zeros(len(grads))}
    grads = {"w": np.array(grads) + (0.0 if clipped else 0.01234567)}
    with Run(params, plugins=[DivergenceAlarm()]) as run:
        for _ in run.epochs(1):
            for loss in run.batches([*noisy(np.full(100, 1.0), 0.05, 0), *noisy(np.full(60, 5.0), 0.05, 1)]):
                run.backward(loss, grads)
                params["w"] += 0.1
    (rise,) = [found for found in run.alarms if found.code == "RNN602"]
    assert rise.remedy.endswith(f"; the gradients are clipped already, their {clipped}") == bool(clipped)
    assert rise.remedy.endswith("lower the learning rate, and clip gradients (gradient_clipping)") != bool(clipped)
