"""The page of a run: everything is in it, nothing comes from elsewhere, and no text of a run is taken for HTML."""

import json
import math
import re
from html.parser import HTMLParser

import pytest

from rnncallbacks.alarms.catalogue import CATALOGUE
from rnncallbacks.alarms.diagnosis_content import Repair
from rnncallbacks.core.run import Run
from rnncallbacks.plugins import HistoryLog
from rnncallbacks.reporting import html
from rnncallbacks.reporting.figures import draw_chart
from rnncallbacks.reporting.html import report_page
from rnncallbacks.reporting.run_charts import run_charts
from rnncallbacks.reporting.run_folder import read_run

VOID = {"meta", "br", "hr", "img", "input", "link"}
NASTY = "</p><script>alert(1)</script> & \"quotes\" 'too' </style> <b>"


class Reader(HTMLParser):
    """Checks that elements are closed in order, and keeps tags, names and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.text += " "
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " "

    def handle_data(self, data):
        self.text += data


@pytest.fixture(autouse=True, scope="module")
def drawn_once():
    """Charts of the same curves, which take most of a page's time, are drawn once for all tests of this module."""
    drawn: dict[str, str] = {}

    def draw(chart, size):
        asked = repr((chart, size))
        if asked not in drawn:
            drawn[asked] = draw_chart(chart, size)
        return drawn[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "draw_chart", draw)
        yield


@pytest.fixture
def without_charts(monkeypatch):
    """For tests of the text around the charts."""
    monkeypatch.setattr(html, "draw_chart", lambda chart, size: "<svg></svg>")


def read(folder) -> Reader:
    return Reader(report_page(read_run(folder)))


def flat(reader: Reader) -> str:
    return " ".join(reader.text.split())


def test_a_healthy_run(make_folder):
    folder = make_folder([2.0, 1.5, 1.25], val=[2.5, 2.0, 1.75])
    (folder / "config.toml").write_text('[plugins.acme]\nnote = "<b>"\n')
    reader = read(folder)
    said = flat(reader)
    assert "run No cause was found: 1 check passed." in said
    assert "loss: train 1.25 lowest 1.25 in epoch 3" in said
    assert "loss: val 1.75 lowest 1.75 in epoch 3" in said
    assert "learning rate 0.5" in said
    assert "gradient norm 4 1 after clipping" in said
    assert "passed RNN201 the hidden state leaks between unrelated sequences" in said
    assert "not checked pass closure= to run.backward RNN404 the gradient does not match the loss" in said
    assert 'note = "<b>"' in said
    assert "What was found" not in said
    assert reader.tags.count("svg") == 6  # three charts in two sizes each


@pytest.mark.usefixtures("without_charts")
def test_what_fired_with_evidence_remedy_and_consequences(make_folder):
    folder = make_folder(
        [2.0, 9.0, 9.0],
        alarms=[
            ("RNN602", 1, "it rose", {"evidence": {"smoothed": 9.123456789, "lowest": math.nan}}),
            ("RNN602", 2, "it rose again", {}),
            ("RNN501", 2, "the updates overshot", {"evidence": {"share": 0.5}}),
        ],
    )
    said = flat(read(folder))
    assert "1 cause found: RNN501 the learning rate is too high." in said
    assert (
        "error RNN501 the learning rate is too high the updates overshot epoch 2, step 2 share 0.5 What to do:" in said
    )
    assert CATALOGUE["RNN501"].remedy in said
    assert "rnncallbacks explain RNN501" in said
    head, _, consequences = said.partition("Consequences:")
    assert "RNN602" not in head
    assert "RNN602 divergence: it rose (epoch 1, step 1, 2 times; smoothed 9.12346; lowest NaN)" in consequences


def test_alarms_are_marked_where_they_fired(make_folder):
    folder = make_folder([2.0, 9.0, 9.0], alarms=[("RNN602", 2, "it rose", {})])
    text = report_page(read_run(folder))
    assert text.count("<title>RNN602 divergence, epoch 2</title>") == 6
    assert all(chart.marks[0].position == 2 for chart in run_charts(read_run(folder)))


def test_repairs_and_why_it_stopped(make_folder):
    folder = make_folder([2.0, 2.0], alarms=[("RNN601", 1, "flat", {"action": "stop"})])
    run = read_run(folder)
    run.diagnosis.repairs.append(Repair(code="RNN501", what="learning rate x 0.5", epoch=1, step=1))
    said = flat(Reader(report_page(run)))
    assert "Stopped: RNN601 flat" in said
    assert "Repairs RNN501 learning rate x 0.5 epoch 1, step 1" in said
    assert "repaired RNN501: learning rate x 0.5" in report_page(run)


def test_no_text_of_a_run_becomes_html(make_folder):
    folder = make_folder(
        [2.0],
        alarms=[
            ("ACME1", 1, NASTY, {"cause": NASTY, "remedy": NASTY, "severity": "error", "evidence": {NASTY: NASTY}})
        ],
        folder="<b>run</b>",
    )
    (folder / "config.toml").write_text(f"# {NASTY}\n")
    diagnosis = json.loads((folder / "diagnosis.json").read_text())
    diagnosis["not_checked"] = {NASTY: NASTY}
    diagnosis["stop_reason"] = NASTY
    (folder / "diagnosis.json").write_text(json.dumps(diagnosis))
    reader = read(folder)
    assert "script" not in reader.tags
    assert "b" not in reader.tags
    assert flat(reader).count(" ".join(NASTY.split())) >= 8


ODD = "\x1b[2J \x00 \uffff \ud800"


def test_characters_that_a_page_cannot_hold_are_escaped(make_folder, caplog):
    caplog.set_level("CRITICAL", logger="rnncallbacks")  # what is captured goes to pytest-xdist, which cannot encode it
    folder = make_folder([2.0, 1.0], alarms=[("ACME1", 1, ODD, {"cause": ODD, "remedy": ODD, "severity": "error"})])
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    lines = [json.dumps(row | {f"odd_loss {ODD}": 1.0, "big_loss": 10**400}) + "\n" for row in rows]
    (folder / "history.jsonl").write_text("".join(lines))
    page = report_page(read_run(folder))
    page.encode("utf-8")
    assert r"\x1b[2J \x00 \uffff \ud800" in page
    assert not set(page) & set("\x1b\x00\uffff")


def test_nothing_comes_from_elsewhere(make_folder):
    text = report_page(read_run(make_folder([2.0, 1.0], val=[2.0, 1.0], alarms=[("RNN602", 1, "rose", {})])))
    assert "://" not in text
    assert not re.search(r"<(script|link|img|iframe)|@import|url\((?!#)", text)


def test_light_and_dark_and_narrow_and_wide(make_folder):
    text = report_page(read_run(make_folder([2.0, 1.0])))
    light, _, dark = text.partition("@media (prefers-color-scheme: dark)")
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    assert used
    for rules in (light, dark.partition("}\n}")[0]):
        assert used <= set(re.findall(r"--([\w-]+): #", rules))
    assert 'name="viewport" content="width=device-width' in text
    assert text.count('<div class="narrow">') == text.count('<div class="wide">') == 3


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2: 4.5 is enough for text, 3 for lines."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colors_can_be_read_by_day_and_by_night(make_folder):
    light, _, dark = report_page(read_run(make_folder([2.0, 1.0]))).partition("@media (prefers-color-scheme: dark)")
    for rules in (light, dark.partition("}\n}")[0]):
        colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", rules))
        for name in ("ink", "muted", "error", "warning", "info", "good"):
            assert contrast(colors[name], colors["card"]) >= 4.5, name
            assert contrast(colors[name], colors["page"]) >= 4.5, name
        for name in ("error", "warning", "info", "good"):
            assert contrast(colors[name], colors[f"{name}-soft"]) >= 4.5, name
        for number in range(1, 6):
            assert contrast(colors[f"series-{number}"], colors["card"]) >= 3, number


@pytest.mark.usefixtures("without_charts")
def test_notes_are_counted_beside_passed_checks(make_folder):
    said = flat(read(make_folder([2.0], alarms=[("RNN402", 1, "they vanish", {})])))
    assert "No cause was found: 1 check passed, 1 note." in said
    assert "note RNN402" in said


def test_a_run_without_an_epoch(make_folder):
    said = flat(read(make_folder([], guarded=False)))
    assert "There is nothing to draw: no epoch has ended." in said
    assert "Nothing was checked, and nothing was found." in said
    assert "No check was made" in said
    assert "The folder holds no config.toml" in said


@pytest.mark.usefixtures("without_charts")
def test_a_run_that_has_not_ended(make_folder):
    folder = make_folder([2.0], alarms=[("RNN602", 1, "rose", {})])
    (folder / "diagnosis.json").unlink()
    said = flat(read(folder))
    assert "This run has not ended, or it was killed" in said
    assert "1 cause found: RNN602 divergence." in said


def test_a_run_that_failed_or_was_interrupted_says_so(tmp_path):
    for error, says in ((ValueError("no data"), "Failed: ValueError: no data"), (KeyboardInterrupt(), "Interrupted: ")):
        folder = tmp_path / type(error).__name__
        run = Run(plugins=[HistoryLog(folder)])
        run.__enter__()
        next(iter(run.epochs(1)))
        run.__exit__(type(error), error, None)
        assert says in flat(read(folder))


def test_losses_come_by_phase_the_training_first(make_folder):
    folder = make_folder([2.0, math.inf], val=[1.0, math.nan])
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    rows = [row | {"a_loss": 3.0, "logged_train_loss": 4.0, "note_loss": "a word", "accuracy": 0.5} for row in rows]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = read_run(folder)
    assert list(run_charts(run)[0].series) == ["train", "val", "a", "train, as logged"]
    said = flat(Reader(report_page(run)))
    assert "loss: train inf lowest 2 in epoch 1" in said
    assert "A cross marks an epoch whose value is not finite." in said


def test_a_run_without_validation_clipping_or_a_rate(make_folder):
    folder = make_folder([2.0], clipped=False)
    (folder / "history.jsonl").write_text('{"epoch": 1, "train_loss": 2.0}\n')
    run = read_run(folder)
    assert [list(chart.series) for chart in run_charts(run)] == [["train"]]
    assert "val" not in flat(Reader(report_page(run)))


@pytest.mark.parametrize("count", [1, 24])
def test_dozens_of_alarms_and_hundreds_of_epochs(make_folder, count):
    codes = sorted(CATALOGUE)[:count]
    alarms = [(code, 1 + 7 * place, "found", {}) for place, code in enumerate(codes)]
    reader = read(make_folder([1.0 + 1.0 / (1 + n) for n in range(300)], alarms=alarms))
    assert all(code in reader.text for code in codes)
    assert len(reader.ids) == len(set(reader.ids))
