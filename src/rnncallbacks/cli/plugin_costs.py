"""The time of the plugins of a run: a table by plugin and hook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

SHOWN_SECONDS = 0.0005
"""Seconds from which a hook is shown: fewer would be printed as 0.000."""


def plugin_cost_lines(seconds: Mapping[str, Mapping[str, float]], batches: int) -> Iterator[str]:
    """One line for each plugin, the slowest first: its seconds, those of a training batch, and the hooks.

    Example
    -------
    >>> seconds = {"one": {"on_backward": 0.5, "on_fit_end": 1.5}, "other": {"on_alarm": 0.25}}
    >>> for line in plugin_cost_lines(seconds, batches=1000):
    ...     print(line)
    plugin    seconds  us a batch  hooks
    one         2.000        2000  on_fit_end 1.500, on_backward 0.500
    other       0.250         250  on_alarm 0.250
    """
    totals = {name: sum(hooks.values()) for name, hooks in seconds.items()}
    width = max([len("plugin"), *map(len, totals)]) + 2
    yield f"{'plugin':<{width}}{'seconds':>9}{'us a batch':>12}  hooks"
    for name in sorted(totals, key=lambda one: -totals[one]):
        hooks = sorted(seconds[name].items(), key=lambda one: -one[1])
        each = 1e6 * totals[name] / batches if batches else 0.0
        shown = ", ".join(f"{hook} {spent:.3f}" for hook, spent in hooks if spent >= SHOWN_SECONDS)
        yield f"{name:<{width}}{totals[name]:>9.3f}{each:>12.0f}  {shown}"
