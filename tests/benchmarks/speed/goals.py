"""The goals of the speed benchmark, set before the first measurement."""

from __future__ import annotations

STEP = {
    ("vanilla", "torch"): (1.5, 2.0),
    ("vanilla", "jax"): (1.3, 1.4),
    ("lstm", "torch"): (1.0, 1.3),
    ("lstm", "jax"): (1.0, 1.3),
    ("gru", "torch"): (1.0, 1.3),
    ("gru", "jax"): (1.0, 1.3),
}
"""By cell and contender: smallest ratio of their time to ours at every size, and smallest geometric mean."""

LIMIT = ((range(256, 10**6), 1.4), (range(128, 129), 2.0))
"""Largest ratio of our vanilla step to the limit, by number of units."""

EPOCH = {((64, 32, 128), "lightning"): 1.3, ((64, 32, 128), "keras"): 1.1, ((25, 1, 100), "lightning"): 8.0}
"""Smallest ratio of their epoch to ours, by (T, B, H) and framework."""

PROPORTION = 1.1
"""Largest ratio of the time at 8 T (or 8 B) to 8 times that at T (or B): the cost is linear."""

MEMORY = 1.5
"""Largest ratio of a step's peak memory to the memory that it must keep for the backward pass."""

LARGE = 2**20
"""Bytes that a large step must keep. In smaller steps, buffers of fixed size dominate."""


def judged(value: float, goal: float, *, least: bool = True) -> str:
    """The value, rounded to two decimals before the comparison, and whether it meets the goal."""
    met = round(value, 2) >= goal if least else round(value, 2) <= goal
    return f"{value:.2f}, {'met' if met else '**missed**'}"
