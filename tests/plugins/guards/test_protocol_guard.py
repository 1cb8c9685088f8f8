"""The protocol guard: updates at the wrong time are found, and every order that healthy loops have is left alone."""

import numpy as np
import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.arrays.containers import FlatArrays
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import Checkpoint, EarlyStopping, GradientClipping, LossAveraging, ProtocolGuard, Warmup

FAULT = [("RNN701", "error")]


def containers():
    flat = FlatArrays({"w": (3, 2), "b": (2,)}, dtype="float32")
    flat.flat[:] = 1.0
    return {
        "flat": flat,
        "dict": {"w": np.ones((3, 2)), "b": np.ones(2)},
        "list": [np.ones((3, 2)), np.ones(2)],
        "array": np.ones(4),
    }


def arrays_of(params):
    if isinstance(params, np.ndarray):
        return [params]
    return list(params if isinstance(params, list) else params.values())


def grads_like(params):
    if isinstance(params, np.ndarray):
        return np.ones_like(params)
    if isinstance(params, list):
        return [np.ones_like(array) for array in params]
    return {name: np.ones_like(array) for name, array in params.items()}


class Script:
    """A loop whose steps a test puts into another order."""

    def __init__(self, params=None, plugins=(), action="warn", batches=8, val=3, knows=True):
        self.params = {"w": np.ones((3, 2)), "b": np.ones(2)} if params is None else params
        self.guard = ProtocolGuard(action=action)
        self.plugins = [*plugins, self.guard]
        self.batches, self.val = batches, val
        self.knows = knows
        self.grads = None

    def update(self, rate=1e-3):
        for array in arrays_of(self.params):
            array -= rate

    def train_batch(self, run):
        run.backward(1.0, grads_like(self.params))
        if not run.skipped:
            self.update()

    def val_batch(self, run):
        run.record(1.0)

    def loader(self, run):
        return range(self.batches)

    def between_phases(self, run):
        pass

    def run(self, epochs=3):
        with Run(self.params if self.knows else None, plugins=self.plugins, learning_rate=0.1) as run:
            for _ in run.epochs(epochs):
                for _ in run.batches(self.loader(run)):
                    self.train_batch(run)
                self.between_phases(run)
                for _ in run.batches(range(self.val), phase="val") if self.val else ():
                    self.val_batch(run)
        return run


def codes(run):
    return [(alarm.code, alarm.severity) for alarm in run.alarms]


def made(**methods):
    return type("Made", (Script,), methods)


# --- faults ----------------------------------------------------------------------------------------------------------


def updates_first(self, run):
    self.update()
    run.backward(1.0, grads_like(self.params))


def records_and_updates(self, run):
    run.record(1.0)
    self.update()


def updates_without_a_word(self, run):
    self.update()


@pytest.mark.parametrize("kind", list(containers()))
def test_an_update_before_run_backward(kind):
    run = made(train_batch=updates_first)(containers()[kind]).run()
    assert codes(run) == FAULT
    (alarm,) = run.alarms
    assert (alarm.epoch, alarm.step) == (1, 3)
    assert alarm.message == (
        "parameters changed before run.backward and never after it: "
        "in 3 of 3 training batches, so plugins saw the gradients too late"
    )
    assert alarm.evidence["changed_after_backward"] == 0


@pytest.mark.parametrize("kind", list(containers()))
@pytest.mark.parametrize("train_batch", [records_and_updates, updates_without_a_word])
def test_updates_of_which_no_plugin_hears(kind, train_batch):
    run = made(train_batch=train_batch)(containers()[kind]).run()
    assert codes(run) == FAULT
    assert (run.alarms[0].epoch, run.alarms[0].step) == (1, 3)
    assert "3 training batches that did not call run.backward" in run.alarms[0].message


@pytest.mark.parametrize("kind", list(containers()))
@pytest.mark.parametrize("val", [1, 2, 5])
def test_updates_in_validation(kind, val):
    def val_batch(self, run):
        run.record(1.0)
        self.update()

    run = made(val_batch=val_batch)(containers()[kind], val=val).run()
    assert codes(run) == FAULT
    assert run.alarms[0].epoch == 1
    assert run.alarms[0].message == (
        f"parameters changed in the phase val: in {min(val, 2)} of {min(val, 2)} batches of val; "
        "update them in the phase 'train' only"
    )


def test_a_loader_that_updates():
    def loader(self, run):
        for n in range(self.batches):
            self.update()
            yield n

    def train_batch(self, run):
        run.backward(1.0, grads_like(self.params))

    run = made(loader=loader, train_batch=train_batch)().run()
    assert codes(run) == FAULT
    assert run.alarms[0].message.startswith(
        "parameters changed between training batches, in the loader: 3 times, and never after run.backward"
    )


def test_no_training_batch_that_says_anything():
    nothing = made(train_batch=lambda self, run: None)
    for knows in (True, False):
        run = nothing(knows=knows).run()
        assert codes(run) == FAULT
        assert run.alarms[0].message == (
            "no training batch called run.backward: 0 of 8 batches, so no plugin sees a gradient"
        )
    endless = nothing(batches=100).run(1)
    assert (endless.alarms[0].step, endless.alarms[0].count) == (20, 1)


def test_losses_alone_are_a_note():
    run = made(train_batch=lambda self, run: run.record(1.0))(knows=False).run()
    assert codes(run) == [("RNN701", "info")]


def test_each_epoch_counts_once():
    run = made(train_batch=updates_first)(batches=110).run(4)
    assert [(alarm.step, alarm.count) for alarm in run.alarms] == [(3, 2)]  # later epochs are looked at here and there


def test_the_action_is_handed_on():
    with pytest.raises(AlarmRaised, match="RNN701"):
        made(train_batch=updates_first)(action="raise").run()
    assert made(train_batch=updates_first)(action="stop").run().step == 3


def test_new_arrays_that_the_run_is_told_too_early():
    def train_batch(self, run):
        self.params = {name: array - 0.1 for name, array in self.params.items()}
        run.params = self.params
        run.backward(1.0, grads_like(self.params))

    assert codes(made(train_batch=train_batch)().run()) == FAULT


@pytest.mark.parametrize("batches", [1, 8, 120])
@pytest.mark.parametrize("sized", [True, False])
def test_updates_in_a_validation_of_no_phase_have_not_passed(sized, batches):
    """No batch is open there; pruning and averages change parameters at the same place, so there is no alarm."""
    made_loader = {} if sized else {"loader": lambda self, run: iter(range(self.batches))}
    run = made(between_phases=lambda self, run: self.update(), **made_loader)(batches=batches, val=0).run()
    assert codes(run) == []
    assert "RNN701" not in run.diagnosis.passed
    changed = 3 if sized else 2  # without a length, the first epoch shows how many batches there are
    assert run.diagnosis.cannot_tell["RNN701"].startswith(
        f"parameters changed while no batch was open in {changed} of 3 epochs"
    )


# --- healthy loops ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(containers()))
@pytest.mark.parametrize("batches", [1, 2, 8, 120])
def test_the_usual_order(kind, batches):
    run = Script(containers()[kind], batches=batches).run()
    assert codes(run) == []
    assert list(run.diagnosis.passed) == ["RNN701"]


def returns_new(self, run):
    run.backward(1.0, grads_like(self.params))
    self.params = {name: array - 0.1 for name, array in self.params.items()}
    run.params = self.params


def returns_new_in_silence(self, run):
    run.backward(1.0, grads_like(self.params))
    self.params = {name: array - 0.1 for name, array in self.params.items()}


def updates_later(self, run):
    """The update that these gradients ask for is done when the next batch begins."""
    if self.grads is not None:
        self.update()
    self.grads = run.backward(1.0, grads_like(self.params))


def looks_ahead(self, run):
    """Nesterov: the gradient is that of a point further on."""
    self.update(0.01)
    run.backward(1.0, grads_like(self.params))
    self.update(0.001)


def collects(self, run):
    """One update for the gradients of four batches."""
    if run.batch.index % 4:
        run.record(1.0)
    else:
        run.backward(1.0, grads_like(self.params))
        self.update()


def leaves_some_out(self, run):
    if run.batch.index % 3 == 1:
        return
    run.backward(1.0, grads_like(self.params))
    self.update()


def learns_nothing(self, run):
    run.backward(1.0, grads_like(self.params))


def validates_within(self, run):
    run.backward(1.0, grads_like(self.params))
    self.update()
    for _ in run.batches(range(2), phase="test"):
        run.record(1.0)


HEALTHY = [
    returns_new,
    returns_new_in_silence,
    updates_later,
    looks_ahead,
    collects,
    leaves_some_out,
    learns_nothing,
    validates_within,
]


@pytest.mark.parametrize("train_batch", HEALTHY)
@pytest.mark.parametrize("batches", [4, 70])
def test_other_healthy_orders(train_batch, batches):
    assert codes(made(train_batch=train_batch)(batches=batches).run(5)) == []


@pytest.mark.parametrize("batches", [1, 2, 8])
def test_an_update_after_the_epoch(batches):
    script = made(train_batch=learns_nothing, between_phases=lambda self, run: self.update())
    assert codes(script(batches=batches).run(9)) == []


def test_a_loader_that_changes_parameters_beside_the_update():
    def loader(self, run):
        for n in range(self.batches):
            self.update(-1e-5)
            yield n

    assert codes(made(loader=loader)(batches=30).run()) == []


@pytest.mark.parametrize("val", [2, 3, 5])
def test_weights_that_are_swapped_for_the_validation(val):
    def val_batch(self, run):
        run.record(1.0)
        if run.batch.index == 1:
            self.kept = self.params["w"].copy()
            self.params["w"][...] = 0.5
        if run.batch.index == val:
            self.params["w"][...] = self.kept

    assert codes(made(val_batch=val_batch)(val=val).run(5)) == []


def test_a_loop_that_breaks_and_one_that_goes_on():
    with Run({"w": np.ones(2)}, plugins=[ProtocolGuard()]) as run:
        for _ in run.epochs(4):
            for n in run.batches(range(9)):
                if n == 2:
                    continue
                if n == 5:
                    break
                run.backward(1.0, {"w": np.ones(2)})
                run.params["w"] -= 0.1
    assert run.alarms == []


def test_one_batch_without_anything_is_no_finding():
    with Run({"w": np.ones(2)}, plugins=[ProtocolGuard()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(9)):
                break
    assert run.alarms == []


def test_parameters_that_are_not_finite_are_compared_all_the_same():
    params = {"w": np.full(3, np.nan)}
    assert codes(made(train_batch=learns_nothing)(params).run()) == []
    script = Script({"w": np.full(3, np.nan), "b": np.ones(2)})
    assert codes(script.run()) == []


# --- plugins change parameters too -----------------------------------------------------------------------------------


class Changes:
    """A plugin that changes parameters in one of its hooks, every so often, as repairs and averages do."""

    def __init__(self, hook, every=1, phase=None):
        self.hook, self.every, self.phase = hook, every, phase

    def _change(self, run, hook):
        if (
            hook == self.hook
            and run.step % self.every == 0
            and (run.batch is None or self.phase in (None, run.batch.phase))
        ):
            for array in run.params.values():
                array += 0.5

    @hookimpl
    def on_fit_start(self, run):
        self._change(run, "on_fit_start")

    @hookimpl
    def on_epoch_start(self, run):
        self._change(run, "on_epoch_start")

    @hookimpl
    def on_batch_start(self, run):
        self._change(run, "on_batch_start")

    @hookimpl
    def on_backward(self, run):
        self._change(run, "on_backward")

    @hookimpl
    def on_batch_end(self, run):
        self._change(run, "on_batch_end")

    @hookimpl
    def on_epoch_end(self, run):
        self._change(run, "on_epoch_end")


@pytest.mark.parametrize("train_batch", [Script.train_batch, learns_nothing])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize(
    "hook", ["on_fit_start", "on_epoch_start", "on_batch_start", "on_backward", "on_batch_end", "on_epoch_end"]
)
def test_a_plugin_that_changes_parameters(hook, every, first, train_batch):
    phase = "train" if hook.startswith("on_ba") else None
    script = made(train_batch=train_batch)(batches=30, plugins=[Changes(hook, every, phase)])
    if not first:
        script.plugins.reverse()
    assert codes(script.run()) == []


class RepairsInValidation:
    @hookimpl
    def on_batch_end(self, run, batch):
        if batch.phase == "val":
            run.raise_alarm("RNN403", "the loss is NaN", action="repair")

    @hookimpl
    def on_alarm(self, run, alarm):
        run.params["w"] += 1.0
        run.report_repair(alarm, "rolled back")


def test_a_repair_in_validation_is_not_training_on_it():
    run = Script(plugins=[RepairsInValidation()], val=1).run()
    assert [alarm.code for alarm in run.alarms] == ["RNN403"]


def test_beside_the_plugins_that_put_parameters_back(tmp_path):
    plugins = [
        LossAveraging(),
        GradientClipping(),
        Warmup(steps=3),
        EarlyStopping(monitor="val_loss", patience=2),
        Checkpoint(path=tmp_path / "run"),
    ]
    assert [alarm.code for alarm in Script(plugins=plugins).run(9).alarms] == ["RNN601"]  # of early stopping
    plugins[3] = EarlyStopping(monitor="val_loss", patience=20)
    resumed = Script(plugins=plugins).run(9)
    assert (resumed.epoch, [alarm.code for alarm in resumed.alarms]) == (9, ["RNN601"])


# --- what cannot be checked, and Trainer -----------------------------------------------------------------------------


def test_without_parameters():
    run = Script(knows=False).run()
    assert codes(run) == []
    assert run.diagnosis.not_checked == {"RNN701": "pass the parameters: Run(params, ...)"}


def test_trainer_keeps_the_protocol(make_trainer):
    trainer, train, val = make_trainer([ProtocolGuard(), LossAveraging(), GradientClipping()])
    trainer.fit(train, val, max_epochs=4)
    assert trainer.run.alarms == []
    assert list(trainer.run.diagnosis.passed) == ["RNN701"]


def test_trainer_with_an_update_in_validation(make_trainer):
    class TrainsOnValidation:
        """Changes the parameters when the loss of a validation batch is there, before the batch ends."""

        @hookimpl(tryfirst=True)
        def on_batch_end(self, run, batch):
            if batch.phase == "val":
                run.params["head.bias"][...] += 0.01

    trainer, train, val = make_trainer([ProtocolGuard(), TrainsOnValidation()])
    trainer.fit(train, val, max_epochs=1)
    assert codes(trainer.run) == FAULT


def test_a_guard_that_is_used_twice_begins_anew():
    script = made(train_batch=updates_first)()
    for _ in range(2):
        run = script.run(1)
        assert [(alarm.step, alarm.count) for alarm in run.alarms] == [(3, 1)]
