"""Objects as a notebook shows them, and the page that Python writes."""

import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from rnncallbacks.core.history import History
from rnncallbacks.core.history_table import MOST_ROWS
from rnncallbacks.core.run import Run
from rnncallbacks.errors import DataError, OptionError, PluginError
from rnncallbacks.plugins import LossAveraging
from rnncallbacks.reporting import report
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.training.trainer import Trainer

NASTY = "<script>alert('&')</script>"


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects their names and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.names, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


def played(epochs=2):
    with Run(plugins=[LossAveraging()], learning_rate=0.5) as run:
        for _ in run.epochs(epochs):
            for loss in run.batches([2.0, 1.0]):
                run.backward(loss, np.ones(1))
            run.log(**{NASTY: NASTY})
        run.diagnosis.check("RNN201", "3 of 3 batches")
        run.raise_alarm("ACME1", NASTY, cause=NASTY, remedy=NASTY, severity="error", evidence={NASTY: NASTY})
        run.stop(NASTY)
    return run


def test_runs_and_their_parts_are_shown_without_html_of_theirs():
    run = played()
    trainer = Trainer(RecurrentModel(4, vocab_size=4), Adam(), learning_rate=0.1)
    before = Page(trainer._repr_html_())
    assert before.text.startswith("Trainer(RecurrentModel of")
    trainer.run = run
    for shown in (run.history, run.diagnosis, run, trainer):
        page = Page(shown._repr_html_())
        assert "script" not in page.names
        assert NASTY in page.text
    assert {"table", "details", "code"} <= set(page.names)
    assert "1.5" in Page(run.history._repr_html_()).text
    assert "passed: compared, and no fault found (1) RNN201" in Page(run.diagnosis._repr_html_()).text
    assert "nothing was checked" in Page(Run().diagnosis._repr_html_()).text
    assert "no epoch has ended" in Page(History()._repr_html_()).text


def test_a_long_history_is_cut_in_the_middle():
    page = Page(played(100).history._repr_html_())
    assert page.names.count("tr") == 1 + MOST_ROWS + 1
    assert f"{100 - MOST_ROWS} epochs are not shown" in page.text
    assert {" 1 ", " 10 ", " 91 ", " 100 "} <= {f" {word} " for word in page.text.split()}


def test_a_history_draws_its_columns():
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="the extra plot has it")
    pyplot.switch_backend("agg")
    history = Trainer(RecurrentModel(4, vocab_size=4), Adam(), learning_rate=0.1, metrics=["accuracy"]).fit(
        SequenceLoader(anbn(4, max_n=3), batch_size=2), max_epochs=2, progress=False
    )
    axes = history.plot()
    assert [line.get_label() for line in axes.lines] == ["train_loss"]
    assert list(axes.lines[0].get_ydata()) == history["train_loss"]
    assert history.plot("train_accuracy", "learning_rate", ax=axes) is axes
    assert len(axes.lines) == 3
    pyplot.close("all")
    with pytest.raises(DataError, match=r"no column 'train_acuracy'; .*\n.*did you mean 'train_accuracy'"):
        history.plot("train_acuracy")
    with pytest.raises(OptionError, match=r"names of columns, got \['train_accuracy'\]"):
        history.plot(["train_accuracy"])
    with pytest.raises(OptionError, match="ax: expected axes of matplotlib, got 3"):
        history.plot(ax=3)
    with pytest.raises(DataError, match="no column to draw, as no epoch has ended"):
        History().plot()
    with pytest.raises(DataError, match=r"holds the string .<script>"):
        played().history.plot(NASTY)


def test_without_matplotlib_a_plot_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PluginError, match=r"history.plot needs matplotlib\n.*rnncallbacks\[plot\]"):
        played().history.plot()


@pytest.mark.extras
def test_a_history_is_a_data_frame():
    pandas = pytest.importorskip("pandas", reason="the stage extras has it")
    history = played().history
    frame = pandas.DataFrame(history)
    assert list(frame.columns) == history.columns
    assert list(frame["train_loss"]) == [1.5, 1.5]


def test_the_report_of_a_folder_is_written_from_python(make_folder, tmp_path):
    folder = make_folder([], guarded=False)
    assert report(str(folder)) == folder / "report.html"
    assert report(folder, tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(DataError, match="there is no such folder"):
        report(tmp_path / "nowhere")
    with pytest.raises(OptionError, match=r"run_dir: expected the path of a folder, got 3(.|\n)*run.directory"):
        report(3)
    with pytest.raises(OptionError, match="output: expected a file, got the directory"):
        report(folder, tmp_path)
