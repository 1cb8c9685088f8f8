"""Metrics of a trainer, compared with loops over positions in plain NumPy."""

import math

import attrs
import numpy as np
import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.plugins import Checkpoint, EarlyStopping, HiddenStateReset, LossAveraging
from rnncallbacks.rnn.data.batches import SequenceBatch
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.training.trainer import Trainer

CLASSES, FEATURES, STEPS = 7, 3, 5


def largest_output(outputs, targets):
    return outputs.max(axis=1).mean()


NAMES = {
    "nll": ["accuracy", "top_5_accuracy", "perplexity", "bits_per_token", largest_output],
    "mse": ["mean_absolute_error", "root_mean_squared_error", largest_output],
}


def model_for(loss, output):
    options = {"vocab_size": CLASSES} if loss == "nll" else {"input_size": FEATURES, "output_size": 2}
    return RecurrentModel(6, loss=loss, output=output, dtype="float64", seed=1, **options)


def batches_for(loss, output, seed):
    """Batches of different sizes, with different numbers of unmasked positions."""
    generator = np.random.default_rng(seed)
    found = []
    for rows in (4, 1, 3):
        steps, last = (STEPS, rows), (rows,)
        inputs = generator.integers(CLASSES, size=steps) if loss == "nll" else generator.normal(size=(*steps, FEATURES))
        shape = last if output == "last" else steps
        targets = generator.integers(CLASSES, size=shape) if loss == "nll" else generator.normal(size=(*shape, 2))
        lengths = generator.integers(1, STEPS + 1, size=rows)
        found.append(SequenceBatch(inputs, targets, mask=np.arange(STEPS)[:, None] < lengths))
    return found


@attrs.define(eq=False)
class Reference:
    """Collects the outputs and the target of each position, with loops."""

    model: RecurrentModel
    seen: dict = attrs.field(factory=dict)
    columns: list = attrs.field(factory=list)

    @hookimpl
    def on_backward(self, batch):
        self.look(batch)

    @hookimpl
    def on_batch_end(self, batch):
        if batch.phase == "val":
            self.look(batch)

    def look(self, batch):
        given, positions = batch.data, self.seen.setdefault(batch.phase, [])
        for row in range(given.size):
            alone = given.inputs[:, row : row + 1]
            last = self.model.output == "last"
            for step in range(STEPS):
                length = int(given.mask[:, row].sum())
                if (last and step != length - 1) or (not last and not given.mask[step, row]):
                    continue
                outputs, _ = self.model.predict(alone[: step + 1], self.model.zero_state(1))
                target = given.targets[row] if last else given.targets[step, row]
                positions.append((outputs[0] if last else outputs[step, 0], target))

    @hookimpl(trylast=True)
    def on_epoch_end(self):
        self.columns.append({phase: reference(self.model.loss, seen) for phase, seen in self.seen.items()})
        self.seen.clear()


def reference(loss, positions):
    largest = sum(max(outputs) for outputs, _ in positions) / len(positions)
    if loss == "mse":
        errors = [
            abs(float(a) - float(b)) for outputs, target in positions for a, b in zip(outputs, target, strict=True)
        ]
        return {
            "mean_absolute_error": sum(errors) / len(errors),
            "root_mean_squared_error": math.sqrt(sum(error**2 for error in errors) / len(errors)),
            "largest_output": largest,
        }
    ranks = [sorted(outputs, reverse=True).index(outputs[target]) for outputs, target in positions]
    nats = [math.log(sum(math.exp(one) for one in outputs)) - outputs[target] for outputs, target in positions]
    nll = sum(nats) / len(nats)
    return {
        "accuracy": ranks.count(0) / len(ranks),
        "top_5_accuracy": sum(rank < 5 for rank in ranks) / len(ranks),
        "perplexity": math.exp(nll),
        "bits_per_token": nll / math.log(2),
        "largest_output": largest,
    }


@pytest.mark.parametrize("micro_batch_size", [None, 2])
@pytest.mark.parametrize("output", ["step", "last"])
@pytest.mark.parametrize("loss", ["nll", "mse"])
def test_metrics_are_means_over_unmasked_positions(loss, output, micro_batch_size):
    model = model_for(loss, output)
    expected = Reference(model)
    trainer = Trainer(
        model,
        Adam(),
        plugins=[HiddenStateReset(), expected],
        learning_rate=0.1,
        metrics=NAMES[loss],
        micro_batch_size=micro_batch_size,
    )
    train, validation = batches_for(loss, output, 1), batches_for(loss, output, 2)
    history = trainer.fit(train, validation, max_epochs=2, progress=False)
    for row, columns in zip(history, expected.columns, strict=True):
        named = {f"{phase}_{name}": value for phase, values in columns.items() for name, value in values.items()}
        assert {name: row[name] for name in named} == pytest.approx(named, rel=1e-9)
        assert len(named) == 2 * len(NAMES[loss])


class Skip:
    """Takes out the second batch."""

    @hookimpl
    def on_backward(self, run, batch):
        if batch.index == 2:
            run.skip_batch()


def test_batches_that_were_skipped_are_not_counted():
    train = batches_for("nll", "step", 1)
    kept = [train[0], train[2]]
    columns = [
        Trainer(
            model_for("nll", "step"),
            Adam(),
            plugins=[HiddenStateReset(), *plugins],
            learning_rate=0.1,
            metrics=NAMES["nll"],
        )
        .fit(batches, max_epochs=2, progress=False)
        .untimed()
        for batches, plugins in ((train, [Skip()]), (kept, []))
    ]
    assert columns[0] == columns[1]


def test_a_resumed_run_has_the_same_columns(tmp_path):
    def fit(folder, **options):
        plugins = [HiddenStateReset(), LossAveraging(weight="token"), Checkpoint(path=tmp_path / folder)]
        trainer = Trainer(
            model_for("nll", "step"),
            Adam(),
            plugins=plugins,
            learning_rate=0.1,
            metrics=NAMES["nll"],
        )
        return trainer.fit(
            batches_for("nll", "step", 1), batches_for("nll", "step", 2), max_epochs=3, progress=False, **options
        )

    whole = fit("whole")
    fit("parts", max_steps=4)
    assert fit("parts") == whole
    assert whole["train_perplexity"] == pytest.approx(np.exp(whole["train_loss"]))


def test_a_plugin_can_monitor_a_metric():
    stops = EarlyStopping(monitor="val_accuracy", mode="max", patience=1, min_delta=1.0)
    plugins = [HiddenStateReset(), LossAveraging(), stops]
    trainer = Trainer(model_for("nll", "step"), Adam(), plugins=plugins, learning_rate=0.1, metrics=["accuracy"])
    batches = batches_for("nll", "step", 1)
    assert len(trainer.fit(batches, batches, max_epochs=9, progress=False)) == 2
    assert trainer.run.stop_reason.startswith("RNN601 val_accuracy")
    assert trainer.run.facts["metrics.metrics"] == "[accuracy]"


def test_a_metric_can_be_added_when_a_run_resumes(tmp_path):
    def fit(metrics, max_steps):
        plugins = [HiddenStateReset(), Checkpoint(path=tmp_path / "run", every_steps=1)]
        trainer = Trainer(model_for("nll", "step"), Adam(), plugins=plugins, learning_rate=0.1, metrics=metrics)
        batches = batches_for("nll", "step", 1)
        return trainer.fit(batches, batches[:1], max_epochs=1, max_steps=max_steps, progress=False)

    fit(["accuracy"], 2)
    history = fit(["perplexity"], None)
    assert {"train_perplexity", "val_perplexity"} <= set(history.columns)


@pytest.mark.parametrize(
    ("metrics", "loss", "message"),
    [
        (
            ["acuracy"],
            "nll",
            r"there is no metric 'acuracy' for loss='nll'; there are accuracy, .*\n.*did you mean 'accuracy'",
        ),
        (["ppl"], "nll", r"did you mean 'perplexity'"),
        (["accuracy"], "mse", r"'accuracy' does not fit a model with loss='mse', .* regression\n.*mean_absolute_error"),
        (["mean_absolute_error"], "nll", r"for classification\n.*its metrics are accuracy"),
        ("accuracy", "nll", r"expected a list of names and functions, got 'accuracy'\n.*metrics=\['accuracy'\]"),
        (largest_output, "nll", "expected a list"),
        ({"accuracy": largest_output}, "nll", "expected a list"),
        (["accuracy", "accuracy"], "nll", "two have the name 'accuracy'"),
        ([lambda outputs, targets: 0.0], "nll", r"with the name '<lambda>'\n.*def name"),
        ([3], "nll", "expected a name or a function, got 3"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_with_the_nearest(metrics, loss, message):
    with pytest.raises(OptionError, match=message):
        Trainer(model_for(loss, "step"), Adam(), learning_rate=0.1, metrics=metrics)


def test_a_function_that_does_not_return_a_mean_is_told():
    def hits(outputs, targets):
        return outputs.argmax(axis=1) == targets

    trainer = Trainer(model_for("nll", "step"), Adam(), plugins=[], learning_rate=0.1, metrics=[hits])

    def fails(outputs, targets):
        raise ValueError("this and that")

    with pytest.raises(DataError, match=r"metric 'hits': expected one number, .* got array.*\n.*\.mean\(\)"):
        trainer.fit(batches_for("nll", "step", 1), max_epochs=1, progress=False)
    trainer = Trainer(model_for("nll", "step"), Adam(), plugins=[], learning_rate=0.1, metrics=[fails])
    with pytest.raises(ValueError, match="this and that") as failed:
        trainer.fit(batches_for("nll", "step", 1), max_epochs=1, progress=False)
    assert failed.value.__notes__[0].startswith("in the metric 'fails', of outputs (")
