"""Charts: what is drawn, in whose colors, and where labels find room."""

import math
import re
import sys
from xml.etree import ElementTree

import pytest

from rnncallbacks.errors import PluginError
from rnncallbacks.reporting.figures import Chart, describe_chart, draw_chart
from rnncallbacks.reporting.mark_labels import Mark
from rnncallbacks.reporting.svg import STYLE_VARIABLES

LOSS = Chart(
    name="loss",
    title="Loss",
    positions=[1, 2, 3],
    series={"train": [3.0, 2.0, 1.5], "val": [3.5, math.nan, 2.0]},
    marks=[Mark(2, "RNN602", "RNN602 divergence, epoch 2", "error")],
)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("text")]


def changed(**changes):
    import attrs

    return attrs.evolve(LOSS, **changes)


@pytest.mark.parametrize("size", ["narrow", "wide"])
def test_a_chart_stands_in_a_page_without_anything_from_elsewhere(size):
    svg = draw_chart(LOSS, size)
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg"
    assert {"train", "val", "RNN602", "epoch", "1", "2", "3"} <= set(texts(svg))
    assert "http" not in svg
    assert "<metadata" not in svg
    assert not {"width", "height"} & set(root.attrib)
    assert root.attrib["viewBox"].split()[2] == {"narrow": "296", "wide": "700"}[size]


def test_colors_are_those_of_the_style_sheet():
    svg = draw_chart(LOSS, "wide")
    assert not set(STYLE_VARIABLES) & set(re.findall(r"#[0-9a-f]{6}", svg))
    assert {"var(--series-1)", "var(--series-2)", "var(--error)", "var(--muted)", "var(--rule)", "var(--ink)"} <= set(
        re.findall(r"var\(--[\w-]+\)", svg)
    )
    # No color of matplotlib's own is left: it would be the same by day and by night.
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", svg)) <= {"none", *STYLE_VARIABLES.values()}


def test_names_differ_between_drawings_and_every_reference_is_met():
    drawings = [draw_chart(chart, size) for chart in (LOSS, changed(name="rate")) for size in ("narrow", "wide")]
    names = [name for svg in drawings for name in re.findall(r' id="([^"]+)"', svg)]
    assert len(names) == len(set(names))
    for svg in drawings:
        used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
        assert used
        assert {one or other for one, other in used} <= set(names)


def test_the_same_chart_is_the_same_drawing():
    assert draw_chart(LOSS, "narrow") == draw_chart(LOSS, "narrow")


def test_words_for_those_who_do_not_see_it():
    assert describe_chart(LOSS) == (
        "Loss by epoch. train: 3 in epoch 1, 1.5 in epoch 3, lowest 1.5. "
        "val: 3.5 in epoch 1, 2 in epoch 3, lowest 2, 1 value not finite. RNN602 divergence, epoch 2."
    )
    root = ElementTree.fromstring(draw_chart(LOSS, "wide"))
    assert (root.attrib["role"], root.attrib["aria-label"]) == ("img", describe_chart(LOSS))
    assert [title.text for title in root.iter("title")] == ["RNN602 divergence, epoch 2"]


def test_what_is_not_finite_is_a_cross_and_a_gap():
    def crosses(chart):
        return draw_chart(chart, "wide").count("<use")

    whole = changed(series={"train": [3.0, 2.0, 1.5], "val": [3.5, 3.0, 2.0]})
    missing = changed(series={"train": [3.0, 2.0, 1.5], "val": [3.5, None, 2.0]})
    # The dot of the value becomes a cross; a value that is not there becomes nothing.
    assert crosses(LOSS) == crosses(whole) == crosses(missing) + 1
    assert describe_chart(missing).count("not finite") == 0


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([1.0, 29.0], False),
        ([1.0, 31.0], True),
        ([0.0, 31.0], False),
        ([-1.0, 31.0], False),
        ([math.inf, 2.0], False),
        ([math.nan, math.nan], False),
        ([None, None], False),
    ],
)
def test_a_logarithmic_scale_where_values_differ_much(values, logarithmic):
    chart = changed(positions=[1, 2], series={"train": values})
    assert chart.is_logarithmic is logarithmic
    assert not changed(positions=[1, 2], series={"train": values}, allow_logarithmic=False).is_logarithmic
    draw_chart(chart, "narrow")


@pytest.mark.parametrize(
    ("epochs", "values"),
    [
        ([1], [2.0]),
        ([7], [math.nan]),
        ([1, 2], [math.inf, -math.inf]),
        ([1, 2, 3], [1e300, 1e-300, 0.0]),
        (list(range(1, 601)), [1.0 / epoch for epoch in range(1, 601)]),
        ([5, 6], [1.0, 1.0]),
    ],
)
def test_every_history_can_be_drawn(epochs, values):
    svg = draw_chart(changed(positions=epochs, series={"train": values}), "wide")
    assert "epoch" in texts(svg)


def test_ticks_are_whole_numbers_of_epochs_and_texts_begin_within_the_chart():
    values = [-1.2345e-5, -1.2346e-5, -1.2347e-5]
    chart = changed(positions=[99998, 99999, 100000], series={"train": values}, marks=())
    root = ElementTree.fromstring(draw_chart(chart, "narrow"))
    assert {"99998", "99999", "100000"} <= {element.text for element in root.iter("text")}
    for element in root.iter("text"):
        if "text-anchor: end" in element.attrib["style"]:
            assert 0.6 * 11 * len(element.text) < float(element.attrib["x"])


def test_names_are_never_formulas():
    chart = changed(series={"_own": [1.0, 2.0, 3.0], "a$^$b": [2.0, 3.0, 4.0]}, marks=[Mark(1, "A$\\x$", "w", "info")])
    assert {" _own", "a$^$b", "A$\\x$"} <= set(texts(draw_chart(chart, "wide")))


def test_many_series_can_be_told_apart_without_color():
    chart = changed(series={f"phase{n}": [1.0 + n, 2.0, 3.0] for n in range(7)})
    svg = draw_chart(chart, "wide")
    lines = re.findall(r'clip-path="[^"]+" style="(fill: none; [^"]*var\(--series-\d\)[^"]*)"', svg)
    assert len(lines) == len(set(lines)) == 7


def test_without_matplotlib_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PluginError, match=r"a report needs matplotlib") as failed:
        draw_chart(LOSS, "wide")
    assert "rnncallbacks[plot]" in str(failed.value)


def test_a_label_without_room_leaves_its_line():
    crowded = [Mark(epoch, "RNN602", f"mark {epoch}", "error") for epoch in range(1, 40)]
    chart = changed(positions=list(range(1, 41)), series={"train": [1.0] * 40}, marks=crowded)
    svg = draw_chart(chart, "narrow")
    assert texts(svg).count("RNN602") < 39
    assert svg.count("<title>mark ") == 39


def test_an_alarm_before_the_first_epoch_stands_at_the_edge():
    chart = changed(marks=[Mark(0, "RNN701", "before", "error"), Mark(9, "RNN602", "after the last row", "error")])
    assert {"RNN701", "RNN602", "9"} <= set(texts(draw_chart(chart, "wide")))
