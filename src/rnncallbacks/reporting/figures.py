"""Charts of a run as SVG elements of a page: drawn by matplotlib, colored by the page's style sheet.

matplotlib draws with placeholder colors. They are replaced by variables of the style sheet, so one drawing serves the
light and the dark page.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import attrs

from rnncallbacks.errors import PluginError
from rnncallbacks.reporting.mark_labels import CHARACTER_WIDTH, FONT_SIZE, Mark, MarkLabel, place_labels
from rnncallbacks.reporting.svg import INK, MUTED, RULE, SERIES, SEVERITY_COLORS, page_element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (10, 3)))
"""Dash patterns of the lines, so that they differ without colors."""
CHART_SIZES = {"narrow": (296.0, 180.0), "wide": (700.0, 230.0)}
"""Width and height in pixels, for telephones and for wider screens. Legend and labels come on top of the height."""
X_TICKS = {"narrow": 5, "wide": 10}
"""Largest number of intervals between the ticks of the axis of epochs or batches."""
PLOT_SHARE = 0.85
"""Approximate share of the chart's width that the plot takes; the labels of the loss axis take the rest."""
LINE_HEIGHT = 1.3 * FONT_SIZE
"""Height of a line of text, in pixels."""
AXIS_MARGIN = 0.02
"""Space before the first and after the last epoch or batch, as a share of the range between them."""
PADDING = 4.0
"""Distance in pixels between texts and what is next to them: the edge of the chart, and the lines of ticks."""
TICK_LENGTH = 3.5
"""Length of the ticks of the axis of epochs or batches, in pixels."""
LEGEND_LINE_HEIGHT = 1.5 * LINE_HEIGHT
"""Height of a line of the legend and of the space below it, in pixels."""
LARGEST_DRAWN_VALUE = 1e200
"""Magnitude from which values are treated as not finite: matplotlib overflows when it scales larger ones."""
LOGARITHMIC_RATIO = 30.0
"""Ratio of the largest value to the smallest above which the scale is logarithmic. Chosen by eye."""
MOST_DOTS = 40
"""Number of epochs or batches up to which each is a dot on its line. Chosen by eye."""


@attrs.frozen(kw_only=True)
class Chart:
    """Curves over epochs or batches: the values of each series, one for each of them, and marks of events.

    ``unit`` is "epoch" or "batch", and ``positions`` are the numbers of the epochs or batches. A value is None where
    there is none. ``allow_logarithmic=False`` keeps the scale linear.
    """

    name: str
    title: str
    positions: Sequence[int]
    series: Mapping[str, Sequence[float | None]]
    marks: Sequence[Mark] = ()
    allow_logarithmic: bool = True
    unit: str = "epoch"

    @property
    def is_logarithmic(self) -> bool:
        """Whether the scale is logarithmic: all values are positive, and they differ by a large factor."""
        if not self.allow_logarithmic:
            return False
        drawn = [value for values in self.series.values() for value in values if _is_drawn(value)]
        return bool(drawn) and min(drawn) > 0 and max(drawn) > LOGARITHMIC_RATIO * min(drawn)

    @property
    def has_gaps(self) -> bool:
        """Whether a value of the history is not finite."""
        return any(_is_gap(value) for values in self.series.values() for value in values)


def draw_chart(chart: Chart, size: str) -> str:
    """The chart as an SVG element, in the size "narrow" or "wide".

    Raises
    ------
    PluginError
        matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise PluginError("a report needs matplotlib", hint="pip install 'rnncallbacks[plot]'") from None

    width, height = CHART_SIZES[size]
    labels = place_labels(chart.marks, _limits(chart), PLOT_SHARE * width)
    legend_columns = _legend_columns(chart.series, width)
    legend_lines = math.ceil(len(chart.series) / legend_columns) if len(chart.series) > 1 else 0
    label_lines = max((label.row + 1 for label in labels if label.row is not None), default=0)
    top = PADDING + LEGEND_LINE_HEIGHT * legend_lines + LINE_HEIGHT * label_lines
    height += top
    settings: Any = {
        "svg.fonttype": "none",  # text stays text, in the font of the page
        "svg.hashsalt": f"{chart.name}-{size}",  # the same run gives the same page
        "font.size": FONT_SIZE,
        "text.color": INK,
        "text.parse_math": False,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")
        axes = _plot(figure, chart, X_TICKS[size])
        _set_margins(axes, width, height, top)
        for label in labels:
            _draw_label(axes, label)
        if legend_lines:
            figure.legend(
                loc="upper left",
                ncols=legend_columns,
                frameon=False,
                labelcolor=INK,
                handlelength=3,
                borderpad=0,
                borderaxespad=PADDING / FONT_SIZE,
            )
        file = io.BytesIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(file, metadata=no_metadata)  # savefig would draw the figure twice
    titles = {_mark_id(label): label.words for label in labels}
    return page_element(file.getvalue(), f"{chart.name}-{size}-", describe_chart(chart), titles)


def describe_chart(chart: Chart) -> str:
    """The chart in words, for screen readers.

    Example
    -------
    >>> series = {"train": [2.0, 0.5], "val": [3.0, math.nan]}
    >>> describe_chart(Chart(name="loss", title="Loss", positions=[1, 2], series=series))
    'Loss by epoch. train: 2 in epoch 1, 0.5 in epoch 2, lowest 0.5. val: 3 in epoch 1, lowest 3, 1 value not finite.'
    """
    parts = [f"{chart.title} by {chart.unit}."]
    for name, values in chart.series.items():
        drawn = [(place, value) for place, value in zip(chart.positions, values, strict=True) if _is_drawn(value)]
        first_and_last = dict.fromkeys([*drawn[:1], *drawn[-1:]])
        words = [f"{value:.4g} in {chart.unit} {place}" for place, value in first_and_last]
        if drawn:
            words.append(f"lowest {min(value for _, value in drawn):.4g}")
        gaps = sum(_is_gap(value) for value in values)
        words += [f"{gaps} value{'s' * (gaps > 1)} not finite"] * bool(gaps)
        parts.append(f"{name}: {', '.join(words)}.")
    parts += [f"{mark.words}." for mark in chart.marks]
    return " ".join(parts)


def _is_drawn(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and abs(value) < LARGEST_DRAWN_VALUE


def _is_gap(value: float | None) -> bool:
    return value is not None and not _is_drawn(value)


def _limits(chart: Chart) -> tuple[float, float]:
    """The limits of the axis of epochs or batches: the first and last with a value or a mark, and a margin."""
    places = [*chart.positions, *(mark.position for mark in chart.marks if mark.position > 0)]
    first, last = min(places), max(places)
    margin = 0.5 if first == last else AXIS_MARGIN * (last - first)
    return first - margin, last + margin


def _legend_columns(names: Mapping[str, object], width: float) -> int:
    """The number of legend entries that fit side by side: each is a piece of line, a name, and the space between."""
    entry_width = 4.5 * FONT_SIZE + 0.8 * CHARACTER_WIDTH * max(map(len, names))
    return max(1, int(width / entry_width))


def _plot(figure: Figure, chart: Chart, x_ticks: int) -> Axes:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    axes = figure.add_subplot(facecolor="none")
    for place, (name, values) in enumerate(chart.series.items()):
        _plot_series(axes, chart.positions, place, name, values)
    if chart.is_logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.set_xlim(*_limits(chart))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=x_ticks, integer=True, min_n_ticks=1))
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.set_xlabel(chart.unit, color=MUTED, labelpad=2)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED)
    axes.tick_params(which="both", color=MUTED, labelcolor=MUTED, pad=PADDING)
    axes.tick_params(axis="x", which="major", length=TICK_LENGTH)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _set_margins(axes: Axes, width: float, height: float, top: float) -> None:
    """Leave room for the labels of both axes. matplotlib's own layouts draw the chart once more to measure its texts.

    The fonts of matplotlib and of the page differ, so that the number of characters tells the width as well.
    """
    bottom = TICK_LENGTH + 2 * PADDING + 2 * LINE_HEIGHT  # a line for the ticks, and one for the unit
    axes.set_position((0.0, bottom / height, 1.0, (height - bottom - top) / height))
    lowest, highest = axes.get_ylim()
    widths = [CHARACTER_WIDTH * len(f"{tick:.4g}") for tick in axes.get_yticks() if lowest <= tick <= highest]
    left = 2 * PADDING + max(widths, default=0.0)
    half_a_label = 0.5 * CHARACTER_WIDTH * len(f"{axes.get_xlim()[1]:.0f}")
    right = max(PADDING, half_a_label - AXIS_MARGIN * width)
    axes.set_position((left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height))


def _plot_series(axes: Axes, positions: Sequence[int], place: int, name: str, values: Sequence[float | None]) -> None:
    """One line, with a cross at the foot of the chart for each value that is not finite."""
    color = SERIES[place % len(SERIES)]
    dash = DASHES[(place + place // len(SERIES)) % len(DASHES)]
    marker = "o" if len(positions) <= MOST_DOTS else ""
    marker_size = 6 if len(positions) == 1 else 3
    drawn = [value if _is_drawn(value) else math.nan for value in values]
    # matplotlib leaves names that begin with an underscore out of the legend.
    label = f" {name}" if name.startswith("_") else name
    axes.plot(positions, drawn, marker=marker, color=color, ls=dash, markersize=marker_size, lw=1.8, label=label)
    gaps = [position for position, value in zip(positions, values, strict=True) if _is_gap(value)]
    foot = [0.03] * len(gaps)
    axes.plot(gaps, foot, "x", color=color, markersize=6, transform=axes.get_xaxis_transform())


def _draw_label(axes: Axes, label: MarkLabel) -> None:
    color = SEVERITY_COLORS[label.severity]
    line = axes.axvline(label.position, color=color, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1.5)
    line.set_gid(_mark_id(label))
    if label.row is not None:
        axes.annotate(
            label.text,
            (label.center, 1.0),
            xycoords="axes fraction",
            xytext=(0, 3 + LINE_HEIGHT * label.row),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=color,
            annotation_clip=False,
        )


def _mark_id(label: MarkLabel) -> str:
    return f"mark-{label.position}"
