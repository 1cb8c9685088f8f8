"""Figures of a run as SVG that stands in a page: drawn by matplotlib, coloured by the page's style sheet.

Colours are drawn as placeholders, and become variables of the style sheet, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard
from xml.etree import ElementTree

import attrs

from rnncallbacks.errors import PluginError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = ("#040401", "#040402", "#040403", "#040404", "#040405")
SEVERITY = {"error": "#050501", "warning": "#050502", "info": "#050503"}
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)},
    **{colour: f"var(--{severity})" for severity, colour in SEVERITY.items()},
}
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (10, 3)))
"""Beside colours, so that lines can be told apart without them."""
SIZES = {"narrow": (296.0, 180.0), "wide": (700.0, 230.0)}
"""Width and height in pixels: for a telephone, and for all else. What stands above the curves comes on top of it."""
TEXT = 11.0
LINE = 1.3 * TEXT
LETTER = 0.62 * TEXT
"""About the width of a character: of digits and capitals; small letters are narrower."""
ROWS = 3
"""Of labels above the curves; those that find no room in them are left out, their lines are not."""
HUGE = 1e200
LOG_FROM = 30.0
"""Largest over smallest value, from which on a scale is logarithmic."""
DOTS_UP_TO = 40
"""Epochs up to which each is a dot on its line."""


@attrs.frozen
class Mark:
    """Something that happened in an epoch: a short label, and the words that appear when one points at it."""

    epoch: int
    label: str
    words: str
    severity: str


@attrs.frozen(kw_only=True)
class Chart:
    """Curves over epochs: values by epoch for each name, with what happened beside them."""

    name: str
    title: str
    epochs: Sequence[int]
    series: Mapping[str, Sequence[float | None]]
    marks: Sequence[Mark] = ()
    may_be_logarithmic: bool = True

    @property
    def logarithmic(self) -> bool:
        """Whether values differ so much that only a logarithmic scale shows them all."""
        if not self.may_be_logarithmic:
            return False
        finite = [value for values in self.series.values() for value in values if value is not None and _shown(value)]
        return bool(finite) and min(finite) > 0 and max(finite) > LOG_FROM * min(finite)


def draw(chart: Chart, size: str) -> str:
    """A chart as an SVG element, in one of the two sizes.

    Raises
    ------
    PluginError
        matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise PluginError("a report needs matplotlib", hint="pip install 'rnncallbacks[cli]'") from None

    width, height = SIZES[size]
    columns = _legend_columns(chart.series, width)
    labels = placed(chart.marks, _limits(chart), 0.85 * width)  # about what is left of it for the curves
    height += LINE * math.ceil(len(chart.series) / columns) * (len(chart.series) > 1)
    height += LINE * max((label.row + 1 for label in labels if label.row is not None), default=0)
    # The texts stay texts, in the page's own font; and the same run gives the same page.
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"{chart.name}-{size}",
        "font.size": TEXT,
        "text.color": INK,
        "text.parse_math": False,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")
        axes = _plot(figure, chart, ticks=5 if size == "narrow" else 10)
        for label in labels:
            _label(axes, label)
        if len(chart.series) > 1:
            figure.legend(loc="outside upper left", ncols=columns, frameon=False, labelcolor=INK, handlelength=3)
        file = io.BytesIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _for_the_page(file.getvalue(), f"{chart.name}-{size}-", described(chart), labels)


def described(chart: Chart) -> str:
    """The chart in words, for those who do not see it.

    Example
    -------
    >>> described(Chart(name="loss", title="Loss", epochs=[1, 2], series={"train": [2.0, 0.5], "val": [3.0, math.nan]}))
    'Loss by epoch. train: 2 in epoch 1, 0.5 in epoch 2, lowest 0.5. val: 3 in epoch 1, lowest 3, 1 value not finite.'
    """
    parts = [f"{chart.title} by epoch."]
    for name, values in chart.series.items():
        finite = [(epoch, value) for epoch, value in zip(chart.epochs, values, strict=True) if _shown(value)]
        words = [f"{value:.4g} in epoch {epoch}" for epoch, value in dict.fromkeys([*finite[:1], *finite[-1:]])]
        if finite:
            words.append(f"lowest {min(value for _, value in finite):.4g}")
        missing = sum(value is not None and not _shown(value) for value in values)
        words += [f"{missing} value{'s' * (missing > 1)} not finite"] * bool(missing)
        parts.append(f"{name}: {', '.join(words)}.")
    parts += [f"{mark.words}." for mark in chart.marks]
    return " ".join(parts)


def _shown(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and abs(value) < HUGE


@attrs.frozen
class Label:
    """Where the label of the marks of one epoch goes: at a share of the width, in a row, None if there is no room."""

    epoch: float
    text: str
    words: str
    severity: str
    place: float
    row: int | None


def placed(marks: Sequence[Mark], limits: tuple[float, float], width: float) -> list[Label]:
    """A label for each epoch with marks: the worst one's, and how many there are beside it."""
    by_epoch: dict[float, list[Mark]] = {}
    for mark in marks:
        by_epoch.setdefault(min(max(mark.epoch, limits[0]), limits[1]), []).append(mark)
    ends = [-math.inf] * ROWS
    labels = []
    for epoch, these in sorted(by_epoch.items()):
        worst = max(these, key=lambda one: list(SEVERITY)[::-1].index(one.severity))
        text = worst.label + (f" +{len(these) - 1}" if len(these) > 1 else "")
        length = LETTER * len(text)
        begin = width * (epoch - limits[0]) / (limits[1] - limits[0]) - length / 2
        begin = min(max(begin, 0.0), width - length)
        row = next((row for row in range(ROWS) if ends[row] + LETTER < begin), None)
        if row is not None:
            ends[row] = begin + length
        words = "\n".join(one.words for one in these)
        labels.append(Label(epoch, text, words, worst.severity, (begin + length / 2) / width, row))
    return labels


def _limits(chart: Chart) -> tuple[float, float]:
    """The first and the last epoch that are shown, with a little room beside them."""
    epochs = [*chart.epochs, *(mark.epoch for mark in chart.marks if mark.epoch > 0)]
    first, last = min(epochs), max(epochs)
    room = 0.5 if first == last else 0.02 * (last - first)
    return first - room, last + room


def _legend_columns(names: Iterable[str], width: float) -> int:
    """As many entries beside each other as there is room for: a piece of line, a name, and the room between."""
    entry = 4.5 * TEXT + 0.8 * LETTER * max(map(len, names))
    return max(1, int(width / entry))


def _plot(figure: Figure, chart: Chart, ticks: int) -> Axes:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    axes = figure.add_subplot()
    dots = "o" if len(chart.epochs) <= DOTS_UP_TO else ""
    size = 6 if len(chart.epochs) == 1 else 3
    for place, (name, values) in enumerate(chart.series.items()):
        colour, dash = SERIES[place % len(SERIES)], DASHES[(place + place // len(SERIES)) % len(DASHES)]
        shown = [value if _shown(value) else math.nan for value in values]
        # matplotlib leaves names that begin with an underscore out of the legend.
        label = f" {name}" if name.startswith("_") else name
        axes.plot(chart.epochs, shown, marker=dots, color=colour, ls=dash, markersize=size, lw=1.8, label=label)
        gaps = [e for e, value in zip(chart.epochs, values, strict=True) if value is not None and not _shown(value)]
        foot = [0.03] * len(gaps)
        axes.plot(gaps, foot, "x", color=colour, markersize=6, transform=axes.get_xaxis_transform())
    if chart.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.set_xlim(*_limits(chart))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", color=MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED)
    axes.tick_params(which="both", color=MUTED, labelcolor=MUTED)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _label(axes: Axes, label: Label) -> None:
    colour = SEVERITY[label.severity]
    line = axes.axvline(label.epoch, color=colour, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1.5)
    line.set_gid(f"mark-{label.epoch}")
    if label.row is not None:
        axes.annotate(
            label.text,
            (label.place, 1.0),
            xycoords="axes fraction",
            xytext=(0, 3 + LINE * label.row),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=colour,
            annotation_clip=False,
        )


def _for_the_page(svg: bytes, prefix: str, words: str, labels: Iterable[Label]) -> str:
    """The drawing as an element of a page: no names of its own, no fixed size, and colours from the style sheet."""
    titles = {f"mark-{label.epoch}": label.words for label in labels}
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for child in [child for child in element if child.tag.rpartition("}")[2] in ("metadata", "style")]:
            element.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: _restyled(value, prefix) for name, value in element.attrib.items()}
        if "id" in attributes:
            if attributes["id"] in titles:
                title = ElementTree.Element("title")
                title.text = titles[attributes["id"]]
                element.insert(0, title)
            attributes["id"] = prefix + attributes["id"]
        element.attrib.clear()
        element.attrib.update(attributes)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": words}
    return ElementTree.tostring(root, encoding="unicode")


def _restyled(value: str, prefix: str) -> str:
    value = re.sub(r"#(0[1-5]0[1-5]0[1-5])\b", lambda match: VARIABLES.get(match[0], match[0]), value)
    value = re.sub(r"^#(?!0)|(?<=url\()#", f"#{prefix}", value)
    # The font is that of the page.
    return re.sub(r"font: ([\d.]+)px [^;]*|(font-size: [\d.]+px); font-family: [^;]*", _font_size, value)


def _font_size(match: re.Match[str]) -> str:
    return match[2] or f"font-size: {match[1]}px"
