"""Which columns of a history are drawn."""

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
