"""Progress in the terminal: a bar where there is one, and a line an epoch everywhere."""

import math
import re
import sys
from types import SimpleNamespace

import pytest

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.core.function_plugin import on
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError
from rnncallbacks.plugins import DivergenceAlarm, GradientClipping, LossAveraging, Progress


def test_without_a_terminal_there_are_only_lines(play, capsys):
    play([LossAveraging(), GradientClipping(max_norm=1.0), Progress()], [[1.0, 2.0], [0.5, 0.5]], val=[[3.0], [2.0]])
    out = capsys.readouterr().out
    assert [re.sub(r"[\d.]+s$", "0.0s", line) for line in out.splitlines()] == [
        "epoch 1/2  train 1.5000  val 3.0000  lr 1.00e+00  grad norm 1.41  clipped 100%  0.0s",
        "epoch 2/2  train 0.5000  val 2.0000  lr 1.00e+00  grad norm 1.41  clipped 100%  0.0s",
    ]
    assert "\x1b" not in out


def test_a_long_line_is_not_broken(play, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    play([LossAveraging(), Progress()], [[1.0]], val=[[3.0]])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_says_why_the_run_was_stopped(play, capsys):
    reason = "RNN403 the loss (nan) of batch 1 of train is not finite"
    play([LossAveraging(), DivergenceAlarm(), Progress(summary=False)], [[math.nan]])
    assert f"stopped: {reason}" in capsys.readouterr().out
    play([LossAveraging(), DivergenceAlarm(), Progress()], [[math.nan]])
    assert (
        "stopped: RNN403 non-finite value\nfired\n  RNN403 non-finite value (epoch 1, step 1)\n    the loss (nan)"
        in capsys.readouterr().out
    )


class Looking:
    """Checks this and that, and finds something at the very end."""

    @hookimpl
    def on_epoch_end(self, run):
        run.diagnosis.check("RNN201", "3 of 3 batches")
        run.diagnosis.check("RNN101", "3 of 3 batches")
        for code in ("RNN404", "RNN405", "RNN501"):
            run.diagnosis.cannot_check(code, "pass closure= to run.backward")
        run.diagnosis.cannot_check("RNN604", "there is no validation")
        run.raise_alarm("RNN602", "it rose", evidence={"loss": 9.0})

    @hookimpl
    def on_fit_end(self, run):
        run.raise_alarm("RNN501", "every update overshot", evidence={"share": 0.5})


def test_at_the_end_comes_the_diagnosis(play, capsys):
    play([LossAveraging(), Progress(), Looking()], [[1.0], [2.0]])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "fired",
        "  RNN501 the learning rate is too high (epoch 2, step 2)",
        "    every update overshot",
        "    share = 0.5",
        f"    remedy: {CATALOGUE['RNN501'].remedy}",
        "    consequence: RNN602 divergence (epoch 1, step 1, 2 times)",
        "      it rose",
        "checks passed: 2",
        "not checked: evidence is missing",
        "  pass closure= to run.backward",
        "    RNN404 the gradient does not match the loss",
        "    RNN405 the gradient is off by a constant factor",
        "  there is no validation",
        "    RNN604 overfitting",
    ]


def test_the_diagnosis_can_be_left_out(play, capsys):
    play([LossAveraging(), Progress(summary=False), Looking()], [[1.0]])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_run_that_fails_before_any_check_has_no_diagnosis(capsys):
    run = Run(plugins=[DivergenceAlarm(), Progress()])

    def train():
        with run:
            for _ in run.epochs(1):
                for _ in run.batches([1.0]):
                    raise ValueError("in the first batch")

    with pytest.raises(ValueError, match="in the first batch"):
        train()
    assert run.diagnosis.not_checked
    assert "not checked" not in capsys.readouterr().out


def test_in_a_trainer_one_line_an_epoch(make_trainer, capsys):
    trainer, train, val = make_trainer([LossAveraging(), Progress()])
    trainer.fit(train, val, max_epochs=3)
    assert [line[:11] for line in capsys.readouterr().out.splitlines()] == [f"epoch {n}/3  " for n in (1, 2, 3)]


class Clock:
    """A clock that only moves when it is told."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        for module in ("rnncallbacks.plugins.output.progress", "rnncallbacks.core.batch"):
            monkeypatch.setattr(f"{module}.perf_counter", lambda: self.now)

    @hookimpl(tryfirst=True)
    def on_batch_end(self, batch):
        self.now += batch.loss


def test_a_long_epoch_has_a_line_a_minute(play, capsys, monkeypatch):
    clock = Clock(monkeypatch)
    play([clock, LossAveraging(), Progress()], [[25.0] * 7, [1.0]], val=[[45.0, 30.0], [1.0]])
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/2  train batch 3/7  loss 25.0000  75.0s",
        "epoch 1/2  train batch 6/7  loss 25.0000  150.0s",
        "epoch 1/2  val batch 1/2  loss 45.0000  220.0s",
        "epoch 1/2  train 25.0000  val 37.5000  lr 1.00e+00  250.0s",
        "epoch 2/2  train 1.0000  val 1.0000  lr 1.00e+00  2.0s",
    ]


class Notebook:
    """What IPython is in a notebook: it keeps each state of a display."""

    def __init__(self, monkeypatch):
        self.pages = []
        shell = SimpleNamespace(kernel=object())
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=self.display))

    def display(self, shown, display_id):
        assert display_id is True
        self.update(shown)
        return self

    def update(self, shown):
        self.pages.append(shown._repr_html_())


def test_in_a_notebook_there_is_one_display(play, capsys, monkeypatch):
    notebook = Notebook(monkeypatch)
    log = on("epoch_end", lambda run: run.log(accuracy=0.5, **{"<b>": 1}))
    play([LossAveraging(), Progress(refresh=1e-9), log], [[2.0, 3.0]] * 30)
    assert capsys.readouterr().out == ""
    assert "starting" in notebook.pages[0]
    assert 'value="0.5000" max="30"></progress> epoch 1/30, batch 1/2, loss 2.0000' in notebook.pages[1].replace(
        ' style="width: 20em"', ""
    )
    assert "<progress" not in notebook.pages[-1]
    assert notebook.pages[-1].count("<tr>") == 21
    assert "accuracy" in notebook.pages[-1]
    assert "<b>" not in notebook.pages[-1]
    assert len(notebook.pages) == 1 + 60 + 30 + 1


# rich draws a bar ten times a second, in a thread; here, each change of the bar is drawn at once.
SCRIPT = """
import functools, sys
import numpy as np
from rnncallbacks.plugins import LossAveraging, PlateauAlarm, Progress
from rnncallbacks.core.run import Run

try:
    from rich.progress import Progress as Bar
except ImportError:
    pass
else:
    Bar.update = functools.partialmethod(Bar.update, refresh=True)
epochs = int(sys.argv[1]) or None
with Run(plugins=[LossAveraging(), PlateauAlarm(patience=1), Progress(refresh=1e-9)], learning_rate=0.5) as run:
    for epoch in run.epochs(epochs):
        for _ in run.batches(range(4)):
            run.backward(2.0, np.zeros(1))
        if epoch == 3:
            run.stop("three are enough")
"""


# Also where the process has imported it already.
WITHOUT_RICH = """
import sys
sys.modules |= {"rich": None} | {name: None for name in sys.modules if name.startswith("rich.")}
"""


WRITTEN = {}
"""What the script wrote, by its arguments: several tests look at the same terminal."""


@pytest.fixture
def on_a_terminal(run_python_on_a_terminal):
    """What the script writes to a pseudo-terminal, with its escape sequences."""

    def run(epochs, columns=160, before="", **variables):
        asked = epochs, columns, before, *variables.items()
        if asked not in WRITTEN:
            code = before + SCRIPT
            WRITTEN[asked] = run_python_on_a_terminal(code, str(epochs), columns=columns, **variables)
        return WRITTEN[asked]

    return run


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def bars(text):
    """Each state of the bar, without escape sequences and carriage returns."""
    return [line for line in re.split(r"[\r\n]+", plain(text)) if re.search("[━╸╺]", line)]


def test_on_a_terminal_a_bar_with_the_time_left_goes_before_the_lines(on_a_terminal):
    text = on_a_terminal(3)
    shown = plain(text)
    assert re.search(r"epoch 2/3  batch [1-4]/4  loss 2\.0000 ━", shown)
    assert re.search(r"0:00:0\d left", shown)
    assert "100%" in shown
    lines = re.findall(r"epoch \d/3  train 2\.0000  lr 5\.00e-01  [\d.]+s", shown)
    assert [line[:9] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "train_loss has not improved for 1 epochs" in shown
    assert "\nstopped: three are enough" in shown.replace("\r", "")
    assert shown[shown.index("stopped:") :].count("train_loss has not improved for 1 epochs") == 1
    # The cursor comes back, and the last bar is erased.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "\x1b[2K" in text[text.rindex("━") :]


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120])
def test_the_bar_fits_the_terminal_and_can_be_read(columns, on_a_terminal):
    shown = bars(on_a_terminal(3, columns))
    assert len(shown) > 3
    assert max(map(len, shown)) <= columns
    assert shown[0].startswith("starting ")
    for bar in shown:
        if bar.startswith("starting "):  # drawn again while the first batch takes its time
            continue
        assert re.match(r"epoch \d/3  ", bar)
        assert re.search(r"loss 2\.0000 [━╸╺]{5,} +\d+%", bar)
    assert any("batch" in bar for bar in shown) is (columns >= 80)
    if columns >= 60:
        assert any(re.search(r"0:00:0\d left", bar) for bar in shown)


def test_on_a_narrow_terminal_a_line_is_not_broken(on_a_terminal):
    shown = re.split(r"[\r\n]+", plain(on_a_terminal(3, 40)))
    assert [line.rstrip() for line in shown if line.startswith("epoch 2/3  train")] == [
        "epoch 2/3  train 2.0000  lr 5.00e-01"
    ]


def test_on_a_terminal_a_run_without_end_shows_no_total(on_a_terminal):
    shown = plain(on_a_terminal(0))
    assert re.search(r"epoch 1  train 2\.0000", shown)
    assert re.search(r"epoch 2  batch [1-4]/4  loss 2\.0000 ", shown)
    assert "%" not in shown


def test_no_color_keeps_the_bar_and_leaves_out_colors(on_a_terminal):
    text = on_a_terminal(3, NO_COLOR="1")
    assert bars(text)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", text)


@pytest.mark.parametrize(
    ("before", "variables"),
    [("", {"TERM": "dumb"}), (WITHOUT_RICH, {})],
    ids=["a terminal that cannot move its cursor", "without rich"],
)
def test_elsewhere_a_terminal_gets_plain_lines(before, variables, on_a_terminal):
    text = on_a_terminal(3, before=before, **variables).replace("\r", "")
    assert "\x1b" not in text
    assert not bars(text)
    assert re.findall(r"^epoch (\d)/3  train 2\.0000  lr 5\.00e-01  [\d.]+s$", text, re.MULTILINE) == ["1", "2", "3"]
    assert "\nfired\n  RNN601 plateau (" in text


def test_a_pipe_needs_no_rich_and_forced_colors_change_nothing(run_python):
    done = run_python(WITHOUT_RICH + SCRIPT, "2", FORCE_COLOR="1")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert [line[:9] for line in done.stdout.splitlines()[:2]] == ["epoch 1/2", "epoch 2/2"]


@pytest.mark.parametrize("refresh", [0.0, -1.0, "0.1", math.nan])
def test_options_out_of_range(refresh):
    with pytest.raises(OptionError, match="Progress: refresh: expected a number > 0, got"):
        Progress(refresh=refresh)
