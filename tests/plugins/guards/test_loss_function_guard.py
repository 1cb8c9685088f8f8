"""The loss function: sums, squared errors and large weights are found in the first batches; healthy losses pass."""

import attrs
import numpy as np
import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import LossFunctionGuard
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD, Adam
from rnncallbacks.testing.cases import run_case
from rnncallbacks.training.trainer import Trainer

SEQ_LEN, BATCH_SIZE, VOCAB = 12, 4, 9


def loop(loss_of, *, closure=True, scale=1.0, sequences=BATCH_SIZE):
    """A bag of tokens from scratch: the loss is a function of logits (batch, seq_len, vocab) and of the targets."""
    generator = np.random.default_rng(0)
    params = {"w": scale * generator.normal(0.0, 0.1, (VOCAB, VOCAB))}
    data = [generator.integers(VOCAB, size=(2, BATCH_SIZE, SEQ_LEN)) for _ in range(8)]
    first = params["w"].copy()
    with Run(params, plugins=[LossFunctionGuard()], learning_rate=0.01) as run:
        for _ in run.epochs(1):
            for inputs, targets in run.batches([(x, y) for x, y in data]):

                def loss_of_batch(inputs=inputs, targets=targets):
                    return loss_of(params["w"][inputs], targets)

                loss = loss_of_batch()
                grads = {"w": np.full((VOCAB, VOCAB), 0.1)}
                run.backward(loss, grads, closure=loss_of_batch if closure else None, sequences=sequences)
    np.testing.assert_array_equal(params["w"], first)
    return run


def nll(logits, targets):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, targets[..., None], axis=-1)[..., 0]


def squared_error(logits, targets):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (exponentials / exponentials.sum(axis=-1, keepdims=True) - np.eye(VOCAB)[targets]) ** 2


def codes(run):
    return [(alarm.code, alarm.severity) for alarm in run.alarms]


@pytest.mark.parametrize("closure", [True, False])
@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda z, y: nll(z, y).mean(), None),
        (lambda z, y: nll(z, y).sum(), ("RNN301", 48)),
        (lambda z, y: nll(z, y).sum(axis=1).mean(), ("RNN301", 12)),
        (lambda z, y: nll(z, y).sum(axis=0).mean(), ("RNN301", 4)),
        (lambda z, y: squared_error(z, y).mean(), ("RNN302", None)),
        (lambda z, y: squared_error(z, y).sum(axis=-1).mean(), ("RNN302", None)),
        (lambda z, y: 0.5 * squared_error(z, y).sum(axis=-1).mean(), ("RNN302", None)),
    ],
)
def test_each_loss_is_told_from_the_others(loss, found, closure):
    run = loop(loss, closure=closure)
    if found is None:
        assert run.alarms == []
        assert {"RNN301", "RNN303"} | ({"RNN302"} if closure else set()) <= set(run.diagnosis.passed)
        assert closure or "second softmax" in run.diagnosis.cannot_tell["RNN302"]
        return
    (alarm,) = run.alarms
    assert alarm.code == found[0]
    assert alarm.step <= 5
    assert alarm.evidence.get("factor") == found[1]


def test_codes_that_a_wrong_loss_hides_are_told_so():
    """The other codes of the guard were not compared; the run was not too short for them."""
    run = loop(lambda z, y: nll(z, y).sum())
    assert codes(run) == [("RNN301", "warning")]
    assert run.diagnosis.not_checked["RNN303"] == "mend RNN301 first: this comparison was not made"


def test_a_sum_over_few_terms_is_a_warning_once_it_does_harm():
    run = loop(lambda z, y: BATCH_SIZE * nll(z, y).mean())
    assert codes(run) == [("RNN301", "info")]
    run.diagnosis.report(attrs.evolve(run.alarms[0], code="RNN501", severity="warning", step=40))
    assert codes(run) == [("RNN301", "warning"), ("RNN501", "warning")]


def test_the_message_does_the_arithmetic():
    (alarm,) = loop(lambda z, y: nll(z, y).sum(axis=1).mean()).alarms
    assert alarm.message == (
        "the loss is 12 times a mean, and 12 is the number of time steps: "
        "with all parameters at zero it is 26.3667 = 12 x ln 9"
    )
    assert alarm.remedy == "divide the loss and its gradients by 12, the number of time steps"


def test_a_layout_that_nobody_told():
    (alarm,) = loop(lambda z, y: nll(z, y).sum(axis=1).mean(), sequences=None).alarms
    assert alarm.evidence["factor"] == 12


@pytest.mark.parametrize("closure", [True, False])
def test_weights_that_are_too_large(closure):
    run = loop(lambda z, y: nll(z, y).mean(), scale=25.0, closure=closure)
    assert codes(run) == [("RNN303", "warning")]
    assert run.alarms[0].evidence["ratio"] > 1.5


def test_penalties_smoothing_and_dropped_inputs_are_still_a_mean():
    generator = np.random.default_rng(1)
    losses = [
        lambda z, y: nll(z, y).mean() + 1e-3 * (z**2).sum(),
        lambda z, y: (
            0.9 * nll(z, y).mean() + 0.1 * sum(nll(z, np.full_like(y, k)).mean() for k in range(VOCAB)) / VOCAB
        ),
        lambda z, y: nll(z * generator.binomial(1, 0.9, z.shape), y).mean(),
    ]
    for loss in losses:
        assert loop(loss).alarms == []


def test_a_closure_that_fails_or_does_not_see_the_parameters_leaves_the_first_loss():
    fixed = np.zeros((VOCAB, VOCAB))
    seen = iter([nll(fixed[np.zeros((4, 12), int)], np.zeros((4, 12), int)).sum()] * 100)

    def blind(z, y):
        return next(seen)

    assert codes(loop(blind)) == [("RNN301", "warning")]

    def fails():
        raise ValueError("no such batch")

    params = {"w": np.ones((2, 2))}
    with Run(params, plugins=[LossFunctionGuard()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([(np.array([[0, 1], [1, 0]]), np.array([[1, 0], [0, 1]]))] * 6):
                run.backward(np.log(2.0), {"w": np.ones((2, 2))}, closure=fails)
    assert run.alarms == []
    assert "RNN301" in run.diagnosis.passed
    np.testing.assert_array_equal(params["w"], np.ones((2, 2)))


def test_parameters_come_back_when_the_closure_is_interrupted():
    params = {"w": np.array([1.0, -0.0])}

    def interrupted():
        raise KeyboardInterrupt

    def script():
        with Run(params, plugins=[LossFunctionGuard()]) as run:
            for _ in run.epochs(1):
                for _ in run.batches([(np.array([0, 1]), np.array([1, 0]))]):
                    run.backward(1.0, {"w": np.ones(2)}, closure=interrupted)

    with pytest.raises(KeyboardInterrupt):
        script()
    assert params["w"].tobytes() == np.array([1.0, -0.0]).tobytes()


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (7, "run.observe(inputs=..., targets=...)"),
        ((np.array([0, 1]), np.array([0, 0])), "pass closure= to run.backward"),
    ],
)
def test_without_tokens_nothing_is_said_of_the_loss(batch, reason):
    with Run(np.ones(1), plugins=[LossFunctionGuard()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([batch] * 6):
                run.backward(40.0, np.ones(1))
    assert run.alarms == []
    assert run.diagnosis.not_checked == dict.fromkeys(("RNN301", "RNN302", "RNN303"), reason)


@pytest.mark.parametrize(("optimizer", "severity"), [(SGD(), "warning"), (Adam(), "info")])
def test_a_sum_is_a_note_where_the_update_does_not_follow_the_gradient(optimizer, severity):
    class Summed(RecurrentModel):
        def forward(self, batch, state):
            loss, final = super().forward(batch, state)
            return loss * len(batch.inputs), final

        def reevaluate(self, *args):
            return super().reevaluate(*args) * len(args[0].inputs)

        def backward(self):
            gradients = super().backward()
            gradients.flat *= 5.0
            return gradients

    loader = SequenceLoader(anbn(40, min_n=3, max_n=3), batch_size=5)
    trainer = Trainer(Summed(8, vocab_size=4), optimizer, plugins=[LossFunctionGuard()], learning_rate=1e-3)
    trainer.fit(loader, max_epochs=1)
    assert codes(trainer.run) == [("RNN301", severity)]
    assert trainer.run.alarms[0].evidence["factor"] == 6


@pytest.mark.parametrize("through", ["trainer", "loop", "plain_loop"])
@pytest.mark.parametrize("trap", ["healthy", "pretrained", "warmup", "noisy_labels"])
def test_healthy_runs_are_silent(trap, through):
    outcome = run_case(trap, "echo", "tanh", "sgd", 3, through, plugins=[LossFunctionGuard()], max_epochs=2)
    assert outcome.alarms == ()


def test_a_run_that_resumes_is_not_judged():
    guard = LossFunctionGuard()
    with Run({"w": np.ones(1)}, plugins=[guard]) as run:
        run.epoch = 3
        for _ in run.epochs(4):
            for _ in run.batches([(np.array([[0, 1]]), np.array([[1, 0]]))] * 6):
                run.backward(50.0, {"w": np.ones(1)})
    assert run.alarms == []
    assert attrs.asdict(guard)["action"] == "warn"


@pytest.mark.parametrize("through", ["trainer", "loop", "plain_loop"])
@pytest.mark.parametrize(
    ("fault", "task", "code"),
    [
        ("sum_over_steps", "echo", "RNN301"),
        ("sum_over_batch", "anbn", "RNN301"),
        ("sum_over_all", "characters", "RNN301"),
        ("squared_error", "characters", "RNN302"),
        ("huge_weights", "echo", "RNN303"),
    ],
)
def test_losses_of_real_networks_are_told_within_three_batches(fault, task, code, through):
    outcome = run_case(fault, task, "tanh", "sgd", 3, through, plugins=[LossFunctionGuard()], max_epochs=1)
    ((found, batch),) = [(alarm.code, alarm.batch) for alarm in outcome.reported]
    assert found == code
    assert batch <= 3


def test_min_char_rnn_is_a_note():
    for through in ("trainer", "loop", "plain_loop"):
        case = ("min_char_rnn", "stream", "tanh", "adagrad", 3, through)
        outcome = run_case(*case, plugins=[LossFunctionGuard()], max_epochs=1)
        assert [(alarm.code, alarm.severity) for alarm in outcome.alarms] == [("RNN301", "info")]


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, y: nll(z, y).mean() / np.log(2.0),
        lambda z, y: (nll(z, y) * (np.arange(SEQ_LEN) < 8)).mean(),
        lambda z, y: (nll(z, y) * np.linspace(0.2, 3.1, VOCAB)[y]).mean(),
        lambda z, y: float(np.exp(nll(z, y).mean())),
    ],
    ids=["in bits", "padding counted", "classes weighted", "perplexity"],
)
def test_losses_that_are_unusual_and_no_fault_are_left_alone(loss):
    assert loop(loss).alarms == []


def test_a_loss_that_is_divided_once_too_often_makes_proportional_updates_too_small():
    (alarm,) = loop(lambda z, y: nll(z, y).mean() / SEQ_LEN).alarms
    assert (alarm.code, alarm.severity, alarm.cause) == ("RNN301", "warning", "the loss is divided once too often")


def one_batch(params, loss, closure=None, *, batches=1, evidence=None, rates=(0.1,), plugin=None, known=True):
    """Batches of a single table of logits; ``rates`` are those of the first updates, and then the last of them."""
    generator = np.random.default_rng(0)
    with Run(params if known else None, plugins=[plugin or LossFunctionGuard()]) as run:
        for _ in run.epochs(1):
            for number in run.batches(range(batches)):
                inputs, targets = generator.integers(VOCAB, size=(2, BATCH_SIZE, SEQ_LEN))
                logits = params["w"][inputs]
                run.observe(inputs=inputs, targets=targets, **(evidence(logits) if evidence else {}))

                def again(inputs=inputs, targets=targets):
                    return closure(params["w"][inputs], targets)

                grads = {"w": generator.normal(size=(VOCAB, VOCAB))}
                run.backward(loss(logits, targets), grads, closure=again if closure else None)
                params["w"] -= rates[min(number, len(rates) - 1)] * grads["w"]
    return run


def table(scale=0.1):
    return {"w": scale * np.random.default_rng(1).normal(size=(VOCAB, VOCAB))}


def total(z, y):
    return nll(z, y).sum()


def test_the_first_update_is_waited_for_if_the_learning_rate_begins_at_zero():
    run = one_batch(table(), total, batches=6, rates=(0.0, 0.0, 0.1))
    assert [(alarm.code, alarm.severity, alarm.step) for alarm in run.alarms] == [("RNN301", "warning", 3)]
    run = one_batch(table(), total, batches=9, rates=(0.0,))
    assert [(alarm.severity, alarm.step) for alarm in run.alarms] == [("warning", 5)]


def test_without_parameters_a_sum_is_a_warning():
    run = one_batch(table(), total, known=False)
    assert codes(run) == [("RNN301", "warning")]


def test_observed_logits_show_the_likelihood_whatever_the_first_loss_is():
    def shown(logits):
        return {"logits": logits}

    pretrained = table(3.0)
    assert one_batch(pretrained, lambda z, y: nll(z, y).mean(), evidence=shown).alarms[0].code == "RNN303"
    summed = one_batch(table(3.0), total, evidence=shown)
    assert [alarm.code for alarm in summed.alarms] == ["RNN301"]
    assert "under the observed logits" in summed.alarms[0].message


def test_a_low_first_loss_alone_is_no_other_function():
    run = one_batch(table(), lambda z, y: 0.2 + 0.1 * float(z[0, 0, 0]), batches=5)
    assert run.alarms == []
    assert {"RNN301", "RNN302", "RNN303"} <= set(run.diagnosis.not_checked)


@pytest.mark.parametrize(
    ("closure", "reason"),
    [
        (lambda z, y: nll(z, y).mean() / max(np.abs(z).max(), 0.0), "not finite with all parameters at zero"),
        (lambda z, y: 50.0, "the closure gives the loss 50"),
        (lambda z, y: np.zeros(3), "the closure failed: LossError"),
    ],
)
def test_why_the_loss_at_zero_is_not_known(closure, reason):
    params = table(3.0)
    scale = float(np.abs(params["w"]).max())

    def loss(z, y):
        return nll(z, y).mean() / scale if "finite" in reason else 0.4

    with np.errstate(all="ignore"):
        run = one_batch(params, loss, closure)
    assert reason in run.diagnosis.not_checked["RNN303"]


def test_parameters_that_cannot_be_written_to_are_not():
    params = table()
    params["frozen"] = np.ones(3)
    params["frozen"].flags.writeable = False
    run = one_batch(params, lambda z, y: nll(z, y).mean(), lambda z, y: nll(z, y).mean())
    assert run.alarms == []
    assert "RNN301" in run.diagnosis.passed


def test_the_action_is_taken():
    stopped = one_batch(table(), total, batches=6, plugin=LossFunctionGuard(action="stop"))
    assert stopped.stop_reason.startswith("RNN301")
    with pytest.raises(AlarmRaised, match="RNN301"):
        one_batch(table(), total, plugin=LossFunctionGuard(action="raise"))
