"""The loss-report guard: a wrong denominator is named in the first epoch in every layout; correct ones pass."""

import logging
import math

import numpy as np
import pytest

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import LossAveraging, LossReportGuard

BATCH_SIZE, SEQ_LEN, VOCAB = 8, 12, 6
SAMPLES = {"train": 80, "val": 24}  # 10 and 3 batches


def sentences(phase, ragged=0):
    count = SAMPLES[phase] - ragged
    tokens = np.random.default_rng(len(phase)).integers(0, VOCAB, (count, SEQ_LEN + 1))
    tokens[0, :VOCAB] = np.arange(VOCAB)
    return [tokens[start : start + BATCH_SIZE] for start in range(0, count, BATCH_SIZE)]


def rows(tokens):
    return tokens[:, :-1], tokens[:, 1:]


def one_hot_columns(tokens):
    columns = np.eye(VOCAB)[tokens].transpose(1, 2, 0)
    return columns[:-1], columns[1:]


def loss_of(tokens, epoch):
    """As a network's on these tokens might be: it falls, and differs from batch to batch."""
    return math.log(VOCAB) * (0.9 + 0.1 * math.sin(float(tokens.sum()))) * 0.9**epoch


def train(reports, *, epochs=1, layout=rows, ragged=0, plugins=(), loss=loss_of, ask=True, action="warn", **given):
    """A loop of one's own that logs what ``reports`` makes of the losses: phase to a function of losses and loaders."""
    loaders = {phase: [layout(one) for one in sentences(phase, ragged)] for phase in ("val", "train")}
    raw = {phase: sentences(phase, ragged) for phase in loaders}
    with Run(plugins=[LossReportGuard(action=action), *plugins], hidden_size=3) as run:
        for epoch in run.epochs(epochs):
            for phase, loader in loaders.items():
                losses = []
                for index, _ in enumerate(run.batches(loader, phase=phase)):
                    if ask:
                        run.hidden(len(raw[phase][index]))
                    one = loss(raw[phase][index], epoch)
                    if phase == "train":
                        run.backward(one, np.zeros(1), **given)
                    else:
                        run.record(one, **given)
                    losses.append(one)
                if phase in reports:
                    run.log(**{f"{phase}_loss": reports[phase](losses, raw)})
    return run


def mean(losses, raw):
    return sum(losses) / len(losses)


def over(count):
    return lambda losses, raw: sum(losses) / (count(raw) if callable(count) else count)


def codes(run):
    return [(alarm.code, alarm.severity) for alarm in run.alarms]


FAULTS = {
    "samples": over(SAMPLES["train"]),
    "tokens": over(SAMPLES["train"] * SEQ_LEN),
    "never divided": over(1),
    "divided twice": over(100),
    "times the batch size": over(10 / BATCH_SIZE),
    "time steps": over(10 * SEQ_LEN),
    "times the time steps": over(10 / SEQ_LEN),
    "vocabulary": over(10 * VOCAB),
    "the batch size alone": over(BATCH_SIZE),
    "batches of the other phase": over(3),
    "samples of the other phase": over(SAMPLES["val"]),
}


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [rows, one_hot_columns])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_count_is_named_within_the_first_epoch(fault, layout):
    run = train({"train": FAULTS[fault]}, layout=layout)
    assert codes(run) == [("RNN101", "warning")]
    (alarm,) = run.alarms
    assert (alarm.epoch, alarm.step) == (1, 10)
    assert alarm.message.startswith("train_loss is ")
    assert alarm.evidence["train_divisor"] == pytest.approx(
        alarm.evidence["train_batch_mean"] * 10 / alarm.evidence["train_loss"]
    )


def test_the_message_does_the_arithmetic():
    (alarm,) = train({"train": FAULTS["samples"]}, loss=lambda tokens, epoch: 1.731).alarms
    assert alarm.message == "train_loss is the mean batch loss divided by 8, the batch size: 0.2164 instead of 1.731"
    assert alarm.remedy == ("divide the sum of the batch losses of train by the 10 batches, not by the 80 samples")
    assert dict(alarm.evidence) == pytest.approx(
        {"train_loss": 0.216375, "train_batch_mean": 1.731, "train_batches": 10, "train_divisor": 80}
    )


@pytest.mark.parametrize("off", ["train", "val"])
def test_of_two_phases_the_one_that_is_off_is_named(off):
    right = "val" if off == "train" else "train"
    run = train({off: over(SAMPLES[off]), right: mean})
    assert codes(run) == [("RNN102", "warning")]
    assert run.alarms[0].message.startswith(f"{off}_loss is ")
    assert run.alarms[0].message.endswith(f"; {right}_loss is the mean of its batch losses")
    assert (run.diagnosis.passed, list(run.diagnosis.cannot_tell)) == ({}, ["RNN101"])


def test_an_average_by_the_plugin_counts_as_the_other_phase():
    run = train({"train": over(SAMPLES["train"])}, plugins=[LossAveraging()])
    assert codes(run) == [("RNN102", "warning")]


def test_both_off_is_one_finding_about_both():
    run = train({phase: over(SAMPLES[phase]) for phase in SAMPLES})
    assert codes(run) == [("RNN101", "warning")]
    assert "train_loss is" in run.alarms[0].message
    assert "val_loss is" in run.alarms[0].message
    assert "of train by the 10 batches" in run.alarms[0].remedy
    assert "of val by the 3 batches" in run.alarms[0].remedy
    assert list(run.diagnosis.passed) == ["RNN102"]


def test_validation_divided_by_the_batches_of_training():
    run = train({"train": mean, "val": over(10)})
    assert codes(run) == [("RNN102", "warning")]
    assert "val_loss is the sum of the batch losses divided by 10, the batches of train: " in run.alarms[0].message
    assert run.alarms[0].remedy == "divide the sum of the batch losses of val by the 3 batches, not by 10"


@pytest.mark.parametrize(
    ("phase", "report", "claim"),
    [
        ("val", lambda own, other: (sum(own) + sum(other)) / 3, "the sum of 3 batch losses and of the 10 of train"),
        ("val", lambda own, other: (sum(own) + sum(other)) / 13, "the sum of 3 batch losses and of the 10 of train"),
        ("train", lambda own, other: (sum(own) + sum(other)) / 13, "the sum of 10 batch losses and of the 3 of val"),
        ("train", lambda own, other: (sum(own) + sum(other)) / 10, "the sum of 10 batch losses and of the 3 of val"),
        ("val", lambda own, other: sum(other) / 10, "the mean of the batch losses of train"),
    ],
)
def test_a_report_with_the_batch_losses_of_another_phase_is_named_in_the_second_epoch(phase, report, claim):
    """The sum of one phase is not set to 0 before the other, or the wrong one is reported."""
    other = "train" if phase == "val" else "val"

    def reported(losses, loaders):
        epoch = epochs.pop()
        others = [loss_of(tokens, epoch) for tokens in loaders[other]]
        return report(losses, others)

    epochs = [2, 1]
    run = train({phase: reported, other: mean}, epochs=2)
    assert codes(run) == [("RNN102", "warning")]
    assert run.alarms[0].epoch == 2
    assert claim in run.alarms[0].message


@pytest.mark.parametrize(("off", "name"), [(1, "one too many"), (-1, "one too few")])
def test_one_batch_too_many_or_too_few_wants_two_epochs(off, name):
    report = {"train": lambda losses, raw: sum(losses) / (len(losses) + off)}
    assert codes(train(report, epochs=1)) == []
    run = train(report, epochs=2)
    assert codes(run) == [("RNN101", "warning")]
    assert f"divided by {10 + off}, {name}: " in run.alarms[0].message
    assert run.alarms[0].remedy == f"divide the sum of the batch losses of train by the 10 batches, not by {10 + off}"


def test_a_count_without_a_name_wants_two_epochs():
    report = {"train": over(64)}
    assert codes(train(report, epochs=1)) == []
    run = train(report, epochs=3)
    assert [(alarm.code, alarm.epoch, alarm.count) for alarm in run.alarms] == [("RNN101", 2, 2)]


@pytest.mark.parametrize("decimals", [5, 6])
def test_rounding_before_logging_hides_nothing(decimals):
    report = {"train": lambda losses, raw: round(sum(losses) / SAMPLES["train"], decimals)}
    assert codes(train(report)) == [("RNN101", "warning")]


def test_a_ragged_last_batch():
    run = train({"train": lambda losses, raw: sum(losses) / sum(map(len, raw["train"]))}, ragged=5)
    assert codes(run) == [("RNN101", "warning")]
    assert "not by the 75 samples" in run.alarms[0].remedy
    # What drop_last left out is in the length of the data set.
    dropped = train({"train": over(SAMPLES["train"] + 5)})
    assert "not by the 85 samples" in dropped.alarms[0].remedy


def test_without_run_hidden_the_arrays_show_the_sizes():
    for layout in (rows, one_hot_columns, lambda tokens: {"inputs": tokens[:, :-1], "targets": tokens[:, 1:]}):
        assert codes(train({"train": FAULTS["samples"]}, layout=layout, ask=False)) == [("RNN101", "warning")]


def test_even_where_nothing_tells_time_from_batch():
    unrelated = lambda tokens: (tokens[:, :-1], tokens[::-1, :-1])  # noqa: E731
    for fault in ("samples", "time steps"):
        assert codes(train({"train": FAULTS[fault]}, layout=unrelated, ask=False)) == [("RNN101", "warning")]


def test_lists_and_an_index_with_the_counts_given():
    lists = lambda tokens: (tokens[:, :-1].tolist(), tokens[:, 1:].tolist())  # noqa: E731
    assert codes(train({"train": FAULTS["samples"]}, layout=lists)) == [("RNN101", "warning")]
    assert codes(train({"train": FAULTS["samples"]}, layout=lambda tokens: 7, ask=False)) == []  # one epoch alone
    given = train({"train": FAULTS["samples"]}, layout=lambda tokens: 7, ask=False, sequences=BATCH_SIZE)
    assert codes(given) == [("RNN101", "warning")]
    given = train({"train": FAULTS["tokens"]}, layout=lambda tokens: 7, ask=False, tokens=BATCH_SIZE * SEQ_LEN)
    assert codes(given) == [("RNN101", "warning")]


def test_a_loader_that_shows_nothing_of_its_batches_takes_two_epochs():
    run = train({"train": FAULTS["samples"]}, layout=lambda tokens: 7, ask=False, epochs=2)
    assert [(alarm.code, alarm.severity, alarm.epoch) for alarm in run.alarms] == [("RNN101", "warning", 2)]
    assert "divided by 8, a whole number: " in run.alarms[0].message
    assert "by the 10 batches, not by the 80 samples" in run.alarms[0].remedy
    beside = train({"train": FAULTS["samples"], "val": mean}, layout=lambda tokens: 7, ask=False, epochs=2)
    assert codes(beside) == [("RNN102", "warning")]


def test_a_loader_of_whole_sentences_shows_how_many_there_are():
    run = train({"train": FAULTS["samples"], "val": mean}, layout=lambda tokens: tokens, ask=False)
    assert codes(run) == [("RNN102", "warning")]
    assert "divided by 8, the batch size" in run.alarms[0].message


def test_a_report_that_nothing_explains_is_not_passed_because_another_is_right():
    run = train({"train": lambda losses, raw: 0.1234 * sum(losses) / len(losses), "val": mean})
    assert codes(run) == []
    assert list(run.diagnosis.passed) == []
    assert set(run.diagnosis.cannot_tell) == {"RNN101", "RNN102"}
    for why in run.diagnosis.cannot_tell.values():
        assert why.startswith("what run.log(train_loss=...) reports is neither a mean of the batch losses nor ")


def test_an_alarm_goes_on_while_the_report_is_wrong_and_is_listed_once():
    run = train({"train": FAULTS["samples"]}, epochs=4)
    assert [(alarm.code, alarm.count, alarm.epoch) for alarm in run.alarms] == [("RNN101", 4, 1)]


def test_the_action_is_handed_on():
    with pytest.raises(AlarmRaised, match="RNN101"):
        train({"train": FAULTS["samples"]}, action="raise")
    assert train({"train": FAULTS["samples"]}, epochs=3, action="stop").epoch == 1


# --- healthy reports -------------------------------------------------------------------------------------------------


def smoothed(losses, raw):
    """The moving average of a well-known minimal script: it begins at ln V and follows slowly."""
    value = math.log(VOCAB)
    for loss in losses:
        value = 0.999 * value + 0.001 * loss
    return value


HEALTHY = {
    "mean": mean,
    "float32": lambda losses, raw: float(np.float32(sum(map(np.float32, losses)) / np.float32(len(losses)))),
    "rounded": lambda losses, raw: round(sum(losses) / len(losses), 2),
    "by sample": lambda losses, raw: np.average(losses, weights=[len(one) for one in raw["train"]]),
    "smoothed": smoothed,
    "median": lambda losses, raw: float(np.median(losses)),
    "last": lambda losses, raw: losses[-1],
    "of the last five": lambda losses, raw: sum(losses[-5:]) / 5,
    "perplexity": lambda losses, raw: math.exp(sum(losses) / len(losses)),
    "bits": lambda losses, raw: sum(losses) / len(losses) / math.log(2),
    "penalized": lambda losses, raw: sum(losses) / len(losses) + 0.0123,
    "masked": lambda losses, raw: 0.7312 * sum(losses) / len(losses),
    "word": lambda losses, raw: "falling",
    "zero": lambda losses, raw: 0.0,
    "nan": lambda losses, raw: math.nan,
}


UNEXPLAINED = ("smoothed", "perplexity", "bits", "masked")
"""Those that lie outside the batch losses: nothing is said against them, nor that they are right."""


@pytest.mark.parametrize("ragged", [0, 3])
@pytest.mark.parametrize("report", HEALTHY)
def test_a_healthy_report_is_never_touched(report, ragged):
    run = train({"train": HEALTHY[report], "val": mean}, epochs=30, ragged=ragged)
    assert codes(run) == []
    assert ("RNN101" in run.diagnosis.passed) == (report not in UNEXPLAINED)


@pytest.mark.parametrize("weight", ["batch", "sequence", "token"])
def test_the_averages_of_the_plugin_are_right(weight, make_trainer):
    guard = LossReportGuard()
    trainer, train_loader, val_loader = make_trainer([guard, LossAveraging(weight=weight)])
    trainer.fit(train_loader, val_loader, max_epochs=5)
    assert trainer.run.alarms == []
    assert list(trainer.run.diagnosis.passed) == ["RNN101", "RNN102"]


class LogsSumsOverSamples:
    """What a user's own plugin might do beside a trainer."""

    def __init__(self):
        self.loss, self.samples = 0.0, 0

    @hookimpl
    def on_batch_end(self, batch):
        if batch.phase == "train":
            self.loss += batch.loss
            self.samples += batch.sequences

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run):
        run.log(train_loss=self.loss / self.samples)
        self.loss, self.samples = 0.0, 0


def test_in_a_trainer(make_trainer):
    trainer, train_loader, val_loader = make_trainer([LossReportGuard(), LossAveraging(), LogsSumsOverSamples()])
    trainer.fit(train_loader, val_loader, max_epochs=2)
    assert [(alarm.code, alarm.epoch, alarm.count) for alarm in trainer.run.alarms] == [("RNN102", 1, 2)]
    assert trainer.run.alarms[0].message.startswith("train_loss is ")


def test_one_sequence_in_a_batch_makes_samples_and_batches_the_same():
    with Run(plugins=[LossReportGuard()], hidden_size=2) as run:
        for _ in run.epochs(3):
            losses = []
            for n in run.batches(range(1, 9)):
                run.hidden(1)
                losses.append(1.0 + 1.0 / n)
                run.backward(losses[-1], np.zeros(1))
            run.log(train_loss=sum(losses) / 8)
    assert run.alarms == []
    assert list(run.diagnosis.passed) == ["RNN101"]


def test_sums_over_the_samples_that_are_divided_by_the_samples_are_a_note():
    """The first loss is many times ln V: the report is a mean after all, and the batch losses are what is unusual."""
    summed = lambda tokens, epoch: BATCH_SIZE * loss_of(tokens, epoch)  # noqa: E731
    run = train({"train": FAULTS["samples"]}, loss=summed)
    assert codes(run) == [("RNN101", "info")]
    assert run.alarms[0].message.endswith("that is correct only if the batch losses are sums, as their size suggests")
    beside = train({"train": FAULTS["samples"], "val": over(SAMPLES["val"])}, loss=summed)
    assert codes(beside) == [("RNN101", "info")]


def test_beside_a_phase_that_is_a_mean_sums_divided_by_the_samples_are_not_comparable():
    summed = lambda tokens, epoch: BATCH_SIZE * loss_of(tokens, epoch)  # noqa: E731
    run = train({"train": FAULTS["samples"], "val": mean}, loss=summed)
    assert codes(run) == [("RNN102", "warning")]


def test_of_squared_errors_the_targets_tell_sums_from_means():
    targets = np.random.default_rng(0).normal(size=(10, SEQ_LEN, BATCH_SIZE, 2))
    for factor, severity in ((1.0, "warning"), (BATCH_SIZE, "info")):
        with Run(plugins=[LossReportGuard()]) as run:
            for _ in run.epochs(1):
                losses = []
                for x, y in run.batches([(one, one) for one in targets]):
                    run.observe(inputs=x, targets=y)
                    losses.append(factor * float(np.mean(y**2)))
                    run.backward(losses[-1], np.zeros(1), sequences=BATCH_SIZE)
                run.log(train_loss=sum(losses) / SAMPLES["train"])
        assert codes(run) == [("RNN101", severity)]


# --- what is not judged ----------------------------------------------------------------------------------------------


class Skip:
    @hookimpl
    def on_backward(self, run, batch):
        if batch.index == 4:
            run.skip_batch()


def test_an_epoch_with_a_skipped_batch_is_not_judged():
    """What a script makes of a batch that a plugin took out is its own affair."""
    assert codes(train({"train": FAULTS["samples"]}, plugins=[Skip()], epochs=3)) == []
    with Run(plugins=[LossReportGuard(), Skip()]) as run:
        for _ in run.epochs(3):
            total = 0.0
            for tokens in run.batches(iter(sentences("train"))):
                run.backward(loss_of(tokens, run.epoch), np.zeros(1))
                total += 0.0 if run.skipped else loss_of(tokens, run.epoch)
            run.log(train_loss=total / 10)
    assert run.alarms == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_losses_that_are_not_above_zero_are_not_judged(bad):
    loss = lambda tokens, epoch: bad if epoch == 1 and tokens[0, 0] == 0 else loss_of(tokens, epoch)  # noqa: E731
    assert codes(train({"train": FAULTS["samples"]}, loss=loss)) == []


@pytest.mark.parametrize("loader", [list, iter])
def test_an_epoch_that_was_stopped_is_not_held_against_the_script(loader):
    """Forty batches were planned and five were seen: 40 is also five times the batch size."""
    data = [rows(one) for one in sentences("train")] * 4
    with Run(plugins=[LossReportGuard()]) as run:
        for _ in run.epochs(1):
            total = 0.0
            for x, _ in run.batches(loader(data)):
                total += loss_of(x, 0)
                run.backward(loss_of(x, 0), np.zeros(1))
                if run.step == 5:
                    run.stop("five are enough")
            run.log(train_loss=total / len(data))
    assert run.alarms == []


def test_a_loop_that_breaks_is_judged_by_what_it_did():
    data = [rows(one) for one in sentences("train")]
    for count, found in ((4, []), (4 * BATCH_SIZE, ["RNN101"]), (10, [])):
        with Run(plugins=[LossReportGuard()]) as run:
            for _ in run.epochs(2):
                total = 0.0
                for index, (x, _) in enumerate(run.batches(data)):
                    if index == 4:
                        break
                    total += loss_of(x, 0)
                    run.backward(loss_of(x, 0), np.zeros(1))
                run.log(train_loss=total / count)
        assert [alarm.code for alarm in run.alarms] == found


def test_a_validation_inside_training_is_judged_by_its_last_pass():
    train_data, val_data = sentences("train"), sentences("val")
    for count, found in ((3, []), (SAMPLES["val"], ["RNN101"])):
        with Run(plugins=[LossReportGuard()], hidden_size=2) as run:
            for _ in run.epochs(1):
                for index, tokens in enumerate(run.batches(train_data), start=1):
                    run.backward(loss_of(tokens, 0), np.zeros(1))
                    if index % 5 == 0:
                        total = 0.0
                        for val in run.batches(val_data, phase="val"):
                            run.hidden(len(val))
                            total += loss_of(val, index)
                            run.record(loss_of(val, index))
                        run.log(val_loss=total / count)
        assert [alarm.code for alarm in run.alarms] == found


def test_what_was_not_reported_is_not_checked(make_trainer, caplog):
    run = train({})
    assert run.diagnosis.not_checked == {
        "RNN101": "report the script's own epoch loss: run.log(train_loss=...)",
        "RNN102": "report the script's own losses of two phases: run.log(train_loss=..., val_loss=...)",
    }
    one = train({"train": mean})
    assert list(one.diagnosis.passed) == ["RNN101"]
    assert one.diagnosis.passed["RNN101"].startswith("the reported train loss with the ")
    assert list(one.diagnosis.not_checked) == ["RNN102"]
    other = train({"train": HEALTHY["perplexity"]})
    assert "neither a mean of the batch losses" in other.diagnosis.cannot_tell["RNN101"]
    with caplog.at_level(logging.INFO), Run(plugins=[LossReportGuard()]) as empty:
        pass
    assert empty.alarms == []


def test_a_guard_that_is_used_twice_begins_anew():
    guard = LossReportGuard()
    for _ in range(2):
        with Run(plugins=[guard]) as run:
            for _ in run.epochs(1):
                losses = []
                for tokens in run.batches(sentences("train")):
                    losses.append(loss_of(tokens, 0))
                    run.backward(losses[-1], np.zeros(1), sequences=len(tokens))
                run.log(train_loss=sum(losses) / 80)
        assert [alarm.count for alarm in run.alarms] == [1]


class NeverRests(LossReportGuard):
    """The guard, called for each batch."""

    @hookimpl
    def on_batch_start(self):
        self.due_step = 0


@pytest.mark.parametrize(("change", "alarms"), [("a loss of zero", 0), ("other lengths", 1)])
def test_a_pass_that_begins_otherwise_ends_the_rest_of_the_pass_before(change, alarms):
    """The lengths of the batches that are left out are those of their own pass."""
    messages = []
    for guard in (LossReportGuard(), NeverRests()):
        with Run(plugins=[guard]) as run:
            for epoch in run.epochs(5):
                last = epoch >= 4
                sizes = [4, *[8] * 38, 2] if last and change == "other lengths" else [8] * 40
                losses = [1.0 + index / 40 for index in range(40)]
                losses[0] = 0.0 if last and change == "a loss of zero" else 1.0
                for loss, size in zip(losses, run.batches(sizes), strict=True):
                    run.backward(loss, np.zeros(1), sequences=size)
                run.log(train_loss=sum(losses) / (sum(sizes) if last else 40))
        messages.append([alarm.message for alarm in run.alarms])
    assert messages[0] == messages[1]
    assert len(messages[0]) == alarms
