"""What is found wrong with gradients, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rnncallbacks.detectors.gradient.accumulation import Accumulation
from rnncallbacks.detectors.gradient.gradient_check import Verdict
from rnncallbacks.detectors.gradient.predicted_decrease import Verdict as Fall

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity

Numbers = dict[str, float | int | str]

Found = tuple[str, str, Numbers, "Severity | None"]
"""Code, message, evidence and severity of a finding; None stands for the catalogue's severity."""

NEAR = 0.015
"""How near a measured ratio must lie to a count."""


def named_factor(ratio: float, counts: Mapping[str, float]) -> tuple[str, int] | None:
    """The count by which gradients are off, and the power: 1 if they are too small, -1 if they are too large.

    Example
    -------
    >>> named_factor(0.0501, {"the number of time steps": 20.0, "the batch size": 16.0})
    ('the number of time steps', -1)
    """
    for name, count in counts.items():
        for power in (1, -1):
            if abs(ratio / count**power - 1.0) < NEAR:
                return name, power
    return None


def words_of_wrong(verdict: Verdict) -> tuple[str, Numbers]:
    """RNN404, for gradients that are not those of the loss."""
    name = f"the gradient of {verdict.array!r}" if verdict.array else "the gradient"
    cosine = f"{verdict.cosine:.2f}"
    numbers: Numbers = {"cosine": verdict.cosine, "expected": 1.0, "array": verdict.array, "ratio": verdict.array_ratio}
    over_all = f"over all arrays, its cosine with the true gradient is about {cosine} (expected 1.00)"
    if verdict.kind == "zero":
        return f"{name} is zero, and yet the loss changes when the array is moved; {over_all}", numbers
    if verdict.kind == "part":
        return f"{name} lacks something, as if backpropagation were truncated within the batch; {over_all}", numbers
    if verdict.kind == "scaled":
        return f"the gradients point up the slope of the loss: they have the wrong sign (ratio {verdict.ratio:.3g})", {
            "cosine": -1.0,
            "expected": 1.0,
            "ratio": verdict.ratio,
        }
    along = f"along it, the loss changes by {verdict.array_ratio:.3g} of what it says (expected 1)"
    return f"{name} is not that of the loss: {along}; {over_all}", numbers


def words_of_factor(ratio: float, named: tuple[str, int] | None, count: float) -> tuple[str, Numbers]:
    """RNN405, for gradients that are right but for one factor."""
    factor = 1.0 / ratio
    numbers: Numbers = {"factor": factor, "expected": 1.0}
    words = f"the gradient is {factor:.4g} times that of the loss, in every array and direction (expected 1)"
    if named is None:
        return f"{words}, and was so in three batches", numbers
    name, power = named
    what = f"{count:g} is {name}" if power < 0 else f"1 / {count:g}, and {count:g} is {name}"
    numbers["count"] = name
    return f"{words}: {what}", numbers


def words_of_promise(found: Fall, count_name: str = "", count: float = 1.0) -> tuple[str, Numbers]:
    """RNN404, or RNN405 where ``count`` is the factor, from what losses made of the gradients' promises."""
    numbers: Numbers = {"updates": found.updates, "promised": found.promised, "expected": 1.0}
    words = f"within {found.updates} updates, the loss should have fallen by {found.promised:.2g} of its first value"
    words += " if the gradients were those of the loss, and this no running mean"
    if not math.isnan(found.kept):
        numbers["kept"] = found.kept
        words += f", and fell by {found.kept:.2g} of that (expected 1 or more)"
    if count_name:
        return f"{words}: {count:g} is {count_name}", numbers | {"factor": 1.0 / found.kept, "count": count_name}
    if found.array and found.array_kept < 0.5:
        numbers |= {"array": found.array, "ratio": found.array_kept}
        share = f"{found.array_promised:.2g} of it, and gave about {found.array_kept:.2g} times that"
        words += f"; the gradient of {found.array!r} promised {share}"
    return words, numbers


def words_of_zeros(names: list[str], batches: int) -> tuple[str, Numbers]:
    """RNN404, where gradients are zero."""
    those = ", ".join(map(repr, names))
    return (
        f"the gradient of {those} is zero, bit for bit, in each of the first {batches} batches: the backward pass does "
        "not reach it, or nothing uses it yet (leave out what is not to be trained)"
    ), {"array": names[0], "ratio": 0.0, "expected": 1.0, "batches": batches}


def words_of_sum(ratio: float) -> tuple[str, Numbers]:
    """RNN406, where the closure showed that a gradient is the true one plus the one before."""
    return (
        "less the gradient of the batch before, this one is that of the loss; as it is, it says "
        f"{ratio:.3g} times what the loss does (expected 1)"
    ), {"ratio": ratio, "expected": 1.0}


def words_of_growth(seen: Accumulation) -> tuple[str, Numbers]:
    """RNN406, from the gradients alone."""
    if seen.kept >= 3:
        return (
            f"{seen.kept_share:.0%} of the gradient's entries kept their value to the last bit for {seen.kept} batches "
            "while the parameters changed: those of tokens that the batches do not have, which should be zero"
        ), {"kept_share": seen.kept_share, "expected": 0.0, "batches": seen.kept}
    growth, cosine = seen.norms[-1] / seen.norms[0], sorted(seen.cosines)[len(seen.cosines) // 2]
    return (
        f"within {len(seen.norms)} batches the gradient's norm grew {growth:.3g} times, at a cosine of {cosine:.2f} "
        "from one to the next, and the loss did not rise with it: each holds those before it"
    ), {"growth": growth, "expected": 1.0, "cosine": cosine, "batches": len(seen.norms)}
