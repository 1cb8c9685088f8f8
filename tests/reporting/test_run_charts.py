"""Which columns of a history are drawn."""

import json
import math

from rnncallbacks.reporting.run_charts import run_charts
from rnncallbacks.reporting.run_folder import read_run


def test_losses_rate_and_norms_are_charts_with_marks(make_folder):
    folder = make_folder([2.0, math.nan], val=[1.0, 3.0], alarms=[("RNN602", 2, "it rose", {})])
    charts = run_charts(read_run(folder))
    assert [chart.name for chart in charts] == ["loss", "rate", "norm"]
    assert list(charts[0].series) == ["train", "val"]
    assert charts[0].series["val"] == [1.0, 3.0]
    assert math.isnan(charts[0].series["train"][1])
    assert charts[0].has_gaps
    assert not charts[1].has_gaps
    assert [mark.label for mark in charts[0].marks] == ["RNN602"]


def test_the_learning_rate_keeps_its_shape(make_folder):
    folder = make_folder([2.0, 1.0])
    rows = '{"epoch": 1, "learning_rate": 1.0}\n{"epoch": 2, "learning_rate": 1e-08}\n'
    (folder / "history.jsonl").write_text(rows)
    (rate,) = run_charts(read_run(folder))
    assert not rate.is_logarithmic


def test_logged_columns_are_charts_by_phase(make_folder):
    folder = make_folder([2.0, 1.0])
    first = {"epoch": 1, "seconds": 9.0, "train_loss": 2.0, "val_loss": 3.0, "train_accuracy": 0.5}
    first |= {"val_accuracy": "NaN", "note": "a", "tries": 3, "val_tokens": 4}
    second = {"epoch": 2, "train_loss": 2.0, "val_accuracy": 0.25}
    rows = "".join(json.dumps(row) + "\n" for row in (first, second))
    (folder / "history.jsonl").write_text(rows)
    _, accuracy, tries = run_charts(read_run(folder))
    assert accuracy.title == "accuracy"
    assert list(accuracy.series) == ["train", "val"]
    assert accuracy.series["train"] == [0.5, None]
    assert math.isnan(accuracy.series["val"][0])
    assert (tries.title, tries.series) == ("tries", {"tries": [3.0, None]})


def test_a_validation_outside_of_the_run_shares_the_chart_of_its_metric(make_folder):
    folder = make_folder([2.0])
    (folder / "history.jsonl").write_text('{"epoch": 1, "train_loss": 2.0, "train_error": 0.5, "val_error": 0.75}\n')
    _, error = run_charts(read_run(folder))
    assert list(error.series) == ["train", "val"]


def test_a_run_of_few_epochs_has_curves_of_its_batches(make_folder):
    folder = make_folder([2.0], alarms=[("RNN602", 1, "it rose", {})])
    steps = [f'{{"epoch": 1, "step": {step}, "loss": {step}.5, "mine": "NaN"}}' for step in (1, 3, 5)]
    (folder / "batches.jsonl").write_text("\n".join(steps) + "\n")
    *_, loss, mine = run_charts(read_run(folder))
    assert (loss.unit, loss.positions, loss.series) == ("batch", [1, 3, 5], {"loss": [1.5, 3.5, 5.5]})
    assert [mark.position for mark in loss.marks] == [1]
    assert mine.title == "mine of training batches"
    assert mine.has_gaps
    (folder / "history.jsonl").write_text('{"epoch": 1}\n' * 11)
    assert [chart.title for chart in run_charts(read_run(folder))] == ["mine of training batches"]
