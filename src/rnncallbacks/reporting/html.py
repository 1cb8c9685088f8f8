"""The report of a run as an HTML page: one file without external resources."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.alarms.catalogue import SEVERITIES
from rnncallbacks.alarms.registered_codes import cause_of
from rnncallbacks.alarms.verdict import counted
from rnncallbacks.reporting.figures import Chart, draw_chart
from rnncallbacks.reporting.run_charts import epoch_charts, run_charts
from rnncallbacks.reporting.run_folder import RunFolder

SEVERITY_NAMES = {"error": "error", "warning": "warning", "info": "note"}
CAUSES_IN_VERDICT = 3
"""Number of causes that the head of the page names; it counts the others."""


def report_page(run: RunFolder) -> str:
    """The whole page as HTML.

    Raises
    ------
    PluginError
        matplotlib is not installed.
    """
    name = run.path.resolve().name or "run"
    parts = [
        f'<p class="kicker">rnncallbacks: report on a run</p><h1>{escape(name)}</h1>',
        _verdict(run),
        _facts(run),
        _section("What was found", [_alarm(run, cause) for cause in _notes_last(run.diagnosis.causes)]),
        _section("Curves", [_figure(chart) for chart in run_charts(run)] or [_nothing_to_draw(run)]),
        _section("Repairs", [_repairs(run)] if run.diagnosis.repairs else []),
        _section("Checks", [_checks(run)]),
        _section("Configuration", [_configuration(run)]),
    ]
    style = files(__package__).joinpath("report.css").read_text("utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}: report on a run</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


# The head of the page ---------------------------------------------------------------------------------------------


def _verdict(run: RunFolder) -> str:
    found = run.diagnosis
    serious = [cause for cause in found.causes if cause.severity != "info"]
    if serious:
        kind: str = max((cause.severity for cause in serious), key=SEVERITIES.index)
        named = "; ".join(f"{cause.code} {cause.cause}" for cause in serious[:CAUSES_IN_VERDICT])
        named += f"; and {len(serious) - CAUSES_IN_VERDICT} more" if len(serious) > CAUSES_IN_VERDICT else ""
        text = f"{counted(len(serious), 'cause')} found: {named}"
    elif found.passed or found.alarms:
        notes = f", {counted(len(found.alarms), 'note')}" if found.alarms else ""
        kind, text = (
            "good" if run.error is None else "info",
            f"No cause was found: {counted(len(found.passed), 'check')} passed{notes}",
        )
    else:
        kind, text = "info", "Nothing was checked, and nothing was found"
    lines = [f"Stopped: {run.stop_reason}"] if run.stop_reason is not None else []
    lines += [run.error] if run.error is not None else []
    if not run.ended:
        lines.append(
            "This run has not ended, or it was killed: the alarms so far are shown, and the checks are not known."
        )
    return (
        f'<div class="card verdict {kind}">{escape(text)}.{"".join(f"<p>{escape(line)}</p>" for line in lines)}</div>'
    )


def _facts(run: RunFolder) -> str:
    """The numbers of the last epoch."""
    facts = [("epochs", str(len(run.rows)), "")]
    for chart in epoch_charts(run):
        last = {label: _last(values) for label, values in chart.series.items()}
        if chart.name == "loss":
            facts += [(f"loss: {label}", value, _lowest(chart, label)) for label, value in last.items()]
        elif chart.name == "rate":
            facts.append(("learning rate", last["learning rate"], ""))
        elif chart.name != "norm":
            labels = {label: label if label == chart.title else f"{chart.title}: {label}" for label in last}
            facts += [(labels[label], value, "") for label, value in last.items()]
        else:
            value, *more = last.values()
            facts.append(("gradient norm", value, f"{more[0]} after clipping" if more else ""))
    entries = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)} <small>{escape(more)}</small></dd></div>"
        for name, value, more in facts
    )
    return f'<dl class="card facts">{entries}</dl>'


def _last(values: Sequence[float | None]) -> str:
    return f"{next(value for value in reversed(values) if value is not None):.4g}"


def _lowest(chart: Chart, label: str) -> str:
    pairs = zip(chart.series[label], chart.positions, strict=True)
    finite = [(value, epoch) for value, epoch in pairs if value is not None and math.isfinite(value)]
    return "lowest {:.4g} in epoch {}".format(*min(finite)) if finite else ""


# Findings ---------------------------------------------------------------------------------------------------------


def _alarm(run: RunFolder, alarm: Alarm) -> str:
    consequences = run.diagnosis.consequences(alarm)
    items = "".join(
        f"<li>{_chip(one)}<strong>{escape(one.code)}</strong> {escape(one.cause)}: {escape(one.message)} "
        f'<span class="where">({"; ".join([_where(one), *_numbers(one)])})</span></li>'
        for one in consequences
    )
    return (
        f'<article class="card alarm {alarm.severity}"><h3>{_chip(alarm)}{escape(alarm.code)} '
        f'{escape(alarm.cause)}</h3><p>{escape(alarm.message)}</p><p class="where">{_where(alarm)}</p>'
        f'{_evidence(alarm)}<p class="remedy"><strong>What to do:</strong> {escape(alarm.remedy)}</p>'
        + (
            f'<p class="note">To read more: <code>rnncallbacks explain {alarm.code}</code></p>'
            * bool(cause_of(alarm.code))
        )
        + (f'<p>Consequences:</p><ul class="consequences">{items}</ul>' if items else "")
        + "</article>"
    )


def _notes_last(alarms: list[Alarm]) -> list[Alarm]:
    return sorted(alarms, key=lambda one: one.severity == "info")


def _chip(alarm: Alarm) -> str:
    return f'<span class="chip {alarm.severity}">{SEVERITY_NAMES[alarm.severity]}</span>'


def _where(alarm: Alarm) -> str:
    times = f", {alarm.count} times" if alarm.count > 1 else ""
    return f"epoch {alarm.epoch}, step {alarm.step}{times}"


def _evidence(alarm: Alarm) -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(_value(value))}</dd></div>" for name, value in alarm.evidence.items()
    )
    return f'<dl class="evidence">{rows}</dl>' if rows else ""


def _numbers(alarm: Alarm) -> list[str]:
    return [f"{escape(name)} {escape(_value(value))}" for name, value in alarm.evidence.items()]


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# Curves, checks and the rest --------------------------------------------------------------------------------------


def _figure(chart: Chart) -> str:
    notes = ["The scale is logarithmic."] * chart.is_logarithmic
    notes += [f"A cross marks {_one(chart.unit)} whose value is not finite."] * chart.has_gaps
    caption = f"<figcaption>{' '.join(notes)}</figcaption>" if notes else ""
    drawings = "".join(f'<div class="{size}">{draw_chart(chart, size)}</div>' for size in ("narrow", "wide"))
    return f'<figure class="card"><h3>{escape(chart.title)}</h3>{drawings}{caption}</figure>'


def _one(unit: str) -> str:
    return {"epoch": "an epoch", "batch": "a batch"}[unit]


def _nothing_to_draw(run: RunFolder) -> str:
    why = "the history has no losses, learning rates or gradient norms" if run.rows else "no epoch has ended"
    return f'<p class="card">There is nothing to draw: {why}.</p>'


def _repairs(run: RunFolder) -> str:
    items = "".join(
        f'<li><span class="code">{escape(one.code)}</span>{escape(one.what)} '
        f'<span class="why">epoch {one.epoch}, step {one.step}</span></li>'
        for one in run.diagnosis.repairs
    )
    return f'<div class="card"><ul class="checks">{items}</ul></div>'


def _checks(run: RunFolder) -> str:
    reasons = run.diagnosis.not_checked
    passed = _with_reasons(run.diagnosis.passed)
    cannot_tell = _with_reasons(run.diagnosis.cannot_tell)
    # One line added to a script often enables several checks, so checks that lack the same evidence are grouped.
    missing = [
        f"<li>{escape(why)}" + "".join(f'<span class="why">{_code(code)}</span>' for code in codes) + "</li>"
        for why in dict.fromkeys(reasons.values())
        if (codes := [code for code, reason in reasons.items() if reason == why])
    ]
    lists = [
        _check_list("passed", "good", passed),
        _check_list("cannot tell", "", cannot_tell),
        _check_list("not checked", "", missing),
    ]
    if not any(lists):
        return '<p class="card">No check was made: the run has no guards, or it has not ended.</p>'
    return f'<div class="columns">{"".join(lists)}</div>'


def _with_reasons(results: Mapping[str, str]) -> list[str]:
    return [f'<li>{_code(code)}<span class="why">{escape(text)}</span></li>' for code, text in results.items()]


def _code(code: str) -> str:
    return f'<span class="code">{escape(code)}</span>{escape(cause_of(code))}'


def _check_list(title: str, kind: str, items: list[str]) -> str:
    if not items:
        return ""
    chip = f'<h3><span class="chip {kind}">{title}</span></h3>'
    return f'<div class="card">{chip}<ul class="checks">{"".join(items)}</ul></div>'


def _configuration(run: RunFolder) -> str:
    if run.configuration is None:
        return '<p class="card">The folder holds no <code>config.toml</code>.</p>'
    return (
        '<details class="card"><summary>config.toml</summary>'
        f"<pre><code>{escape(run.configuration)}</code></pre></details>"
    )


def _section(title: str, parts: list[str]) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>\n" if parts else ""
