"""What the benchmark is to show: the goals that were set beforehand."""

from __future__ import annotations

STEP = {
    ("vanilla", "torch"): (1.5, 2.0),
    ("vanilla", "jax"): (1.3, 1.4),
    ("lstm", "torch"): (1.0, 1.3),
    ("lstm", "jax"): (1.0, 1.3),
    ("gru", "torch"): (1.0, 1.3),
    ("gru", "jax"): (1.0, 1.3),
}
"""By cell and opponent, theirs / ours: at least this at every size, and this as geometric mean."""

LIMIT = ((range(256, 10**6), 1.4), (range(128, 129), 2.0))
"""Vanilla, ours / the limit: numbers of units, and at most this."""

EPOCH = {((64, 32, 128), "lightning"): 1.3, ((64, 32, 128), "keras"): 1.1, ((25, 1, 100), "lightning"): 8.0}
"""By (T, B, H) and framework, theirs / ours: at least this."""

PROPORTION = 1.1
"""Cost linear in T and in B: time at 8 times the size / 8 times the time, at most this."""

MEMORY = 1.5
"""Peak memory of a step / what it must keep, at most this."""

LARGE = 2**20
"""Bytes that a step must keep. Where they are fewer, most of what a step holds does not grow with what it keeps."""


def judged(value: float, goal: float, *, least: bool = True) -> str:
    """A value, rounded as it is printed before it is compared, and whether the goal is met."""
    met = round(value, 2) >= goal if least else round(value, 2) <= goal
    return f"{value:.2f}, {'met' if met else '**missed**'}"
